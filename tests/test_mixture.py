"""Mixtures of two classifiers: found again where they are known, never fitted to those who judge them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from stackae.mixture import SHARES, Mixture, cross_mixed, fit_mixture, log_loss

RNG = np.random.default_rng(0)


def drawn(rows: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of two classifiers, and classes drawn from one's probabilities or, else, from the other's."""
    first, second = RNG.normal(0, 2, (2, rows, 4))
    shares = softmax(np.where(RNG.random((rows, 1)) < share, first, second), axis=1)
    y = (shares.cumsum(1) < RNG.random((rows, 1))).sum(1)
    return first, second, y


def test_what_is_mixed_is_the_formula() -> None:
    first, second, _ = drawn(5, 0.5)
    found = Mixture(0.3, (2.0, 0.5)).of(first, second)
    one, other = np.exp(first) ** 2, np.exp(second) ** 0.5
    expected = 0.3 * one / one.sum(1, keepdims=True) + 0.7 * other / other.sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_of_many_rows_it_takes_who_tells_the_classes(share: float) -> None:
    first, second, y = drawn(3000, share)
    found = fit_mixture(first, second, y)
    assert found.share == pytest.approx(share, abs=0.05)
    assert found.powers[0 if share else 1] == pytest.approx(1.0, abs=0.1)


def test_few_rows_leave_the_share_near_a_half() -> None:
    first, second, y = drawn(3, 1.0)
    assert 0.2 < fit_mixture(first, second, y).share < 0.8


def test_the_share_is_the_mean_over_shares_by_their_likelihood() -> None:
    first, second, y = drawn(40, 0.5)
    found = fit_mixture(first, second, y)
    likely = [np.exp(-40 * log_loss(Mixture(share, found.powers).of(first, second), y)) for share in SHARES]
    assert found.share == pytest.approx(np.average(SHARES, weights=likely), rel=1e-6)


def test_rows_of_no_weight_have_no_part_in_it() -> None:
    first, second, y = drawn(60, 0.5)
    weight = (np.arange(60) < 40).astype(float)
    y[40:] = (y[40:] + 1) % 4
    found, expected = fit_mixture(first, second, y, weight), fit_mixture(first[:40], second[:40], y[:40])
    assert found.powers == pytest.approx(expected.powers, rel=0.05)


def test_each_part_is_mixed_as_suits_the_others() -> None:
    first, second, y = drawn(90, 0.5)
    part = np.arange(90) % 3
    found = cross_mixed(first, second, y, part)
    for number in range(3):
        own = part == number
        mixture = fit_mixture(first[~own], second[~own], y[~own])
        np.testing.assert_allclose(found[own], mixture.of(first[own], second[own]), rtol=1e-12)
    changed = y.copy()
    changed[part == 0] = (changed[part == 0] + 1) % 4
    np.testing.assert_array_equal(cross_mixed(first, second, changed, part)[part == 0], found[part == 0])
