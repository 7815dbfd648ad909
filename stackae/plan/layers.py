"""The layers of a plan: their shapes and losses, settled, and the stage that pretrains each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
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
from stackae.config.section import changed
from stackae.data.files.paths import quoted
from stackae.data.preprocessing.load import Preprocessing
from stackae.errors import ConfigError
from stackae.plan.settled import settled_pretraining
from stackae.plan.stage import Stage, describe, weight_bytes
from stackae.shallow.losses import LOSSES

INITIAL = {
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
"""The settings of a layer that decide its initial weights."""


@dataclass(frozen=True)
class PlannedLayer:
    """A layer's pretraining stage, with what is settled of its config.

    `shape` is that of one input, `code` that of one code, `loss` the name of a loss, never `auto`.
    `below` is the config of the layer below, None where the input is the data; `blocks` say what the data's
    features mean where they are a table's.
    """

    stage: Stage
    config: LayerConfig
    fit: PretrainConfig
    shape: Shape
    code: Shape
    loss: str
    below: LayerConfig | None
    blocks: Blocks = None

    @property
    def batch_norm(self) -> bool:
        """Whether the layer is normalised while it is pretrained."""
        return self.fit.batch_norm and self.fit.epochs != 0

    @property
    def settled(self) -> LayerConfig:
        """The layer's config, with the loss it is trained with in place of `auto`."""
        return self.config.model_copy(update={"loss": self.loss})

    def unit(self) -> AnyUnit:
        """Build the layer's unit, freshly initialised."""
        return build_unit(self.config, self.shape, first=self.below is None)

    def objective(self) -> nn.Module:
        """Build the objective that the layer's unit is scored by."""
        return build_objective(
            self.config,
            self.shape,
            self.code,
            self.loss,
            batch_size=self.fit.batch_size,
            blocks=self.blocks,
        )

    def output(self) -> nn.Module:
        """Build the module that turns the decoder's output into a reconstruction of the layer's input."""
        return output_activation(self.loss, self.below, self.blocks)

    @property
    def parameters(self) -> int:
        """The number of parameters of the layer's encoder."""
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.unit().encoder.parameters())


def plan_layers(
    config: Config,
    preprocessing: Preprocessing,
    trained: Mapping[str, Any],
    data: Stage,
    *,
    train: int,
    rows: int,
) -> tuple[PlannedLayer, ...]:
    """Settle shape, loss and stage of each layer; raise ConfigError where they do not fit each other.

    `trained` is what the keys of all stages that train cover. Each layer is trained on `train` rows and
    encodes `rows`.
    """
    layers: list[PlannedLayer] = []
    shape, below, blocks = preprocessing.shape, data, preprocessing.blocks
    low, high = preprocessing.low, preprocessing.high
    source = f"data {quoted(config.data.source)}"
    for number, layer in enumerate(config.layers):
        loss = _loss(number, layer, low, high, source, blocks)
        first = number == 0
        try:
            code = code_shape(layer, shape, first=first)
        except ValueError as fault:
            raise ConfigError(f"layers[{number}]: {fault} (input {shape})") from None
        fit = settled_pretraining(layer.pretrain(config.pretrain), train)
        layer_settings = changed(layer, exclude=set(PretrainConfig.model_fields) | {"loss"})
        stage = describe(
            f"pretrain-{number + 1}",
            below.key,
            layer_settings | {"loss": loss, "fit": changed(fit), **trained},
            kind="pretrain",
            section=f"layers.{number}",
            reads=tuple(dict.fromkeys((data.name, below.name))),
            below=below.name,
            epochs=int(fit.epochs),
            size=partial(_size, layer, shape, code, rows, first),
        )
        layer_below = None if first else config.layers[number - 1]
        layers.append(PlannedLayer(stage, layer, fit, shape, code, loss, layer_below, blocks))
        activation = activation_of(layer)
        low, high = activation.low, activation.high
        source = f"layers[{number}].activation '{layer.activation}'"
        shape, below, blocks = code, stage, None
    return tuple(layers)


def _size(layer: LayerConfig, shape: Shape, code: Shape, rows: int, first: bool) -> int:
    with torch.device("meta"):
        return weight_bytes(build_unit(layer, shape, first=first)) + 4 * rows * math.prod(code)


def architecture(layer: LayerConfig) -> dict[str, Any]:
    """Return the settings that decide a layer's initial weights, however it is pretrained.

    A unit that is not tied draws a decoder too, and so other weights for the layers above.
    """
    return changed(layer, include=INITIAL) | {"variational": layer.kind == "variational"}


def _loss(number: int, layer: LayerConfig, low: float, high: float, below: str, blocks: Blocks) -> str:
    """Return the loss for inputs in [low, high] of these blocks; ConfigError if the config's does not fit."""
    kinds = {block.kind for block in blocks or ()}
    if layer.loss == "auto":
        # The units of a Boltzmann machine are all of one type.
        if kinds - {"numeric"} and layer.kind != "rbm":
            return "mixed"
        unit_interval = low >= 0.0 and high <= 1.0
        return "bernoulli" if unit_interval else "squared_error"
    if layer.loss == "mixed":
        if layer.kind == "rbm" or not kinds:
            misfit = "kind 'rbm'" if kinds else below if number == 0 else f"layers[{number}], on codes"
            raise ConfigError(
                f"layers[{number}].loss: 'mixed' is for a first layer on a table, and not for {misfit}; "
                "set loss: auto"
            )
        return layer.loss
    loss = LOSSES[layer.loss]
    if low < loss.low or high > loss.high:
        remedy = (
            "scale the data to [0, 1], as data.scaling: minmax does"
            if number == 0
            else "use activation: sigmoid there"
        )
        raise ConfigError(
            f"layers[{number}].loss: '{layer.loss}' needs inputs in [{loss.low:g}, {loss.high:g}], "
            f"but {below} gives values in [{low:g}, {high:g}]; set loss: squared_error, or {remedy}"
        )
    return layer.loss
