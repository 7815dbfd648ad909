"""A baseline that a classifier is averaged with, as a model's `config.json` describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stackae.baseline import Baseline, Kernel, Linear, Neighbours, Trees
from stackae.config.section import PositiveInt, Section

Power = Annotated[float, Field(gt=0, le=100)]


class MixtureDescription(Section):
    """The classifier's share of the mean, and the powers to which its probabilities and others are raised."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    powers: tuple[Power, Power] = (1.0, 1.0)


class BaselineDescription(Section):
    """What a baseline that the classifier is averaged with is made of."""

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

    def build(self, columns: int) -> Baseline:
        """Build one of this shape for rows of so many columns."""
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


def describe(baseline: Baseline, seen: int) -> BaselineDescription:
    """Describe a baseline that knows so many classes; `build` makes one of the same shape."""
    match baseline:
        case Linear():
            return BaselineDescription(type="linear", seen=seen)
        case Kernel():
            return BaselineDescription(type="kernel", seen=seen, vectors=len(baseline.vectors))
        case Trees():
            return BaselineDescription(
                type="trees",
                seen=seen,
                trees=len(baseline.root),
                nodes=len(baseline.feature),
                entries=baseline.value.shape[1],
                depth=baseline.depth,
                sums=baseline.sums,
            )
        case Neighbours():
            return BaselineDescription(
                type="neighbours", seen=seen, rows=len(baseline.places), nearest=baseline.nearest
            )
