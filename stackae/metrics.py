"""Figures of merit: of a classifier's logits, and of a layer's codes and reconstructions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

CALIBRATION_BINS = 15
RANK_ROWS = 2048


def classification(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Metrics of logits (rows, classes) against classes y (rows,), computed by torchmetrics.

    `ece` is the expected calibration error over 15 bins (Guo et al. 2017), `nll` in nats per row,
    `confusion[i][j]` counts rows of class i predicted as j.
    """
    from torchmetrics.functional import classification as tm

    scores, target = torch.from_numpy(np.asarray(logits)).float(), torch.from_numpy(np.asarray(y))
    classes = scores.shape[1]
    probabilities = scores.softmax(1)
    accuracy = tm.multiclass_accuracy(scores, target, classes, average="micro").item()
    recall = tm.multiclass_recall(scores, target, classes, average="none")
    ece = tm.multiclass_calibration_error(probabilities, target, classes, n_bins=CALIBRATION_BINS)
    return {
        "accuracy": accuracy,
        "error": 1.0 - accuracy,
        "macro_f1": tm.multiclass_f1_score(scores, target, classes, average="macro").item(),
        "nll": torch.nn.functional.cross_entropy(scores, target).item(),
        "ece": ece.item(),
        "per_class_recall": recall.tolist(),
        "confusion": tm.multiclass_confusion_matrix(scores, target, classes).tolist(),
    }


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
