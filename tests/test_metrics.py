"""Metrics against scikit-learn and plain numpy, and ranks and ratios of known worth."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score
from torch import nn

from stackae.data.features import mean_row, squared_distance, squared_error
from stackae.data.rows import CHUNK
from stackae.metrics import (
    ACTIVITY_ROWS,
    CALIBRATION_BINS,
    RANK_ROWS,
    activity,
    classification,
    effective_rank,
)
from stackae.metrics import calibration_error as without_torchmetrics

CLASSES = 4


def logits_and_classes(*, skill: float = 1.0, rows: int = 500) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.choice(CLASSES, rows, p=[0.5, 0.3, 0.15, 0.05])
    logits = rng.normal(scale=2, size=(rows, CLASSES)) + skill * 2 * np.eye(CLASSES)[y]
    return logits.astype(np.float32), y


def calibration_error(logits: np.ndarray, y: np.ndarray) -> float:
    """The weighted gap between confidence and accuracy over bins of equal width (Guo et al. 2017, eq. 3)."""
    probabilities = softmax(logits.astype(np.float64), axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == y
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    total = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


@pytest.mark.parametrize("skill", [0.0, 1.0, 3.0])
def test_classification_agrees_with_scikit_learn(skill: float) -> None:
    logits, y = logits_and_classes(skill=skill)
    found, guess = classification(logits, y), logits.argmax(1)
    assert found["accuracy"] == pytest.approx(accuracy_score(y, guess))
    assert found["error"] == pytest.approx(1 - accuracy_score(y, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(y, guess, average="macro"))
    assert found["per_class_recall"] == pytest.approx(recall_score(y, guess, average=None))
    assert found["confusion"] == confusion_matrix(y, guess).tolist()
    nll = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(y)), y].mean()
    assert found["nll"] == pytest.approx(nll, rel=1e-5)
    assert found["ece"] == pytest.approx(calibration_error(logits, y), abs=1e-5)
    assert without_torchmetrics(logits, y) == pytest.approx(found["ece"], abs=1e-5)


def test_a_class_without_rows_is_counted_as_scikit_learn_counts_it() -> None:
    logits, y = logits_and_classes()
    logits[:, 3] = -50
    kept = y != 3
    found, guess = classification(logits[kept], y[kept]), logits[kept].argmax(1)
    assert found["macro_f1"] == pytest.approx(f1_score(y[kept], guess, average="macro"))
    assert found["per_class_recall"][3] == 0
    assert found["confusion"] == confusion_matrix(y[kept], guess, labels=range(CLASSES)).tolist()


def test_sure_and_right_is_perfect_and_sure_and_wrong_is_not() -> None:
    y = np.arange(8) % CLASSES
    right = classification(100 * np.eye(CLASSES)[y], y)
    assert (right["accuracy"], right["macro_f1"], right["ece"], right["nll"]) == (1, 1, 0, 0)
    wrong = classification(100 * np.eye(CLASSES)[(y + 1) % CLASSES], y)
    assert (wrong["accuracy"], wrong["error"], wrong["ece"]) == (0, 1, 1)
    assert wrong["nll"] == pytest.approx(100)


def test_metrics_can_be_written_as_json() -> None:
    found = classification(*logits_and_classes())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# ---- effective rank


def test_effective_rank_of_known_spectra() -> None:
    assert effective_rank(np.eye(50)) == pytest.approx(50)
    assert effective_rank(7 * np.eye(50)[:, :12]) == pytest.approx(12)
    assert effective_rank(np.outer(np.arange(1, 40), [1.0, -2.0, 3.0])) == pytest.approx(1)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(np.exp(entropy))


def test_identical_and_dead_codes_have_rank_one() -> None:
    assert effective_rank(np.full((30, 5), 2.0, np.float32)) == pytest.approx(1)
    assert effective_rank(np.zeros((30, 5), np.float32)) == 1


def test_effective_rank_does_not_change_with_a_rotation() -> None:
    codes = np.random.default_rng(0).normal(size=(60, 5)) * [5, 4, 3, 2, 1]
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    assert effective_rank(codes @ rotation) == pytest.approx(effective_rank(codes))


def test_effective_rank_looks_at_rows_all_over_a_long_array() -> None:
    codes = np.zeros((3 * RANK_ROWS, 4))
    for direction in range(4):
        codes[direction::4, direction] = 1
    assert effective_rank(codes) == pytest.approx(4, rel=1e-3)
    quarter = len(codes) // 4
    sorted_codes = np.repeat(np.eye(4), quarter, axis=0)
    assert effective_rank(sorted_codes) == pytest.approx(4, rel=1e-3)


# ---- reconstruction, a chunk of rows at a time

ROWS = CHUNK + 7


def test_sums_over_chunks_are_the_sums_over_all_rows() -> None:
    rng = np.random.default_rng(0)
    x, codes = rng.normal(size=(ROWS, 2, 3)).astype(np.float32), rng.normal(size=(ROWS, 4)).astype(np.float32)
    decoder = nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)))
    made = decoder(torch.from_numpy(codes)).detach().double().numpy()
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean_row(x), wide.mean(0), rtol=1e-9, atol=1e-12)
    assert squared_error(decoder, codes, x) == pytest.approx(((made - wide) ** 2).sum(), rel=1e-6)
    assert squared_distance(x, mean_row(x)) == pytest.approx(((wide - wide.mean(0)) ** 2).sum(), rel=1e-6)


def test_a_decoder_that_always_says_the_mean_has_ratio_one() -> None:
    rng = np.random.default_rng(0)
    x, codes = rng.random((ROWS, 5), dtype=np.float32), rng.random((ROWS, 3), dtype=np.float32)
    decoder = nn.Linear(3, 5)
    with torch.no_grad():
        decoder.weight.zero_()
        decoder.bias.copy_(torch.from_numpy(x.mean(0)))
    ratio = squared_error(decoder, codes, x) / squared_distance(x, mean_row(x))
    assert ratio == pytest.approx(1, abs=1e-5)


# ---- units that say nothing


def test_dead_and_saturated_units_are_counted_over_all_chunks() -> None:
    rows = 2 * ACTIVITY_ROWS + 100
    codes = np.random.default_rng(0).uniform(0.2, 0.8, (rows, 2, 5)).astype(np.float32)
    codes[:, 0, 0] = 0.0  # dead
    codes[:, 0, 1] = 0.5  # dead too, though not at a bound
    codes[:, 1, 0] = 0.0
    codes[-1, 1, 0] = 0.5  # alive in the very last row, else at the bound
    codes[:, 1, 1] = np.where(np.arange(rows) % 2, 0.001, 0.999)  # at both bounds
    codes[: int(0.9 * rows), 1, 2] = 1.0  # often at the bound, but not mostly
    found = activity(codes, 0.0, 1.0)
    assert found.dead == pytest.approx(0.2)
    assert found.saturated == pytest.approx(0.2)
    assert activity(codes, 0.0, np.inf).saturated == 0.0
