"""What `auto` stands for, once rows, labels and layers are known: docs/recipe.md has the figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stackae.build import Shape
from stackae.config import (
    ConsistencyConfig,
    FinetuneConfig,
    LayerConfig,
    PretrainConfig,
    SemiSupervisedConfig,
)

PRETRAIN_STEPS, PRETRAIN_EPOCHS = 1500, (20, 500)
"""Optimiser steps of a layer's pretraining, within a least and a greatest number of epochs."""
FINETUNE_STEPS, FINETUNE_EPOCHS = 1500, 30
"""Optimiser steps of fine-tuning and its epochs, both at least."""
FEW_STEPS, FEW_LABELS, DEEP, WIDE = 200, 600, 3, 128
"""In folds of so few labelled rows at most, fewer steps do for stacks of so many layers of such widths."""
MANY_LABELS = 5000
"""Labelled rows from which on batches are larger."""
NARROW = 64
"""Units of a layer below which a classifier gets a shortcut around it, and less noise in it."""
MOVE_IN_TABLE, MOVE = 0.03, 0.3
"""How far virtual adversarial training moves rows; more makes all of a table's rows of one class."""
WIDEST_SCALED = 5000
"""Features beyond which trees take too long to say which of them matter."""


def settled_pretraining(settings: PretrainConfig, rows: int) -> PretrainConfig:
    """Return the settings of a layer's pretraining for so many rows, with numbers in the place of `auto`."""
    least, most = PRETRAIN_EPOCHS
    auto = min(max(math.ceil(PRETRAIN_STEPS / _steps(rows, settings.batch_size)), least), most)
    epochs = auto if settings.epochs == "auto" else settings.epochs
    patience = settings.patience
    if patience == "auto":
        patience = max(5, int(epochs) // 5) if settings.epochs == "auto" else None
    return settings.model_copy(update={"epochs": epochs, "patience": patience})


def settled_finetuning(
    settings: FinetuneConfig,
    layers: Sequence[LayerConfig],
    shape: Shape,
    *,
    labelled: int,
    rows: int,
    folds: bool,
    table: bool,
) -> FinetuneConfig:
    """Return the settings of fine-tuning with numbers in the place of `auto`.

    The first fit learns from `labelled` rows (*shape), and from all training `rows` where it uses those
    without labels; `folds` says that folds validate, `table` that the rows are a table's.
    """
    batch_size = settings.batch_size
    if batch_size == "auto":
        batch_size = 128 if labelled < MANY_LABELS else 256
    epochs = settings.epochs
    if epochs == "auto":
        quick = folds and labelled <= FEW_LABELS and _deep(layers)
        least = FEW_STEPS if quick else FINETUNE_STEPS
        epochs = max(math.ceil(least / _steps(labelled, batch_size)), FINETUNE_EPOCHS)
        if settings.semi_supervised is not None:
            steps = _steps(rows, settings.semi_supervised.batch_size)
            epochs = math.ceil(FINETUNE_STEPS / steps)
    patience = max(20, 2 * int(epochs) // 5) if settings.patience == "auto" else settings.patience
    # Channels are at many places each, and a code of few of them is none the narrower.
    narrow = any(layer.unit == "dense" and layer.width < NARROW for layer in layers)
    noise = settings.noise
    if noise == "auto":
        noise = (0.2 if narrow else 0.3) if settings.batch_norm else 0.0
    scale, flat = settings.input_scale, layers[0].unit == "dense"
    if scale == "auto":
        scaled = folds and table and flat and settings.batch_norm and math.prod(shape) <= WIDEST_SCALED
        scale = "importance" if scaled else "none"
    shortcut = settings.shortcut
    if shortcut == "auto":
        shortcut = narrow and settings.batch_norm
    return settings.model_copy(
        update={
            "batch_size": batch_size,
            "epochs": epochs,
            "patience": patience,
            "noise": noise,
            "input_scale": scale,
            "shortcut": shortcut,
            "semi_supervised": _settled_joint(settings.semi_supervised, table=table),
        }
    )


def _settled_joint(joint: SemiSupervisedConfig | None, *, table: bool) -> SemiSupervisedConfig | None:
    if isinstance(joint, ConsistencyConfig) and joint.epsilon == "auto":
        return joint.model_copy(update={"epsilon": MOVE_IN_TABLE if table else MOVE})
    return joint


def labels_alone(settings: FinetuneConfig) -> FinetuneConfig:
    """Return the settings of fine-tuning with labels alone, whose epochs are another thing."""
    return settings.model_copy(
        update={"semi_supervised": None, "epochs": "auto", "patience": "auto", "batch_size": "auto"}
    )


def _deep(layers: Sequence[LayerConfig]) -> bool:
    """Tell whether a stack is deep and wide enough to learn few labels in a few steps."""
    return len(layers) >= DEEP and all(layer.width >= WIDE for layer in layers)


def _steps(rows: int, batch_size: int) -> int:
    """Return the optimiser steps of an epoch."""
    return max(1, math.ceil(rows / batch_size))
