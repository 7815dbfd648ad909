"""Importance of inputs: what tells the classes apart counts for more, by the rows that are given."""

from __future__ import annotations

import numpy as np
import pytest

from stackae.stages import input_scale
from stackae.stages.input_scale import LARGEST, importances

ROWS = 200


def table() -> tuple[np.ndarray, np.ndarray]:
    """Rows of ten columns, of which the third tells the class; the last is the same everywhere."""
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % 2
    x = rng.normal(size=(ROWS, 2, 5)).astype(np.float32)
    x[:, 0, 2] += 4 * y
    x[:, 1, 4] = 1.0
    return x, y


def test_what_tells_the_classes_apart_counts_for_more() -> None:
    x, y = table()
    scale = importances(x, y, np.arange(ROWS), 0, weight=None).numpy()
    assert scale.shape == (10,)
    assert scale.argmax() == 2
    assert scale[2] == pytest.approx(LARGEST)
    assert scale[9] == 0
    assert (scale[[0, 1, 3, 4, 5, 6, 7, 8]] < 1).all()


def test_rows_that_are_not_given_have_no_part_in_it() -> None:
    x, y = table()
    given = np.arange(0, ROWS, 3)
    before = importances(x, y, given, 0, weight=None)
    others = np.setdiff1d(np.arange(ROWS), given)
    x[others], y[others] = np.nan, 7
    input_scale._found.clear()
    assert np.array_equal(importances(x, y, given, 0, weight=None), before)


def test_rows_of_no_weight_have_no_part_in_it() -> None:
    x, y = table()
    weight = np.where(np.arange(ROWS) % 4 < 2, 1.0, 0.0)
    y[weight == 0] = 1 - y[weight == 0]
    assert importances(x, y, np.arange(ROWS), 0, weight=weight).argmax() == 2


def test_of_rows_of_one_class_all_inputs_count_alike() -> None:
    x, y = table()
    assert (importances(x, np.zeros_like(y), np.arange(ROWS), 0, weight=None) == 1).all()


def test_what_was_found_before_answers_the_same_question_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = table()
    rows, weight = np.arange(ROWS), np.linspace(0.1, 1, ROWS)
    first = importances(x, y, rows, 0, weight=None)
    kept = first.clone()
    first += 1
    assert np.array_equal(importances(x, y, rows, 0, weight=None), kept)
    others = [
        importances(x, y, rows, 1, weight=None),
        importances(x, y, rows[:-20], 0, weight=None),
        importances(x, y, rows, 0, weight=weight),
        importances(x, (x[:, 0, 0] > 0).astype(int), rows, 0, weight=None),
        importances(x + x[::-1], y, rows, 0, weight=None),
    ]
    for other in others:
        assert not np.array_equal(other, kept)
    monkeypatch.setattr(input_scale, "FOUND", 2)
    for seed in (2, 3):
        importances(x[:20], y[:20], np.arange(20), seed, weight=None)
    assert np.array_equal(importances(x, y, rows, 0, weight=None), kept)
