"""The plan of a run: its stages with their shapes and chained keys. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stackae.build import (
    AnyUnit,
    Blocks,
    Shape,
    activation_of,
    build_objective,
    build_unit,
    code_shape,
    output_activation,
)
from stackae.config import Config, LayerConfig, PretrainConfig
from stackae.data.files.paths import quoted
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.source import Source
from stackae.data.splits import Split, make_split
from stackae.errors import ConfigError
from stackae.machine.hardware import Hardware, resolve
from stackae.seeds import derive
from stackae.shallow.losses import LOSSES
from stackae.store import chained_key

DRAWN = {
    "unit",
    "width",
    "activation",
    "k",
    "tied",
    "connectivity",
    "kernel",
    "stride",
    "padding",
    "pool",
}
"""What of a layer's config decides its initial weights."""


@dataclass(frozen=True)
class Planned:
    """A stage to come: its name, its key, the key before it, and the settings its key covers."""

    name: str
    key: str
    parent: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedLayer:
    """A layer's pretraining stage, with what is settled of its config.

    `shape` is that of one input, `code` that of one code, `loss` the name of a loss, never `auto`.
    `below` is the config of the layer below, None where the input is the data; `blocks` say what the data's
    features mean where they are a table's.
    """

    stage: Planned
    config: LayerConfig
    fit: PretrainConfig
    shape: Shape
    code: Shape
    loss: str
    below: LayerConfig | None
    blocks: Blocks = None

    @property
    def settled(self) -> LayerConfig:
        """The layer's config, with the loss it is trained with in place of `auto`."""
        return self.config.model_copy(update={"loss": self.loss})

    def unit(self) -> AnyUnit:
        """The layer's unit, freshly initialised."""
        return build_unit(self.config, self.shape, first=self.below is None)

    def objective(self) -> nn.Module:
        """How the layer's unit is scored."""
        return build_objective(
            self.config,
            self.shape,
            self.code,
            self.loss,
            batch_size=self.fit.batch_size,
            blocks=self.blocks,
        )

    def output(self) -> nn.Module:
        """Turns what the unit's decoder returns into a reconstruction of the layer's input."""
        return output_activation(self.loss, self.below, self.blocks)

    @property
    def parameters(self) -> int:
        """Parameters of the layer's encoder."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.unit().encoder.parameters())


@dataclass(frozen=True)
class Plan:
    """The stages of a run in their order; those that the config leaves out are None.

    `config` has numbers where it said `auto` of the fine-tuning.
    """

    config: Config
    hardware: Hardware
    split: Split
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    data: Planned
    layers: tuple[PlannedLayer, ...]
    unroll: Planned | None
    finetune: Planned | None
    scratch: Planned | None
    probe: Planned | None

    def seed(self, stage: str) -> int:
        """The seed of a stage that sees labels, another one in each repetition."""
        repeat = self.config.repeat
        return derive(self.config.seed, stage, *([repeat] if repeat else []))

    @property
    def stages(self) -> list[Planned]:
        """All stages but the data, in the order in which they are carried out."""
        last = (self.unroll, self.finetune, self.scratch, self.probe)
        return [layer.stage for layer in self.layers] + [stage for stage in last if stage is not None]


def make_plan(config: Config, source: Source, split: Split | None = None) -> Plan:
    """Works out stages, shapes, losses and keys; ConfigError or DataError where they do not fit.

    Rows are divided as `split` says; without it as the config asks.
    """
    hardware = resolve(config.trainer)
    split = split or make_split(source, config.data, config.seed, config.repeat)
    if config.finetune is not None:
        tuned = config.finetune.resolve(int(split.labelled.sum()))
        config = config.model_copy(update={"finetune": tuned})
    data = _planned(
        "data",
        "",
        {
            "fingerprint": source.fingerprint,
            "rows": split.fingerprint,
            "seed": config.seed,
        },
    )
    preprocessing = source.preprocessing(split.train)
    layers = _layers(config, preprocessing, hardware, data)
    unroll = None
    if config.unroll.epochs:
        settings = {"fit": config.unroll.model_dump(mode="json"), "precision": hardware.precision}
        unroll = _planned("unroll", layers[-1].stage.key, settings)
    top = unroll or layers[-1].stage
    # Labels enter where they are used: runs that differ in them alone share their pretraining.
    labels = {"labels": config.data.model_dump(mode="json")["labels"], "precision": hardware.precision}
    if config.repeat:
        labels["repeat"] = config.repeat
    finetune = scratch = probe = None
    if config.finetune is not None:
        if not source.classes:
            remedy = "add them" if source.columns is None else "name their column in data.target"
            raise ConfigError(
                f"finetune: {quoted(config.data.source)} has no labels; "
                f"{remedy}, or set finetune: null to pretrain only"
            )
        settings = config.finetune.model_dump(mode="json")
        if settings["balance"] == "none":
            del settings["balance"]  # so that what was trained before there was the choice keeps its key
        finetune = _planned("finetune", top.key, labels | settings)
        if config.compare.scratch:
            # What only pretrained layers have is no part of the control, nor of its key.
            own = {k: v for k, v in settings.items() if k not in ("encoder_lr_scale", "freeze_encoder")}
            drawn = [_architecture(layer.config) for layer in layers]
            scratch = _planned("scratch", data.key, labels | own | {"layers": drawn})
    if config.compare.probe and source.classes:
        probe = _planned("probe", top.key, labels)
    return Plan(
        config,
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


def _architecture(layer: LayerConfig) -> dict[str, Any]:
    """What of a layer's config decides the weights it starts from, whatever it is pretrained by.

    A unit that is not tied draws a decoder too, and so other weights for the layers above.
    """
    return layer.model_dump(mode="json", include=DRAWN) | {"variational": layer.kind == "variational"}


def _planned(name: str, parent: str, settings: Mapping[str, Any]) -> Planned:
    return Planned(name, chained_key(parent, {"stage": name} | dict(settings)), parent, settings)


def _layers(
    config: Config, preprocessing: Preprocessing, hardware: Hardware, data: Planned
) -> tuple[PlannedLayer, ...]:
    planned: list[PlannedLayer] = []
    shape, parent, blocks = preprocessing.shape, data.key, preprocessing.blocks
    low, high = preprocessing.low, preprocessing.high
    below = f"data {quoted(config.data.source)}"
    for number, layer in enumerate(config.layers):
        loss = _loss(number, layer, low, high, below, blocks)
        fit = layer.pretrain(config.pretrain)
        own = layer.model_dump(mode="json", exclude=set(PretrainConfig.model_fields) | {"loss"})
        settings = own | {"loss": loss, "fit": fit.model_dump(mode="json"), "precision": hardware.precision}
        stage = _planned(f"pretrain-{number + 1}", parent, settings)
        first = number == 0
        try:
            code = code_shape(layer, shape, first=first)
        except ValueError as fault:
            raise ConfigError(f"layers[{number}]: {fault} (input {shape})") from None
        lower = None if first else config.layers[number - 1]
        planned.append(PlannedLayer(stage, layer, fit, shape, code, loss, lower, blocks))
        activation = activation_of(layer)
        low, high = activation.low, activation.high
        below = f"layers[{number}].activation '{layer.activation}'"
        shape, parent, blocks = code, stage.key, None
    return tuple(planned)


def _loss(number: int, layer: LayerConfig, low: float, high: float, below: str, blocks: Blocks) -> str:
    """The loss that fits inputs in [low, high] of these blocks; ConfigError where the config's does not."""
    kinds = {block.kind for block in blocks or ()}
    if layer.loss == "auto":
        # The units of a Boltzmann machine are all of one type.
        if kinds - {"numeric"} and layer.kind != "rbm":
            return "mixed"
        unit_interval = low >= 0.0 and high <= 1.0
        return "bernoulli" if unit_interval else "squared_error"
    if layer.loss == "mixed":
        if layer.kind == "rbm" or not kinds:
            other = "kind 'rbm'" if kinds else below if number == 0 else f"layers[{number}], on codes"
            raise ConfigError(
                f"layers[{number}].loss: 'mixed' is for a first layer on a table, and not for {other}; "
                "set loss: auto"
            )
        return layer.loss
    loss = LOSSES[layer.loss]
    if low < loss.low or high > loss.high:
        other = (
            "scale the data to [0, 1], as data.scaling: minmax does"
            if number == 0
            else "use activation: sigmoid there"
        )
        raise ConfigError(
            f"layers[{number}].loss: '{layer.loss}' needs inputs in [{loss.low:g}, {loss.high:g}], "
            f"but {below} gives values in [{low:g}, {high:g}]; set loss: squared_error, or {other}"
        )
    return layer.loss
