"""The stages without labels: one layer's pretraining, and the training of the whole stack unrolled."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from stackae.build import (
    AnyUnit,
    activation_of,
    build_corruption,
    build_loss,
    build_penalties,
    untie,
)
from stackae.config import FitConfig
from stackae.data.batches import Batches
from stackae.data.features import (
    FEATURES,
    encode_parts,
    mean_row,
    open_features,
    sample,
    squared_distance,
    squared_error,
)
from stackae.data.rows import chunk_rows
from stackae.metrics import activity, effective_rank
from stackae.model import novelty
from stackae.plan import Plan, PlannedLayer, mirrored, stacked
from stackae.seeds import derive
from stackae.shallow.losses import Loss
from stackae.shallow.normalisation import fold, measure, normalise
from stackae.shallow.objectives import Reconstruction
from stackae.stack import Decoder, Encoder
from stackae.stage_context import NOTHING, StageContext, StageOutput
from stackae.stages.finished import load_units
from stackae.stages.snapshots import pictures_of
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights

# From this share of a layer's units on, a warning says that they are dead or saturated.
MANY_UNITS = 0.2
LEARNT_NOTHING, TRAINED = 0.95, 5
"""Error of a layer, as a multiple of that of the mean row, above which a warning says so, and the epochs that
were asked for where it does: who asks for fewer is only trying."""


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
    if layer.batch_norm:
        normalise(unit.encoder)
    if not layer.fit.epochs:
        loss = build_loss(layer.loss, layer.blocks)
        _start_at_mean(unit, loss, mean_row(open_features(below.file, "train")))
    lower = load_units(plan, entries, upto=number - 1)
    watched = pictures_of(plan, [*lower, unit], data)
    normalised = unit.encoder if layer.batch_norm else None
    metrics = _fit(context, unit, layer.objective(), layer.fit, below, seed, watched, normalised)
    if layer.batch_norm:
        measure(unit.encoder, sample(open_features(below.file, "train")))
        fold(unit.encoder)
    _write(context, unit, unit.encoder, below)
    if not context.team.leads:
        return NOTHING
    metrics |= _code_metrics(context, nn.Sequential(unit.decoder, layer.output()), below)
    _warn_of_nothing_learnt(context, layer, metrics)
    metrics |= _unit_activity(context, layer)
    encoder, decoder = stacked(plan.layers, [*lower, unit.eval()])
    metrics |= _data_metrics(context, plan, encoder, decoder, data)
    return StageOutput(metrics, [WEIGHTS, "metrics.csv", *FEATURES])


def unroll(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train all layers as one deep autoencoder to reconstruct the data.

    The first layer's corruption and loss and the last layer's penalties are those of the whole.
    """
    settings, first, last = plan.config.unroll, plan.layers[0], plan.layers[-1]
    seed = derive(context.seed, context.stage)
    torch.manual_seed(derive(seed, "init"))
    data, units = entries[plan.data.name], load_units(plan, entries)
    if settings.untie:
        for unit in units:
            untie(unit)
    for unit in units[:-1]:
        # The deviations of a variational layer's codes are not on the way: they are not trained.
        used = {*unit.encoder.parameters(), *unit.decoder.parameters()}
        for parameter in unit.parameters():
            parameter.requires_grad_(parameter.requires_grad and parameter in used)
    deep = mirrored(plan.layers, units)
    objective = Reconstruction(
        build_loss(first.loss, first.blocks),
        build_corruption(first.config.corruption, first.blocks),
        build_penalties(last.config, last.code),
    )
    watched = pictures_of(plan, units, data)
    metrics = _fit(context, deep, objective, settings, data, seed, watched)
    encoder, decoder = stacked(plan.layers, units)
    _write(context, deep, encoder, data)
    if not context.team.leads:
        return NOTHING
    metrics |= _code_metrics(context, decoder, data) | _unit_activity(context, last)
    metrics |= _data_metrics(context, plan, encoder, decoder, data)
    return StageOutput(metrics, [WEIGHTS, "metrics.csv", *FEATURES])


def _write(context: StageContext, network: nn.Module, encoder: nn.Module, inputs: Entry) -> None:
    """Write the weights of a network and, with all of a team, its encoder's features."""
    if context.team.leads:
        save_weights(context.folder / WEIGHTS, {"": network})
    encode_parts(encoder, inputs.file, context.folder, context.hardware.device, context.team)


