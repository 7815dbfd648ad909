"""About how long things take, by numbers that do not depend on how busy or how fast a machine is.

Seconds on one core of a server, measured once on digits, isolet, adult, nsl_kdd and drawn rows of 16 to 617
columns. They say what may be fitted beside a run; nobody is told them as times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from stackae.config import BaselineName, Config, FinetuneConfig, FitConfig
from stackae.data.label_use import LabelUse
from stackae.plan.layers import PlannedLayer

STEP, FOLD_STEP = 3e-3, 2e-3
"""An optimiser step without its arithmetic, of one network, and of each of several that share it."""
OPERATION = 1 / 30e9
TREES, SEARCH_TREES = 500, 100
"""Trees of a forest, and of one that tells which strength suits."""
MANY = 2000
"""Rows from which on the trees of a forest are grown by several threads; they are the same."""
ITERATIONS = 100
"""Iterations of boosting."""
GRAPH_ROWS = 4000
"""The most rows of a graph over which labels spread, labelled ones included."""


def training_seconds(
    config: Config, use: LabelUse, layers: Sequence[PlannedLayer], train: int, classes: int
) -> float:
    """Estimate how long pretraining, unrolling, fine-tuning and its control take.

    `train` is the number of training rows. Where training may stop early, it is taken to do so halfway.
    """
    assert config.finetune is not None
    each = [_operations(layer) for layer in layers]
    seconds = sum(
        _fit_seconds(layer.fit, _halfway(layer.fit), train, 2 * one)
        for layer, one in zip(layers, each, strict=True)
    )
    seconds += _fit_seconds(config.unroll, _halfway(config.unroll), train, 2 * sum(each))
    settings: FinetuneConfig = config.finetune
    assert settings.epochs != "auto"
    network = sum(each) + math.prod(layers[-1].code) * classes
    networks, learnt = max(1, use.folds), int(use.learn.sum())
    patience = settings.patience if isinstance(settings.patience, int) else 0
    epochs = settings.epochs if use.hold_out is None else _halfway(settings)
    if use.refit:
        # Up to the best epoch once more.
        epochs += max(1, epochs - patience)
    fit = _fit_seconds(settings, epochs, learnt, networks * network, networks)
    if (joint := settings.semi_supervised) is not None:
        # Epochs go over all rows, up and down again, each step beside a batch of labelled ones.
        steps = epochs * math.ceil(train / joint.batch_size)
        rows = 2 * epochs * train + steps * min(learnt, int(settings.batch_size))
        overhead = FOLD_STEP * networks if networks > 1 else STEP
        fit = steps * overhead + rows * networks * network * 6 * OPERATION
    return seconds + fit * (2 if config.compare.scratch else 1)


def baseline_seconds(
    name: BaselineName, use: LabelUse, columns: int, classes: int, test: int, strengths: int, others: int
) -> float:
    """Estimate how long one of the baselines takes, with the choice among so many strengths.

    `others` are the training rows without a label.
    """
    if name == "label_spreading":
        # The graph of each part serves all strengths.
        graphs = (use.folds or 1) + 1
        return graphs * _graph(int(use.learn.sum()), others, columns, classes, strengths) + test * (
            4e-11 * columns * GRAPH_ROWS
        )
    learnt, rows = int(use.learn.sum()), int(use.first.sum())
    rows -= rows // use.folds if use.folds else 0
    parts = use.folds or (use.hold_out is not None)
    judged = learnt if use.folds else int(use.validates.sum())
    search = SEARCH_TREES if name == "extra_trees" else TREES
    chosen = parts * _fit(name, rows, columns, classes, search)
    chosen += _predict(name, rows, judged, columns, classes, search)
    last = _fit(name, learnt, columns, classes, TREES) + _predict(name, learnt, test, columns, classes, TREES)
    return strengths * chosen + last


def _graph(labelled: int, others: int, columns: int, classes: int, strengths: int) -> float:
    """Estimate how long a graph and its spreadings take, with the trees that scale its columns."""
    rows = min(GRAPH_ROWS, labelled + others)
    trees = _fit("extra_trees", min(labelled, MANY), columns, classes, 300)
    near = rows * (1e-5 + rows * (5e-9 + 4e-11 * columns))
    return trees + near + strengths * rows * (5e-6 + 2e-6 * classes)


def _fit(name: BaselineName, rows: int, columns: int, classes: int, trees: int) -> float:
    match name:
        case "logistic_regression":
            return 5e-3 + 2e-8 * rows * columns * (1 + classes / 8)
        case "svm":
            return 2e-3 + rows**2 * (4e-10 * columns + 2e-9 * classes)
        case "extra_trees":
            # Some of the strengths look at thrice as many columns for each split.
            tried = 2 * math.sqrt(columns)
            # Two threads, where trees take so long that they pay.
            share = 0.6 if rows >= MANY else 1.0
            return share * trees * (5e-4 + rows * (3e-7 + 1.3e-7 * tried + 4e-8 * classes))
        case "boosting":
            leaves, bins = min(31, rows / 10), min(255, rows)
            tree = 3e-4 + columns * (6e-9 * leaves * bins + 7e-9 * rows)
            return ITERATIONS * (classes if classes > 2 else 1) * tree + 5e-8 * rows * columns
    raise AssertionError(name)


def _predict(name: BaselineName, rows: int, judged: int, columns: int, classes: int, trees: int) -> float:
    match name:
        case "logistic_regression":
            return 1e-9 * judged * columns * classes
        case "svm":
            return judged * rows * (4e-10 * columns + 1e-9 * classes)
        case "extra_trees":
            return judged * trees * (2e-7 + 1e-8 * classes)
        case "boosting":
            return judged * ITERATIONS * (classes if classes > 2 else 1) * 1e-7
    raise AssertionError(name)


def _fit_seconds(fit: FitConfig, epochs: int, rows: int, operations: int, networks: int = 1) -> float:
    """Estimate a fit of so many multiplications per row."""
    steps = epochs * math.ceil(rows / fit.batch_size)
    # Forward, and twice as much backward; a multiplication and an addition each.
    overhead = FOLD_STEP * networks if networks > 1 else STEP
    return steps * overhead + epochs * rows * operations * 6 * OPERATION


def _halfway(fit: FitConfig) -> int:
    """Return how many epochs a fit takes that may stop early: halfway between its fewest and its most."""
    return fit.epochs if fit.patience is None else (fit.epochs + min(fit.epochs, fit.patience)) // 2


def _operations(layer: PlannedLayer) -> int:
    """Count the multiplications of a layer's encoder for one row: its weights act at each place of a code."""
    return layer.parameters * math.prod(layer.code[1:])
