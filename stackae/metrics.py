"""Figures of merit: of a classifier's logits, and of a layer's codes and reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

CALIBRATION_BINS = 15
RANK_ROWS = 2048
METRIC_ROWS = 65_536
# A unit whose code stays within this share of the range of its activation's outputs from one of its bounds,
# for at least so large a share of the rows, is saturated.
BOUND_SHARE, ROW_SHARE = 0.01, 0.95
ACTIVITY_ROWS = 2048


def classification(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Compute metrics of logits (rows, classes) against classes y (rows,), with torchmetrics.

    `ece` is the expected calibration error over 15 bins (Guo et al. 2017), `nll` in nats per row,
    `confusion[i][j]` counts rows of class i predicted as j.
    """
    from torchmetrics import classification as tm

    rows, classes = logits.shape
    # Of several processes the one that is here has all rows: it does not wait for the others' sums.
    alone: Any = {"sync_on_compute": False}
    metrics = {
        "accuracy": tm.MulticlassAccuracy(classes, average="micro", **alone),
        "macro_f1": tm.MulticlassF1Score(classes, average="macro", **alone),
        "per_class_recall": tm.MulticlassRecall(classes, average="none", **alone),
        "confusion": tm.MulticlassConfusionMatrix(classes, **alone),
    }
    calibration = tm.MulticlassCalibrationError(classes, n_bins=CALIBRATION_BINS, **alone)
    nll = 0.0
    for start in range(0, rows, METRIC_ROWS):
        scores = torch.from_numpy(np.array(logits[start : start + METRIC_ROWS], np.float32))
        target = torch.from_numpy(np.array(y[start : start + METRIC_ROWS]))
        for metric in metrics.values():
            metric.update(scores, target)
        calibration.update(scores.softmax(1), target)
        nll += torch.nn.functional.cross_entropy(scores, target, reduction="sum").item()
    values = {name: metric.compute().tolist() for name, metric in metrics.items()}
    return values | {
        "error": 1.0 - values["accuracy"],
        "nll": nll / rows,
        "ece": calibration.compute().item(),
    }


def calibration_error(logits: np.ndarray, y: np.ndarray) -> float:
    """Compute `ece` of `classification`, without torchmetrics, whose import takes its time."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == y
    bins = np.digitize(confidence, np.linspace(0, 1, CALIBRATION_BINS + 1))
    return float(np.abs(np.bincount(bins, correct - confidence)).sum() / len(y))


def per_class(confusion: Any) -> list[dict[str, Any]]:
    """Compute rows, precision, recall and F1 of each class from `confusion` (true, predicted).

    A figure without a denominator, as the precision of a class that is never predicted, is None.
    """
    from sklearn.metrics import precision_recall_fscore_support

    counts = np.asarray(confusion)
    true, predicted = np.indices(counts.shape).reshape(2, -1)
    *shares, _ = precision_recall_fscore_support(
        true, predicted, labels=range(len(counts)), sample_weight=counts.ravel(), zero_division=np.nan
    )
    return [
        {"rows": int(rows)}
        | {
            name: None if np.isnan(share) else float(share)
            for name, share in zip(("precision", "recall", "f1"), figures, strict=True)
        }
        for rows, *figures in zip(counts.sum(1), *shares, strict=True)
    ]


def effective_rank(codes: np.ndarray) -> float:
    """Compute how many directions the codes (rows, width) use: exp of the entropy of their singular values.

    RankMe (Garrido et al. 2023, equation 1), on at most 2048 rows, spread evenly. Between 1 and width.
    """
    rows = np.linspace(0, len(codes) - 1, min(len(codes), RANK_ROWS)).astype(int)
    sample = np.asarray(codes[rows], dtype=np.float64).reshape(len(rows), -1)
    singular = np.linalg.svd(sample, compute_uv=False)
    if not singular.any():
        return 1.0
    shares = singular / singular.sum()
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))


@dataclass(frozen=True)
class Activity:
    """Shares of a layer's units, in [0, 1]: those whose code never changes, and those stuck at a bound."""

    dead: float
    saturated: float


def activity(codes: np.ndarray, low: float, high: float) -> Activity:
    """Measure the dead and saturated units of codes (rows, *code); `low` and `high` bound the activation.

    Dead: the same code for every row. Saturated: not dead, but within 1 % of the range from a bound for at
    least 95 % of the rows, where gradients vanish; only an activation with two bounds can be.
    """
    bounded = np.isfinite(low) and np.isfinite(high)
    margin = BOUND_SHARE * (high - low)
    first = np.asarray(codes[0]).ravel()
    varies = np.zeros(first.shape, bool)
    at_bound = np.zeros(first.shape, np.int64)
    for start in range(0, len(codes), ACTIVITY_ROWS):
        chunk = np.asarray(codes[start : start + ACTIVITY_ROWS]).reshape(-1, len(first))
        varies |= (chunk != first).any(axis=0)
        if bounded:
            at_bound += ((chunk <= low + margin) | (chunk >= high - margin)).sum(axis=0)
    saturated = varies & (at_bound >= ROW_SHARE * len(codes)) if bounded else np.zeros_like(varies)
    return Activity(float(1.0 - varies.mean()), float(saturated.mean()))
