"""Figures of merit: of a classifier's logits, and of a layer's codes and reconstructions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

CALIBRATION_BINS = 15
RANK_ROWS = 2048
METRIC_ROWS = 65_536
# A unit whose code stays within this share of the range of its activation's outputs from one of its bounds,
# for at least so large a share of the rows, is saturated.
NEAR, MOSTLY = 0.01, 0.95
ACTIVITY_ROWS = 2048


def classification(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Metrics of logits (rows, classes) against classes y (rows,), computed by torchmetrics.

    `ece` is the expected calibration error over 15 bins (Guo et al. 2017), `nll` in nats per row,
    `confusion[i][j]` counts rows of class i predicted as j.
    """
    from torchmetrics import classification as tm

    rows, classes = logits.shape
    found = {
        "accuracy": tm.MulticlassAccuracy(classes, average="micro"),
        "macro_f1": tm.MulticlassF1Score(classes, average="macro"),
        "per_class_recall": tm.MulticlassRecall(classes, average="none"),
        "confusion": tm.MulticlassConfusionMatrix(classes),
    }
    calibration, nll = tm.MulticlassCalibrationError(classes, n_bins=CALIBRATION_BINS), 0.0
    for at in range(0, rows, METRIC_ROWS):
        scores = torch.from_numpy(np.array(logits[at : at + METRIC_ROWS], np.float32))
        target = torch.from_numpy(np.array(y[at : at + METRIC_ROWS]))
        for metric in found.values():
            metric.update(scores, target)
        calibration.update(scores.softmax(1), target)
        nll += torch.nn.functional.cross_entropy(scores, target, reduction="sum").item()
    values = {name: metric.compute().tolist() for name, metric in found.items()}
    return values | {
        "error": 1.0 - values["accuracy"],
        "nll": nll / rows,
        "ece": calibration.compute().item(),
    }


def per_class(confusion: Any) -> list[dict[str, Any]]:
    """Rows, precision, recall and F1 of each class from `confusion` (true, predicted), by scikit-learn.

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
    """How many directions the codes (rows, width) use: exp of the entropy of their singular values.

    RankMe (Garrido et al. 2023, equation 1), on at most 2048 rows, spread evenly. Between 1 and width.
    """
    rows = np.linspace(0, len(codes) - 1, min(len(codes), RANK_ROWS)).astype(int)
    sample = np.asarray(codes[rows], dtype=np.float64).reshape(len(rows), -1)
    singular = np.linalg.svd(sample, compute_uv=False)
    if not singular.any():
        return 1.0
    share = singular / singular.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


@dataclass(frozen=True)
class Activity:
    """Shares of a layer's units, in [0, 1]: those whose code never changes, and those stuck at a bound."""

    dead: float
    saturated: float


def activity(codes: np.ndarray, low: float, high: float) -> Activity:
    """Which units of codes (rows, *code) say nothing: `low` and `high` bound the activation's outputs.

    Dead: the same code for every row. Saturated: not dead, but within 1 % of the range from a bound for at
    least 95 % of the rows, where gradients vanish; only an activation with two bounds can be.
    """
    bounded = np.isfinite(low) and np.isfinite(high)
    near = NEAR * (high - low)
    first = np.asarray(codes[0]).ravel()
    moved = np.zeros(first.shape, bool)
    at_bound = np.zeros(first.shape, np.int64)
    for at in range(0, len(codes), ACTIVITY_ROWS):
        part = np.asarray(codes[at : at + ACTIVITY_ROWS]).reshape(-1, len(first))
        moved |= (part != first).any(axis=0)
        if bounded:
            at_bound += ((part <= low + near) | (part >= high - near)).sum(axis=0)
    saturated = moved & (at_bound >= MOSTLY * len(codes)) if bounded else np.zeros_like(moved)
    return Activity(float(1.0 - moved.mean()), float(saturated.mean()))
