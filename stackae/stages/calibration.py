"""The temperature of what a run's model predicts: fitted when the model is put together, without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stackae.data.features import read_array
from stackae.metrics import calibration_error
from stackae.mixture import logarithms
from stackae.plan import Plan
from stackae.stages.baselines import labels
from stackae.stages.means import judged_weights, parts_of, stack_logits, wanted_mean
from stackae.store import Entry
from stackae.temperature import cross_fitted, fit_temperature, losses

LEAST_GAIN = 1e-4
"""NLL in nats per row by which a temperature must be better than none; what is less may be rounding."""

Figures = Mapping[str, Mapping[str, float]]
"""NLL and ECE, `before` the logits are divided and `after`."""


@dataclass(frozen=True)
class Calibration:
    """By what the model divides its logits, 1 where that would not help, and what it does to probabilities.

    Fitted to `rows` that were not learnt from. `val` is of these, each at the temperature of the others.
    """

    temperature: float
    rows: int
    val: Figures
    test: Figures


def calibrate(plan: Plan, entries: Mapping[str, Entry]) -> Calibration | None:
    """Fit a temperature to the rows that validate, and keep it where it lowers the NLL of such rows.

    Rows count as in training, by their weights and where classes are balanced; in the figures each once.
    None where there is no classifier, the config wants none, or fewer than two rows validate.
    """
    settings, use = plan.config.finetune, plan.labels
    if settings is None or settings.temperature == "none" or use is None or len(use.judged) < 2:
        return None
    val, test = (_predicted(plan, entries, part) for part in ("val", "test"))
    y = labels(entries[plan.data.name])[use.judged]
    y_test = read_array(entries[plan.data.name].file("labels-test.npy"))
    part = parts_of(plan)
    weight = judged_weights(plan, y)
    tempered = cross_fitted(val, y, part, weight)
    helps = np.average(losses(val, y) - losses(tempered, y), weights=weight) > LEAST_GAIN
    temperature = fit_temperature(val, y, weight) if helps else 1.0
    return Calibration(
        temperature,
        len(y),
        {"before": _figures(val, y), "after": _figures(tempered if helps else val, y)},
        {"before": _figures(test, y_test), "after": _figures(test / temperature, y_test)},
    )


def _predicted(plan: Plan, entries: Mapping[str, Entry], part: str) -> np.ndarray:
    """Return the logits (rows, classes) of the network, or of its mean with baselines."""
    mean = wanted_mean(plan, entries) if "blend" in entries else None
    if mean is None:
        return stack_logits(plan, entries, part)
    return logarithms(mean.val if part == "val" else mean.test)


def _figures(logits: np.ndarray, y: np.ndarray) -> dict[str, float]:
    return {"nll": float(losses(logits, y).mean()), "ece": calibration_error(logits, y)}
