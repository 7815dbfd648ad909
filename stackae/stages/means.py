"""The means of a classifier's probabilities and each baseline's, and which of them to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import softmax

from stackae.data.features import read_array
from stackae.mixture import Mixture, cross_mixed, fit_mixture, log_loss, logarithms
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.stages.baselines import labels, weights
from stackae.stages.finetune import class_weights
from stackae.store import Entry
from stackae.temperature import cross_fitted

PREFERRED, CLEARLY = "extra_trees", 2.0
"""The baseline that is mixed with unless the rows that validate are likelier by so many nats, all together,
otherwise; docs/recipe.md has the figures."""
PARTS = 5
"""Parts of the rows that were held out, each judged by what was fitted to the others."""


def stack_logits(plan: Plan, entries: Mapping[str, Entry], part: str) -> np.ndarray:
    """Return the classifier's logits (rows, classes) of the test rows, or of those that validate."""
    assert plan.labels is not None
    name, file = "finetune", "logits-test.npy"
    if part == "val":
        if not len(plan.labels.judged):
            return np.zeros((0, len(plan.classes)))
        file = "logits-folds.npy" if plan.labels.folds else "logits-val.npy"
        name = "length" if plan.labels.refit else name
    return read_array(entries[name].file(file)).astype(np.float64)


def stack_probabilities(plan: Plan, entries: Mapping[str, Entry], part: str) -> np.ndarray:
    """Return the classifier's probabilities (rows, classes) of the test rows, or of those that validate."""
    shares: np.ndarray = softmax(stack_logits(plan, entries, part), axis=1)
    return shares


def parts_of(plan: Plan) -> np.ndarray:
    """Number the parts of the rows that validate, by which what is fitted to them is judged: (rows,)."""
    use = plan.labels
    assert use is not None
    if use.fold is not None:
        return use.fold[use.judged]
    rows = len(use.judged)
    order = np.random.default_rng(derive(plan.config.seed, "parts")).permutation(rows)
    return order % max(1, min(PARTS, rows))


def judged_weights(plan: Plan, y: np.ndarray) -> np.ndarray | None:
    """Return how much each row that validates counts, as in training: by its weight, and where classes y are
    balanced."""
    assert plan.labels is not None
    assert plan.config.finetune is not None
    weight = weights(plan, plan.labels.judged)
    if plan.config.finetune.balance == "none":
        return weight
    balanced: np.ndarray = class_weights(y).numpy().astype(np.float64)[y]
    return balanced if weight is None else balanced * weight


def mixtures(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, Mixture]:
    """Return how the classifier is mixed with each baseline on the columns, by its name.

    Half and half where fewer than two parts of rows validate.
    """
    own, y, weight = _judged(plan, entries)
    if len(np.unique(parts_of(plan))) < 2:
        return {name: Mixture() for name in _names(plan)}
    return {
        name: fit_mixture(own, _baseline_logits(entries, "val", name), y, weight) for name in _names(plan)
    }


def mean_probabilities(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, dict[str, np.ndarray]]:
    """Return the mixtures of the classifier's probabilities with each baseline's on the columns, by part.

    Those of rows that validate are mixed as suits the other rows.
    """
    if not _names(plan):
        return {"test": {}, "val": {}}
    own, y, weight = _judged(plan, entries)
    part = parts_of(plan)
    test = stack_logits(plan, entries, "test")
    several = len(np.unique(part)) > 1
    found: dict[str, dict[str, np.ndarray]] = {"test": {}, "val": {}}
    for name, mixture in mixtures(plan, entries).items():
        found["test"][name] = mixture.of(test, _baseline_logits(entries, "test", name))
        theirs = _baseline_logits(entries, "val", name)
        found["val"][name] = cross_mixed(own, theirs, y, part, weight) if several else mixture.of(own, theirs)
    return found


def _names(plan: Plan) -> list[Any]:
    return plan.labelled.chosen.names("columns") if plan.labelled.baselines is not None else []


def _judged(plan: Plan, entries: Mapping[str, Entry]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return logits, classes and weights of the rows that validate."""
    assert plan.labels is not None
    y = labels(entries[plan.data.name])[plan.labels.judged]
    return stack_logits(plan, entries, "val"), y, judged_weights(plan, y)


def _baseline_logits(entries: Mapping[str, Entry], part: str, name: str) -> np.ndarray:
    return logarithms(read_array(entries["baselines"].file(f"probabilities-{part}-{name}.npy")))


def best_mean(plan: Plan, entries: Mapping[str, Entry], means: Mapping[str, np.ndarray]) -> Any:
    """Name the baseline to mix with: extra trees, unless another makes rows that validate clearly likelier.

    None where the classifier alone makes them clearly likelier, or too few rows validate.
    """
    own, y, weight = _judged(plan, entries)
    part = parts_of(plan)
    if len(np.unique(part)) < 2 or not means:
        return None
    loss = {name: len(y) * log_loss(shares, y, weight) for name, shares in means.items()}
    best = min(loss, key=lambda name: loss[name])
    if PREFERRED in loss and loss[PREFERRED] <= loss[best] + CLEARLY:
        best = PREFERRED
    alone = len(y) * log_loss(softmax(cross_fitted(own, y, part, weight), axis=1), y, weight)
    return best if loss[best] <= alone + CLEARLY else None
