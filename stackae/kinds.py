"""Kinds: named presets of a unit and an objective, built from a layer's config."""

from __future__ import annotations

from collections.abc import Callable

from stackae.config import GaussianConfig, LayerConfig, MaskingConfig
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Corruption, Gaussian, Masking
from stackae.shallow.losses import LOSSES, Loss
from stackae.shallow.objectives import Objective, Reconstruction
from stackae.shallow.units import DenseUnit


def _plain(layer: LayerConfig, loss: Loss) -> Objective:
    return Reconstruction(loss)


def _denoising(layer: LayerConfig, loss: Loss) -> Objective:
    return Reconstruction(loss, build_corruption(layer.corruption))


KINDS: dict[str, Callable[[LayerConfig, Loss], Objective]] = {"plain": _plain, "denoising": _denoising}


def build(layer: LayerConfig, shape: tuple[int, ...], loss: str) -> tuple[DenseUnit, Objective]:
    """The unit of a layer whose input is (rows, *shape), freshly initialised, and its objective.

    `loss` is the name of a loss; `auto` is settled by the plan before.
    """
    unit = DenseUnit(shape, layer.width, ACTIVATIONS[layer.activation], tied=layer.tied)
    return unit, KINDS[layer.kind](layer, LOSSES[loss])


def build_corruption(config: MaskingConfig | GaussianConfig | None) -> Corruption | None:
    """The corruption that a config describes."""
    match config:
        case MaskingConfig(rate=rate):
            return Masking(rate)
        case GaussianConfig(sigma=sigma, clip=clip):
            return Gaussian(sigma, clip)
        case None:
            return None
