"""From a layer's config to its parts: the unit, and the objective it is judged by."""

from __future__ import annotations

import math

from torch import nn

from stackae.config import (
    ContractivePenaltyConfig,
    CorruptionConfig,
    GaussianConfig,
    GaussianKLPenaltyConfig,
    KLPenaltyConfig,
    L1PenaltyConfig,
    LayerConfig,
    MaskingConfig,
    MixConfig,
    PenaltyConfig,
    SaltPepperConfig,
    SwapConfig,
)
from stackae.shallow.activations import ACTIVATIONS, Activation, top_k
from stackae.shallow.conv import ConvUnit, TiedConvTranspose, conv_code_shape, with_channels
from stackae.shallow.corruptions import Corruption, Gaussian, Masking, Mix, SaltPepper, Swap
from stackae.shallow.gaussian import GaussianUnit
from stackae.shallow.losses import LOSSES, Loss
from stackae.shallow.mixed import Block, Mixed, columns_of
from stackae.shallow.objectives import Emphasis, Reconstruction
from stackae.shallow.penalties import L1, Contractive, GaussianKL, KLSparsity
from stackae.shallow.rbm import ContrastiveDivergence
from stackae.shallow.units import DenseUnit, TiedLinear

Shape = tuple[int, ...]
LARGEST_CODE = 1 << 28
"""A gigabyte for one row; beyond it torch loses count at some point, in words that help nobody."""

AnyUnit = DenseUnit | ConvUnit | GaussianUnit
Blocks = tuple[Block, ...] | None
"""The meanings of a table's features; None for arrays and for codes."""


def code_shape(layer: LayerConfig, shape: Shape, *, first: bool) -> Shape:
    """Return the shape of one code of a layer whose input is (rows, *shape); ValueError if it does not fit.

    `first` says that the input is the data, whose images and signals have no axis for channels.
    """
    code: Shape = (layer.width,)
    if layer.unit == "conv":
        code = conv_code_shape(
            with_channels(shape, first=first),
            layer.width,
            kernel=layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            pool=layer.pool,
        )
    if math.prod(code) > LARGEST_CODE:
        raise ValueError(f"a row's code has more than {LARGEST_CODE:,} values; choose smaller sizes")
    return code


def build_unit(layer: LayerConfig, shape: Shape, *, first: bool) -> AnyUnit:
    """Build the unit of a layer whose input is (rows, *shape), freshly initialised."""
    activation = activation_of(layer)
    if layer.kind == "variational":
        return GaussianUnit(shape, layer.width, activation, connectivity=layer.connectivity)
    if layer.unit == "conv":
        return ConvUnit(
            shape,
            with_channels(shape, first=first),
            layer.width,
            activation,
            kernel=layer.kernel,
            stride=layer.stride,
            padding=layer.padding,
            pool=layer.pool,
            tied=layer.tied,
        )
    return DenseUnit(shape, layer.width, activation, tied=layer.tied, connectivity=layer.connectivity)


def untie(unit: AnyUnit) -> None:
    """Give a tied unit a decoder with weights of its own, which does the same; others stay as they are."""
    for number, layer in enumerate(unit.decoder):
        if isinstance(layer, TiedLinear | TiedConvTranspose):
            unit.decoder[number] = layer.untied()


def build_loss(loss: str, blocks: Blocks = None) -> Loss:
    """Return the loss of a name, never `auto`; `mixed` needs the blocks."""
    if loss == "mixed":
        assert blocks is not None, "only a table's features have meanings"
        return Mixed(blocks)
    return LOSSES[loss]


def build_objective(
    layer: LayerConfig, shape: Shape, code: Shape, loss: str, *, batch_size: int, blocks: Blocks = None
) -> nn.Module:
    """Build the objective that a layer's unit is scored by; `loss` is the name of a loss, never `auto`.

    `blocks` are those of the layer's input.
    """
    if layer.kind == "rbm":
        return ContrastiveDivergence(
            steps=layer.gibbs_steps,
            loss=build_loss(loss, blocks),
            visible="binary" if loss == "bernoulli" else "gaussian",
            hidden="binary" if layer.activation == "sigmoid" else "gaussian",
            persistent=layer.persistent,
            batch_size=batch_size,
            shape=shape,
        )
    emphasis = Emphasis(layer.emphasis.alpha, layer.emphasis.beta) if layer.emphasis is not None else None
    return Reconstruction(
        build_loss(loss, blocks),
        build_corruption(layer.corruption, blocks),
        build_penalties(layer, code),
        emphasis,
    )


def output_activation(loss: str, below: LayerConfig | None, blocks: Blocks = None) -> nn.Module:
    """Build the module that turns a decoder's output under a loss into a reconstruction of the layer's input.

    `below` is the layer whose code that input is, None for the data. A code's reconstruction is clamped to
    the range of the activation that made the code: that never takes it farther from the code, and it keeps a
    stack of rectified layers from decoding linearly when it is unrolled.
    """
    if loss == "bernoulli" or below is None:
        return build_loss(loss, blocks).activation()
    low, high = activation_of(below).low, activation_of(below).high
    return nn.Hardtanh(low, high) if low > -math.inf or high < math.inf else nn.Identity()


def activation_of(layer: LayerConfig) -> Activation:
    """Return the activation of a layer's encoder."""
    if layer.activation == "top_k":
        return top_k(layer.k or max(1, layer.width // 10))
    return ACTIVATIONS[layer.activation]


def build_corruption(config: CorruptionConfig | None, blocks: Blocks = None) -> Corruption | None:
    """Build the corruption that a config describes, of a table's columns where there are blocks."""
    columns = None if blocks is None else columns_of(blocks)
    match config:
        case MaskingConfig(rate=rate):
            return Masking(rate, columns)
        case GaussianConfig(sigma=sigma, clip=clip):
            return Gaussian(sigma, clip)
        case SaltPepperConfig(rate=rate):
            return SaltPepper(rate)
        case SwapConfig(rate=rate):
            return Swap(rate, columns)
        case MixConfig(parts=parts):
            mixed = ((part.probability, build_corruption(part.corruption, blocks)) for part in parts)
            return Mix(tuple((probability, part) for probability, part in mixed if part is not None))
    return None


def build_penalties(layer: LayerConfig, code: Shape) -> dict[str, nn.Module]:
    """Build the penalties of a layer, by their names, for codes (rows, *code)."""
    return {penalty.type: _penalty(penalty, code) for penalty in layer.penalties}


def _penalty(config: PenaltyConfig, code: Shape) -> nn.Module:
    match config:
        case KLPenaltyConfig():
            return KLSparsity(math.prod(code), config.rho, config.beta, running=config.average == "running")
        case L1PenaltyConfig():
            return L1(config.alpha)
        case ContractivePenaltyConfig():
            return Contractive(config.lambda_)
        case GaussianKLPenaltyConfig():
            return GaussianKL(config.beta, config.warmup)
