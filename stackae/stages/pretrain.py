"""The stages without labels: one layer's pretraining, and the training of the whole stack unrolled."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stackae import metrics
from stackae.build import AnyUnit, activation_of, build_corruption, build_loss, build_penalties
from stackae.config import FitConfig
from stackae.data.batches import Batches
from stackae.data.features import (
    FEATURES,
    encode_parts,
    mean_row,
    open_features,
    squared_distance,
    squared_error,
)
from stackae.data.rows import chunk_rows
from stackae.model import novelty
from stackae.plan import Plan, PlannedLayer, mirrored, stacked
from stackae.seeds import derive
from stackae.shallow.losses import Loss
from stackae.shallow.objectives import Reconstruction
from stackae.stack import Decoder, Encoder
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.finished import load_units
from stackae.stages.snapshots import pictures_of
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights

# From this share of a layer's units on it is worth a warning that they say nothing.
MANY = 0.2


def pretrain(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train one layer on the features of the layer below, then write its own features.

    With no epochs the layer keeps its random weights, but for its output bias, which is set to the inputs'
    mean.
    """
    number = plan.depths.index(context.stage)
    layer, data, below = plan.layers[number - 1], entries[plan.data.name], entries[plan.depths[number - 1]]
    seed = derive(context.seed, context.stage)
    torch.manual_seed(derive(seed, "init"))
    unit = layer.unit()
    if not layer.fit.epochs:
        loss = build_loss(layer.loss, layer.blocks)
        _start_at_mean(unit, loss, mean_row(open_features(below.file, "train")))
    lower = load_units(plan, entries, upto=number - 1)
    watched = pictures_of(plan, [*lower, unit], data)
    numbers = _fit(context, unit, layer.objective(), layer.fit, below, seed, watched)
    save_weights(context.folder / WEIGHTS, {"": unit})
    encode_parts(unit.encoder, below.file, context.folder, context.hardware.device)
    numbers |= _codes(context, nn.Sequential(unit.decoder, layer.output()), below)
    numbers |= _activity(context, layer)
    encoder, decoder = stacked(plan.layers, [*lower, unit.eval()])
    numbers |= _through_all(context, plan, encoder, decoder, data)
    return StageOutput(numbers, [WEIGHTS, "metrics.csv", *FEATURES])


