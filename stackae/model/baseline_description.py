"""What a classifier is averaged with, as a model's `config.json` describes it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from stackae.baseline import Baseline, Blend, Kernel, Linear, Neighbours, Partner, Trees
from stackae.committee import Committee
from stackae.config.section import PositiveInt, Section
from stackae.mixture import Mixture
from stackae.stack import Classifier, Encoder

Power = Annotated[float, Field(gt=0, le=100)]


Share = Annotated[float, Field(ge=0, le=1)]


class BaselineDescription(Section):
    """What one of the baselines that the classifier is averaged with is made of."""

    type: Literal["linear", "kernel", "trees", "neighbours"]
    seen: PositiveInt
    """How many classes it knows."""
    vectors: PositiveInt = 1
    trees: PositiveInt = 1
    nodes: PositiveInt = 1
    entries: PositiveInt = 1
    rows: PositiveInt = 1
    nearest: PositiveInt = 1
    depth: Annotated[int, Field(ge=0, le=10_000, strict=True)] = 0
    sums: Literal["probabilities", "logits"] = "logits"
    on_codes: Annotated[bool, Field(strict=True)] = False
    """Whether it takes the codes of all depths beside the columns."""

    def build(self, columns: int, classes: int) -> Partner:
        """Build one of this shape for rows of so many columns, codes included, and so many classes."""
        seen = torch.zeros(self.seen)
        return Partner(self._baseline(columns), seen, classes, on_codes=self.on_codes)

    def _baseline(self, columns: int) -> Baseline:
        match self.type:
            case "linear":
                return Linear(columns, self.seen)
            case "kernel":
                return Kernel(columns, self.seen, self.vectors)
            case "trees":
                return Trees(
                    columns,
                    self.seen,
                    trees=self.trees,
                    nodes=self.nodes,
                    entries=self.entries,
                    depth=self.depth,
                    sums=self.sums,
                )
            case "neighbours":
                return Neighbours(columns, self.seen, rows=self.rows, nearest=min(self.nearest, self.rows))


class BlendDescription(Section):
    """What the classifier is averaged with, and how: its own share and power come first."""

    partners: Annotated[tuple[BaselineDescription, ...], Field(min_length=1, max_length=100)]
    shares: tuple[Share, ...]
    powers: tuple[Power, ...]

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if not len(self.shares) == len(self.powers) == len(self.partners) + 1:
            raise ValueError("not as many shares and powers as classifiers")
        return self

    def build(
        self, network: Classifier | Committee, coder: Encoder, *, columns: int, codes: int, classes: int
    ) -> Blend:
        """Build one of this shape around a network, for rows of so many columns, and codes by `coder`."""
        partners = [each.build(columns + each.on_codes * codes, classes) for each in self.partners]
        taken = any(each.on_codes for each in self.partners)
        return Blend(network, partners, coder if taken else None, Mixture(self.shares, self.powers))


def describe_blend(partners: Iterable[nn.Module], mixture: Mixture) -> BlendDescription:
    """Describe what a classifier is averaged with, and how; `build` makes one of the same shape."""
    described = tuple(_describe(each) for each in partners if isinstance(each, Partner))
    return BlendDescription(partners=described, shares=mixture.shares, powers=mixture.powers)


def _describe(partner: Partner) -> BaselineDescription:
    """Describe a baseline; `build` makes one of the same shape."""
    baseline = partner.baseline
    common: dict[str, Any] = {"seen": len(partner.seen), "on_codes": partner.on_codes}
    match baseline:
        case Linear():
            return BaselineDescription(type="linear", **common)
        case Kernel():
            return BaselineDescription(type="kernel", vectors=len(baseline.vectors), **common)
        case Trees():
            return BaselineDescription(
                type="trees",
                trees=len(baseline.root),
                nodes=len(baseline.feature),
                entries=baseline.value.shape[1],
                depth=baseline.depth,
                sums=baseline.sums,
                **common,
            )
        case Neighbours():
            return BaselineDescription(
                type="neighbours", rows=len(baseline.places), nearest=baseline.nearest, **common
            )
