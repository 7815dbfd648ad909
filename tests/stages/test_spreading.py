"""Labels that spread over rows without any, against the closed form, and where near neighbours mislead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stackae.data.features import Together
from stackae.plan.cost import GRAPH_ROWS
from stackae.stages.baseline_models import choose, fit, probabilities
from stackae.stages.baseline_modules import as_module
from stackae.stages.spreading import SURE, Spreading, rows_beside


def two_rings(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes that lie in rings, one around the other."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    angle, radius = rng.uniform(0, 2 * np.pi, rows), 1.0 + y + 0.08 * rng.normal(size=rows)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32), y


def test_rows_without_labels_say_where_the_classes_lie() -> None:
    x, y = two_rings(600, 0)
    test, truth = two_rings(400, 1)

    def right(others: np.ndarray) -> float:
        model = fit("label_spreading", {"alpha": 0.99}, x[:8], y[:8], 0, others=others)
        found: float = (probabilities(model, test, 2).argmax(1) == truth).mean()
        return found

    assert right(x[8:]) > 0.95
    assert right(x[:0]) < 0.8


def test_shares_are_those_of_the_closed_form() -> None:
    """Zhou et al. 2003, equation 4: F = (1 - a) (I - a S)^-1 Y, here with rows that add up to one."""
    x, y = two_rings(120, 0)
    model = Spreading(x[:10], y[:10], x[10:], 0).spread(0.8)
    ties = model._ties().toarray()
    np.testing.assert_array_equal(ties, ties.T)
    assert not ties.diagonal().any()
    assert ((ties > 0).sum(1) >= 10).all()
    root = 1 / np.sqrt(ties.sum(1))
    start = np.zeros((120, 2))
    start[np.arange(10), y[:10]] = 1
    spread = np.linalg.solve(np.eye(120) - 0.8 * root[:, None] * ties * root, start)
    expected = SURE * spread / spread.sum(1, keepdims=True) + (1 - SURE) / 2
    np.testing.assert_allclose(model.shares, expected, atol=0.01)


def test_a_column_that_matters_to_no_tree_is_nothing_to_the_graph() -> None:
    x, y = two_rings(300, 0)
    noisy = np.column_stack([x, np.zeros(300, np.float32)])
    loud = noisy.copy()
    loud[40:, 2] = 1e6
    known = slice(0, 40)
    plain, other = (Spreading(each[known], y[known], each[40:], 0).spread(0.9) for each in (noisy, loud))
    assert plain.scale[2] == 0
    np.testing.assert_array_equal(plain.shares, other.shares)


def test_a_row_is_as_its_neighbours_are_in_a_module_too() -> None:
    x, y = two_rings(2500, 0)
    model = Spreading(x[:30], y[:30], x[30:], 0).spread(0.9)
    test, _ = two_rings(1500, 1)
    found = model.predict_proba(test)
    np.testing.assert_allclose(found.sum(1), 1)
    module = as_module("label_spreading", model)
    module.check()
    np.testing.assert_allclose(module(torch.from_numpy(test)).softmax(1).numpy(), found, atol=1e-5)
    module.shares[0, 0] = 2.0
    with pytest.raises(ValueError, match="shares"):
        module.check()


def test_rows_that_no_label_reaches_are_undecided() -> None:
    x, y = two_rings(60, 0)
    far = x + np.float32(1e4)
    model = Spreading(x, y, far, 0).spread(0.9)
    np.testing.assert_allclose(model.predict_proba(far), 0.5, atol=1e-6)


def test_how_far_labels_spread_is_chosen_by_folds_that_share_their_graph() -> None:
    x, y = two_rings(900, 0)
    fold = np.arange(30) // 2 % 3
    parts = [(fold != number, fold == number) for number in range(3)]
    chosen = choose("label_spreading", x[:30], y[:30], parts, 2, 5, others=x[30:])
    alpha = chosen.strength["alpha"]
    expected = np.zeros((30, 2))
    for number, (fitted, judge) in enumerate(parts):
        one = Spreading(x[:30][fitted], y[:30][fitted], x[30:], 5 + number).spread(alpha)
        expected[judge] = one.predict_proba(x[:30][judge])
    np.testing.assert_allclose(chosen.probabilities, expected, atol=1e-6)
    assert chosen.accuracy == (expected.argmax(1) == y[:30]).mean()


def test_rows_beside_are_training_rows_whose_labels_are_not_used() -> None:
    x = Together(np.arange(9, dtype=np.float32)[:, None], np.full((5, 1), -1, np.float32))
    assert rows_beside(x, np.array([2, 5, 11]), 9, 0).ravel().tolist() == [0, 1, 3, 4, 6, 7, 8]
    assert rows_beside(x, np.arange(9), 9, 0).shape == (0, 1)
    many = Together(np.arange(3 * GRAPH_ROWS, dtype=np.float32)[:, None])
    taken = rows_beside(many, np.arange(50), 3 * GRAPH_ROWS, 0).ravel()
    assert len(set(taken)) == len(taken) == GRAPH_ROWS - 50
    assert taken.min() >= 50
    assert not np.array_equal(taken, rows_beside(many, np.arange(50), 3 * GRAPH_ROWS, 1).ravel())