def unroll(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train all layers as one deep autoencoder to reconstruct the data.

    The first layer's corruption and loss and the last layer's penalties are those of the whole.
    """
    settings, first, last = plan.config.unroll, plan.layers[0], plan.layers[-1]
    seed = derive(context.seed, context.stage)
    torch.manual_seed(derive(seed, "init"))
    data, units = entries[plan.data.name], load_units(plan, entries)
    deep = mirrored(plan.layers, units)
    objective = Reconstruction(
        build_loss(first.loss, first.blocks),
        build_corruption(first.config.corruption, first.blocks),
        build_penalties(last.config, last.code),
    )
    watched = pictures_of(plan, units, data)
    numbers = _fit(context, deep, objective, settings, data, seed, watched)
    save_weights(context.folder / WEIGHTS, {"": deep})
    encoder, decoder = stacked(plan.layers, units)
    encode_parts(encoder, data.file, context.folder, context.hardware.device)
    numbers |= _codes(context, decoder, data) | _activity(context, last)
    numbers |= _through_all(context, plan, encoder, decoder, data)
    return StageOutput(numbers, [WEIGHTS, "metrics.csv", *FEATURES])


@torch.no_grad()
def _start_at_mean(unit: AnyUnit, loss: Loss, mean: np.ndarray) -> None:
    """Sets the output bias so that the mean row is what a unit reconstructs where its code says nothing.

    Hinton 2010, section 8, for visible units. A layer that is left to `unroll` needs it: from a bias of zero
    the codes would first be driven to do the bias's work, and saturate.
    """
    bias = unit.output_bias
    bias.copy_(loss.inverse(torch.from_numpy(mean).reshape(len(bias), -1).mean(1)))


def _fit(
    context: StageContext,
    unit: nn.Module,
    objective: nn.Module,
    settings: FitConfig,
    given: Entry,
    seed: int,
    pictures: Callable[[], Mapping[str, np.ndarray]] | None,
) -> dict[str, Any]:
    """Trains on the features of a finished stage; the last epoch's metrics, or the best's."""
    from stackae.tasks import PretrainTask
    from stackae.training import fit

    train = Batches(open_features(given.file, "train"), batch_size=settings.batch_size, seed=seed)
    x_val = open_features(given.file, "val")
    val = Batches(x_val, batch_size=chunk_rows(x_val.shape[1:]))
    if not settings.epochs:
        write_history([], context.folder)
        return {"epochs": 0}
    task = PretrainTask(unit, objective, settings, seed=seed, steps=settings.epochs * len(train))
    keep_best = settings.patience is not None
    fitted = fit(context, task, train, val, settings, keep_best=keep_best, pictures=pictures)
    write_history(fitted.history, context.folder)
    kept = dict(fitted.history[fitted.kept_epoch - 1])
    numbers = {name: value for name, value in kept.items() if name not in ("epoch", "seconds")}
    return numbers | {
        "epochs": len(fitted.history),
        "kept_epoch": fitted.kept_epoch,
        "seconds": fitted.seconds,
    }


def _codes(context: StageContext, decoder: nn.Module, given: Entry) -> dict[str, float]:
    """What the codes of the validation rows are worth: of what `decoder` reconstructs."""
    codes = np.load(context.folder / "features-val.npy", mmap_mode="r")
    rows = open_features(given.file, "val")
    baseline = squared_distance(rows, mean_row(open_features(given.file, "train")))
    # Where all rows are alike, but for rounding, there is nothing to learn.
    varied = baseline > 1e-10 * squared_distance(rows, np.zeros(rows.shape[1:]))
    return {
        "reconstruction_ratio": squared_error(decoder, codes, rows) / baseline if varied else 1.0,
        "effective_rank": metrics.effective_rank(codes),
    }


def _activity(context: StageContext, layer: PlannedLayer) -> dict[str, float]:
    """Which of the layer's units say nothing of the validation rows; a warning where they are many."""
    made = activation_of(layer.config)
    codes = np.load(context.folder / "features-val.npy", mmap_mode="r", allow_pickle=False)
    found = metrics.activity(codes, made.low, made.high)
    if found.dead == 1.0:
        context.progress.warn(
            f"{context.stage}: all rows have the same code; lower the learning rate or the penalties"
        )
    elif found.dead > MANY:
        other = ", or use activation: leaky_relu" if layer.config.activation == "relu" else ""
        context.progress.warn(
            f"{context.stage}: {found.dead:.0%} of the units are dead (one code for every row); "
            f"lower the learning rate or the width{other}"
        )
    # Sparse codes are meant to rest at their lower bound.
    if found.saturated > MANY and not {"kl", "l1"} & {penalty.type for penalty in layer.config.penalties}:
        context.progress.warn(
            f"{context.stage}: {found.saturated:.0%} of the units are saturated (at a bound of "
            f"'{layer.config.activation}' for most rows); lower the learning rate, or scale the input down"
        )
    return {"dead_units": found.dead, "saturated_units": found.saturated}


def _through_all(
    context: StageContext, plan: Plan, encoder: Encoder, decoder: Decoder, data: Entry
) -> dict[str, float]:
    """How well the data's test rows come back from this depth's codes, and which errors are usual."""
    test = open_features(data.file, "test")
    total = squared_error(decoder, np.load(context.folder / "features-test.npy", mmap_mode="r"), test)
    first = plan.layers[0]
    usual = novelty(encoder, decoder, build_loss(first.loss, first.blocks), open_features(data.file, "val"))
    return {"test_sse_per_row": total / len(test), "test_mse": total / test.size, "novelty": usual}


def write_history(history: Sequence[dict[str, float]], folder: Path) -> None:
    """Writes `metrics.csv`: one row per epoch."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["epoch"])
        writer.writeheader()
        writer.writerows(history)
