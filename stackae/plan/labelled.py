"""The stages of a plan that see labels: fine-tuning, its control, the probe, the baselines."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from stackae.config import Config, FinetuneConfig
from stackae.config.section import changed
from stackae.data.files.paths import quoted
from stackae.data.label_use import LabelUse
from stackae.data.source import Source
from stackae.data.splits import Split
from stackae.errors import ConfigError
from stackae.plan.baseline_stages import plan_baselines
from stackae.plan.baselines import ChosenBaselines
from stackae.plan.importance import importance_left_out
from stackae.plan.layers import PlannedLayer, architecture
from stackae.plan.networks import build_members, learn_side_by_side
from stackae.plan.stage import Stage, describe, weight_bytes

PRETRAINED_ONLY = {"encoder_lr_scale", "freeze_encoder"}
"""What of fine-tuning only pretrained layers have: no part of the control, nor of its key."""

BESIDE = {"blend", "temperature"}
"""What of fine-tuning concerns what stands beside the network, which is trained the same."""


@dataclass(frozen=True)
class LabelledStages:
    """The stages that see labels; those that the config leaves out are None.

    Where labelled rows are held out, `length` finds how long to train, before `finetune` learns from all of
    them; `scratch_length` does so for the control, and `alone_length` for that which learns from labelled
    rows alone where `finetune` does not.
    """

    length: Stage | None = None
    finetune: Stage | None = None
    scratch_length: Stage | None = None
    scratch: Stage | None = None
    alone_length: Stage | None = None
    alone: Stage | None = None
    probe: Stage | None = None
    importance: Stage | None = None
    baselines: Stage | None = None
    baselines_codes: Stage | None = None
    blend: Stage | None = None
    chosen: ChosenBaselines = field(default_factory=ChosenBaselines)
    """Which classifiers `baselines` fits to the columns, and `baselines_codes` to these with the codes."""
    importance_left_out: str | None = None
    """Why a table's columns are not weighed."""

    @property
    def in_order(self) -> list[Stage]:
        """Those that there are, in the order in which they are carried out."""
        every = (
            *(self.length, self.finetune, self.scratch_length, self.scratch),
            *(self.alone_length, self.alone, self.probe, self.importance),
            *(self.baselines, self.baselines_codes, self.blend),
        )
        return [stage for stage in every if stage is not None]


def plan_labelled(
    config: Config,
    source: Source,
    split: Split,
    use: LabelUse | None,
    alone: FinetuneConfig | None,
    data: Stage,
    layers: Sequence[PlannedLayer],
    top: Stage,
    trained: Mapping[str, Any],
) -> LabelledStages:
    """Describe the stages that see labels; `use` says what for, and `top` has the last features.

    `alone` are the settings of the control that learns from labelled rows alone, `trained` what the keys of
    all stages that train cover.
    """
    # Labels enter where they are used: runs that differ in them alone share their pretraining.
    budget = changed(config.data, include={"labels", "labels_for_validation"})
    labels = {**trained} | budget | changed(config, include={"repeat"})
    weighted = labels if source.weight is None else labels | {"weight": _digest(source.weight)}
    length = finetune = scratch_length = scratch = alone_length = alone_stage = probe = importance = None
    left_out = None
    if config.finetune is not None:
        assert use is not None
        describe_fits = _fit_describer(config.finetune, source, split, use, data, layers)
        settings = weighted | changed(config.finetune, exclude=BESIDE)
        length, finetune = describe_fits("length", "finetune", top, settings)
        if source.columns is not None and config.compare.importance:
            left_out = importance_left_out(config, source, use, layers, len(split.train))
            if left_out is None:
                importance = describe("importance", finetune.key, {})
        if config.compare.scratch:
            initial = {"layers": [architecture(layer.config) for layer in layers]}
            settings = weighted | changed(config.finetune, exclude=PRETRAINED_ONLY | BESIDE) | initial
            scratch_length, scratch = describe_fits("scratch-length", "scratch", data, settings)
        if alone is not None:
            describe_fits = _fit_describer(alone, source, split, use, data, layers)
            settings = weighted | changed(alone, exclude=PRETRAINED_ONLY | BESIDE) | initial
            alone_length, alone_stage = describe_fits("labels-alone-length", "labels-alone", data, settings)
    if config.compare.probe and source.classes:
        # Unrolling changes every layer; only the deepest features are kept of what it makes of them.
        depths_below = [data.name, *(layer.stage.name for layer in layers[:-1])]
        judged = changed(config.finetune or FinetuneConfig(), include={"validation"})
        probe = describe(
            "probe", top.key, labels | judged, section="compare", reads=(*depths_below, top.name)
        )
    chosen = ChosenBaselines()
    beside: tuple[Stage | None, Stage | None, Stage | None] = (None, None, None)
    if finetune is not None:
        assert use is not None
        chosen, beside = plan_baselines(
            config,
            use,
            data,
            layers,
            top,
            finetune,
            weighted,
            train=len(split.train),
            test=len(split.test),
            classes=len(source.classes),
        )
    return LabelledStages(
        length,
        finetune,
        scratch_length,
        scratch,
        alone_length,
        alone_stage,
        probe,
        importance,
        *beside,
        chosen,
        left_out,
    )


def _digest(weight: np.ndarray) -> str:
    return hashlib.sha256(weight.astype("<f8").tobytes()).hexdigest()


def check_labels(config: Config, source: Source) -> None:
    """Raise ConfigError where a classifier is to be trained and there are no labels."""
    if config.finetune is not None and not source.classes:
        remedy = "add them" if source.columns is None else "name their column in data.target"
        raise ConfigError(
            f"finetune: {quoted(config.data.source)} has no labels; "
            f"{remedy}, or set finetune: null to pretrain only"
        )


def _fit_describer(
    settings: FinetuneConfig,
    source: Source,
    split: Split,
    use: LabelUse,
    data: Stage,
    layers: Sequence[PlannedLayer],
) -> Callable[[str, str, Stage, Mapping[str, Any]], tuple[Stage | None, Stage]]:
    """Return what describes a fit with labels and, where there is one, the fit before it."""
    epochs, classes = settings.epochs, len(source.classes)
    assert epochs != "auto"

    def size(*, weights: bool) -> int:
        networks, judged = max(1, use.folds), int((use.learn if use.folds else use.validates).sum())
        if not weights:
            return 4 * judged * classes
        with torch.device("meta"):
            members = build_members(layers, settings, classes, networks, frozen=False)
        return (
            sum(weight_bytes(each.classifier) for each in members) + 4 * (judged + len(split.test)) * classes
        )

    def describe_fits(
        length_name: str, name: str, start: Stage, covered: Mapping[str, Any]
    ) -> tuple[Stage | None, Stage]:
        def fit(called: str, parent: str, *, weights: bool) -> Stage:
            return describe(
                called,
                parent,
                covered,
                section="finetune",
                reads=(data.name,),
                epochs=epochs,
                size=lambda: size(weights=weights),
            )

        if learn_side_by_side(layers, settings, use.folds):
            covered = {**covered, "side_by_side": True}
        length = fit(length_name, start.key, weights=False) if use.refit else None
        return length, fit(name, (length or start).key, weights=True)

    return describe_fits
