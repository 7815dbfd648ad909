"""Temperatures against other ways to find the same minimum."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax

from stackae.temperature import LEAST, MOST, cross_fitted, fit_temperature


def drawn(rows: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of four classes, and classes drawn from their softmax at a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (rows, 4)).astype(np.float32)
    chances = softmax(logits / temperature, axis=1).cumsum(1)
    return logits, (rng.random((rows, 1)) > chances).sum(1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("rows", [25, 400])
def test_it_is_where_pytorch_finds_the_smoothed_nll_least(rows: int, temperature: float) -> None:
    logits, y = drawn(rows, temperature)
    inverse = torch.ones(1, dtype=torch.float64, requires_grad=True)
    tolerances = {"tolerance_grad": 1e-12, "tolerance_change": 1e-16}
    optimizer = torch.optim.LBFGS([inverse], max_iter=200, line_search_fn="strong_wolfe", **tolerances)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scaled = torch.from_numpy(logits).double() * inverse
        nll = torch.nn.functional.cross_entropy(scaled, torch.from_numpy(y), label_smoothing=1 / (rows + 1))
        nll.backward()
        return nll

    optimizer.step(loss)
    assert fit_temperature(logits, y) == pytest.approx(1 / inverse.item(), rel=1e-6)


def test_many_rows_tell_the_temperature_that_their_classes_were_drawn_at() -> None:
    assert fit_temperature(*drawn(40_000, 2.5)) == pytest.approx(2.5, rel=0.03)


def test_what_is_added_to_all_logits_of_a_row_changes_nothing() -> None:
    logits, y = drawn(50, 1.5)
    moved = logits + np.linspace(-90, 90, 50, dtype=np.float32)[:, None]
    assert fit_temperature(moved, y) == pytest.approx(fit_temperature(logits, y), rel=1e-4)


def test_a_few_rows_that_are_all_right_do_not_make_every_row_certain() -> None:
    # Two classes and a margin of 2: sigmoid(2 / T) is what the labels count for, 1 - 1 / (2 (n + 1)).
    y = np.arange(10) % 2
    logits = np.where(np.arange(2) == y[:, None], 1.0, -1.0)
    share = 1 - 1 / 22
    assert fit_temperature(logits, y) == pytest.approx(2 / np.log(share / (1 - share)))


def test_a_row_of_weight_2_counts_as_two_rows() -> None:
    logits, y = drawn(20_000, 2.0)
    twice = np.arange(20_000) % 3 == 0
    repeated = np.repeat(np.arange(20_000), 1 + twice)
    weighted = fit_temperature(logits, y, 1.0 + twice)
    assert weighted == pytest.approx(fit_temperature(logits[repeated], y[repeated]), rel=1e-3)
    assert weighted != pytest.approx(fit_temperature(logits, y), rel=1e-3)


def test_temperatures_have_bounds() -> None:
    logits, _ = drawn(100, 1.0)
    wrong = (logits.argmax(1) + 1) % 4
    assert fit_temperature(logits, wrong) == MOST
    assert fit_temperature(logits * 1e-4, logits.argmax(1)) == LEAST
    assert fit_temperature(np.zeros((3, 4)), np.zeros(3, int)) == MOST


def test_each_part_is_judged_at_the_temperature_of_the_others() -> None:
    logits, y = drawn(60, 2.0)
    part = np.arange(60) % 3
    found = cross_fitted(logits, y, part)
    for number in range(3):
        own = part == number
        expected = logits[own].astype(np.float64) / fit_temperature(logits[~own], y[~own])
        np.testing.assert_allclose(found[own], expected)