@torch.no_grad()
def _start_at_mean(unit: AnyUnit, loss: Loss, mean: np.ndarray) -> None:
    """Set the output bias so that a unit reconstructs the mean row where its code says nothing.

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
    inputs: Entry,
    seed: int,
    pictures: Callable[[], Mapping[str, np.ndarray]] | None,
    normalised: nn.Module | None = None,
) -> dict[str, Any]:
    """Train on the features of a finished stage; return the metrics of the epoch that is kept.

    `normalised` is what has normalisations, if anything has.
    """
    from stackae.tasks import PretrainTask
    from stackae.training import fit

    train = Batches(open_features(inputs.file, "train"), batch_size=settings.batch_size, seed=seed)
    x_val = open_features(inputs.file, "val")
    val = Batches(x_val, batch_size=chunk_rows(x_val.shape[1:]))
    if not settings.epochs:
        if context.team.leads:
            write_history([], context.folder)
        return {"epochs": 0}
    steps = int(settings.epochs) * len(train)
    task = PretrainTask(unit, objective, settings, seed=seed, steps=steps)
    if normalised is not None:
        task.measure_before_validation(normalised, sample(open_features(inputs.file, "train")))
    keep_best = settings.patience is not None
    fitted = fit(context, task, train, val, settings, keep_best=keep_best, pictures=pictures)
    if context.team.leads:
        write_history(fitted.history, context.folder)
    kept_row = fitted.history[fitted.kept_epoch - 1]
    metrics = {name: value for name, value in kept_row.items() if name not in ("epoch", "seconds")}
    return metrics | fitted.metrics


def _code_metrics(context: StageContext, decoder: nn.Module, inputs: Entry) -> dict[str, float]:
    """Measure the codes of the validation rows: their rank, and how well `decoder` reconstructs from them."""
    codes = np.load(context.folder / "features-val.npy", mmap_mode="r")
    rows = open_features(inputs.file, "val")
    baseline = squared_distance(rows, mean_row(open_features(inputs.file, "train")))
    # Where all rows are alike, but for rounding, there is nothing to learn.
    varied = baseline > 1e-10 * squared_distance(rows, np.zeros(rows.shape[1:]))
    return {
        "reconstruction_ratio": squared_error(decoder, codes, rows) / baseline if varied else 1.0,
        "effective_rank": effective_rank(codes),
    }


def _warn_of_nothing_learnt(context: StageContext, layer: PlannedLayer, metrics: Mapping[str, float]) -> None:
    """Warn where a trained layer reconstructs hardly better than the mean row does."""
    ratio = metrics["reconstruction_ratio"]
    # Of inputs that are all alike it is 1: there is nothing to learn.
    if int(layer.fit.epochs) >= TRAINED and ratio > LEARNT_NOTHING and ratio != 1.0:
        context.progress.warn(
            f"{context.stage}: the layer has learnt next to nothing (its error is {ratio:.2f} of that of the "
            "inputs' mean); train it longer or at a higher learning rate, or give it more units"
        )


def _unit_activity(context: StageContext, layer: PlannedLayer) -> dict[str, float]:
    """Measure the shares of dead and saturated units on the validation rows; warn where they are large."""
    activation = activation_of(layer.config)
    codes = np.load(context.folder / "features-val.npy", mmap_mode="r", allow_pickle=False)
    shares = activity(codes, activation.low, activation.high)
    if shares.dead == 1.0:
        context.progress.warn(
            f"{context.stage}: all rows have the same code; lower the learning rate or the penalties"
        )
    elif shares.dead > MANY_UNITS:
        or_activation = ", or use activation: leaky_relu" if layer.config.activation == "relu" else ""
        context.progress.warn(
            f"{context.stage}: {shares.dead:.0%} of the units are dead (one code for every row); "
            f"lower the learning rate or the width{or_activation}"
        )
    # Sparse codes are meant to rest at their lower bound.
    if shares.saturated > MANY_UNITS and not {"kl", "l1"} & {
        penalty.type for penalty in layer.config.penalties
    }:
        context.progress.warn(
            f"{context.stage}: {shares.saturated:.0%} of the units are saturated (at a bound of "
            f"'{layer.config.activation}' for most rows); lower the learning rate, or scale the input down"
        )
    return {"dead_units": shares.dead, "saturated_units": shares.saturated}


def _data_metrics(
    context: StageContext, plan: Plan, encoder: Encoder, decoder: Decoder, data: Entry
) -> dict[str, float]:
    """Measure how well the data's test rows are reconstructed from this depth, and which errors are usual."""
    test = open_features(data.file, "test")
    total = squared_error(decoder, np.load(context.folder / "features-test.npy", mmap_mode="r"), test)
    first = plan.layers[0]
    usual = novelty(encoder, decoder, build_loss(first.loss, first.blocks), open_features(data.file, "val"))
    return {"test_sse_per_row": total / len(test), "test_mse": total / test.size, "novelty": usual}


def write_history(history: Sequence[dict[str, float]], folder: Path) -> None:
    """Write `metrics.csv`: one row per epoch."""
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["epoch"])
        writer.writeheader()
        writer.writerows(history)
