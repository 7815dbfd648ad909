"""The plan of a run: all its stages, in the order in which they are carried out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch

from stackae.config import Config
from stackae.config.section import changed
from stackae.data.files.paths import quoted
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.source import Source
from stackae.data.splits import Split, make_split
from stackae.errors import ConfigError
from stackae.machine.hardware import Hardware, resolve
from stackae.plan.layers import PlannedLayer, architecture, plan_layers
from stackae.plan.networks import build_classifier, mirrored
from stackae.plan.stage import Stage, describe, weight_bytes
from stackae.seeds import derive

PRETRAINED_ONLY = {"encoder_lr_scale", "freeze_encoder"}
"""Settings of fine-tuning for pretrained layers alone: no part of the control, nor of its key."""


@dataclass(frozen=True)
class Plan:
    """The stages of a run in their order; those that the config leaves out are None.

    `config` has numbers in the place of fine-tuning's `auto`.
    """

    config: Config
    source: Source
    hardware: Hardware
    split: Split
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    data: Stage
    layers: tuple[PlannedLayer, ...]
    unroll: Stage | None
    finetune: Stage | None
    scratch: Stage | None
    probe: Stage | None

    def seed(self, stage: str) -> int:
        """Derive the seed of a stage that sees labels, another one in each repetition."""
        repeat = self.config.repeat
        return derive(self.config.seed, stage, *([repeat] if repeat else []))

    @property
    def remarks(self) -> tuple[str, ...]:
        """Lines on what a person should know of how the rows were read and what became of them."""
        return (*self.source.remarks, *self.preprocessing.remarks)

    @property
    def stages(self) -> list[Stage]:
        """All stages but the data, in the order in which they are carried out."""
        after_layers = (self.unroll, self.finetune, self.scratch, self.probe)
        return [layer.stage for layer in self.layers] + [stage for stage in after_layers if stage is not None]

    @property
    def depths(self) -> list[str]:
        """The stages from the data to the last layer, by name: features of ever greater depth."""
        return [self.data.name, *(layer.stage.name for layer in self.layers)]

    @property
    def top(self) -> Stage:
        """The stage whose features are the last ones before fine-tuning."""
        return self.unroll or self.layers[-1].stage

    @property
    def reported(self) -> tuple[str, ...]:
        """The stages whose features a report reads, by name."""
        return tuple(dict.fromkeys((*self.depths, self.top.name)))


def make_plan(config: Config, source: Source, split: Split | None = None) -> Plan:
    """Describe the stages of a run: what each reads, what its key covers, how much it writes.

    Rows are divided as `split` says; without it as the config asks. Raises ConfigError or DataError where
    data, shapes and losses do not fit.
    """
    hardware = resolve(config.trainer)
    split = split or make_split(source, config.data, config.seed, config.repeat)
    if config.finetune is not None:
        finetune_settings = config.finetune.resolve(int(split.labelled.sum()))
        config = config.model_copy(update={"finetune": finetune_settings})
    preprocessing = source.preprocessing(split.train)
    rows, evaluated_rows = sum(map(len, split.parts.values())), len(split.val) + len(split.test)
    precision = {"precision": hardware.precision}

    data = describe(
        "data",
        "",
        {"fingerprint": source.fingerprint, "rows": split.fingerprint, "seed": config.seed},
        size=lambda: rows * (4 * math.prod(preprocessing.shape) + 8),
    )
    layers = plan_layers(config, preprocessing, hardware.precision, data, rows)

    def unrolled_size() -> int:
        with torch.device("meta"):
            deep = mirrored(layers, [layer.unit() for layer in layers])
        return weight_bytes(deep) + 4 * rows * math.prod(layers[-1].code)

    unroll = None
    if config.unroll.epochs:
        unroll = describe(
            "unroll",
            layers[-1].stage.key,
            {"fit": changed(config.unroll)} | precision,
            reads=(data.name,),
            below=data.name,
            epochs=config.unroll.epochs,
            size=unrolled_size,
        )
    top = unroll or layers[-1].stage
    # Labels enter where they are used: runs that differ in them alone share their pretraining.
    labels = precision | changed(config.data, include={"labels"}) | changed(config, include={"repeat"})
    weighted = labels if source.weight is None else labels | {"weight": _digest(source.weight)}

    def classifier_size() -> int:
        assert config.finetune is not None
        with torch.device("meta"):
            units = [layer.unit() for layer in layers]
            classifier = build_classifier(layers, units, config.finetune, len(source.classes))
        return weight_bytes(classifier) + 4 * evaluated_rows * len(source.classes)

    finetune = scratch = probe = None
    if config.finetune is not None:
        _check_labels(config, source)
        assert config.finetune.epochs != "auto"
        finetune = describe(
            "finetune",
            top.key,
            weighted | changed(config.finetune),
            reads=(data.name,),
            epochs=config.finetune.epochs,
            size=classifier_size,
        )
        if config.compare.scratch:
            initial = [architecture(layer.config) for layer in layers]
            scratch = describe(
                "scratch",
                data.key,
                weighted | changed(config.finetune, exclude=PRETRAINED_ONLY) | {"layers": initial},
                section="finetune",
                reads=(data.name,),
                epochs=config.finetune.epochs,
                size=classifier_size,
            )
    if config.compare.probe and source.classes:
        # Unrolling changes every layer; only the deepest features are kept of what it makes of them.
        depths_below = [data.name, *(layer.stage.name for layer in layers[:-1])]
        probe = describe("probe", top.key, labels, section="compare", reads=(*depths_below, top.name))
    return Plan(
        config,
        source,
        hardware,
        split,
        preprocessing,
        source.classes,
        data,
        layers,
        unroll,
        finetune,
        scratch,
        probe,
    )


def _digest(weight: np.ndarray) -> str:
    return hashlib.sha256(weight.astype("<f8").tobytes()).hexdigest()


def _check_labels(config: Config, source: Source) -> None:
    if not source.classes:
        remedy = "add them" if source.columns is None else "name their column in data.target"
        raise ConfigError(
            f"finetune: {quoted(config.data.source)} has no labels; "
            f"{remedy}, or set finetune: null to pretrain only"
        )
