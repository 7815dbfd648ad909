"""The mean of a classifier's probabilities and baselines', in the shares that rows left out make likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from stackae.data.features import read_array
from stackae.mixture import LEAST, Mixture, alike, cross_mixed, fit_mixture, logarithms
from stackae.plan import Plan
from stackae.plan.baselines import Baseline, short
from stackae.seeds import derive
from stackae.stages.baselines import labels, weights
from stackae.stages.finetune import class_weights
from stackae.store import Entry

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


@dataclass(frozen=True, eq=False)
class Mean:
    """The classifier's probabilities averaged with those of `partners`, as the mixture has it, in which the
    classifier comes first.

    `val` and `test` are the probabilities (rows, classes) of the rows that validate, each part mixed as
    suits the others, and of the test rows.
    """

    partners: tuple[Baseline, ...]
    mixture: Mixture
    val: np.ndarray
    test: np.ndarray

    def __str__(self) -> str:
        """Name the partners, the one with the greatest share first."""
        shares = dict(zip(map(short, self.partners), self.mixture.shares[1:], strict=True))
        return ", ".join(sorted(shares, key=lambda name: -shares[name]))


def wanted_mean(plan: Plan, entries: Mapping[str, Entry]) -> Mean | None:
    """Average the classifier with the baseline that the config names, or as `best_mean` does; None if so."""
    assert plan.config.finetune is not None
    wanted = plan.config.finetune.blend
    if wanted == "none":
        return None
    if wanted == "auto":
        return best_mean(plan, entries)
    return _mean(plan, entries, [Baseline(wanted, "columns")])


def best_mean(plan: Plan, entries: Mapping[str, Entry]) -> Mean | None:
    """Average the classifier with all baselines in the shares that rows that validate make likely.

    None where no baseline has a share that counts, or too few rows validate.
    """
    fitted = plan.labelled.chosen.fitted
    if not fitted or len(np.unique(parts_of(plan))) < 2:
        return None
    mean = _mean(plan, entries, fitted, least=LEAST)
    return mean if mean.partners else None


def _mean(plan: Plan, entries: Mapping[str, Entry], among: Sequence[Baseline], *, least: float = 0.0) -> Mean:
    """Mix the classifier with baselines; all alike where fewer than two parts of rows validate."""
    assert plan.labels is not None
    y = labels(entries[plan.data.name])[plan.labels.judged]
    weight, part = judged_weights(plan, y), parts_of(plan)
    val, test = (
        [stack_logits(plan, entries, rows), *(_baseline_logits(entries, rows, each) for each in among)]
        for rows in ("val", "test")
    )
    if len(np.unique(part)) < 2:
        mixture = alike(len(val))
        mixed = mixture.of(val)
    else:
        mixture = fit_mixture(val, y, weight, least=least)
        mixed = cross_mixed(val, y, part, weight, least=least)
    kept = tuple(among[number - 1] for number in mixture.parts if number)
    return Mean(kept, mixture.without_the_others(), mixed, mixture.of(test))


def _baseline_logits(entries: Mapping[str, Entry], part: str, baseline: Baseline) -> np.ndarray:
    stage = entries["baselines" if baseline.on == "columns" else "baselines-codes"]
    return logarithms(read_array(stage.file(f"probabilities-{part}-{baseline.name}.npy")))
