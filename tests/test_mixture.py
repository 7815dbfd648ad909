"""Mixtures of classifiers: found again where they are known, never fitted to those who judge them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import softmax

from stackae.mixture import PRIOR, Mixture, alike, cross_mixed, fit_mixture

RNG = np.random.default_rng(0)


def drawn(rows: int, *shares: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Logits of classifiers, and classes that are drawn from the probabilities of one, by these shares."""
    logits = RNG.normal(0, 2, (len(shares), rows, 4))
    who = RNG.choice(len(shares), rows, p=shares)
    told = softmax(logits[who, np.arange(rows)], axis=1)
    return list(logits), (told.cumsum(1) < RNG.random((rows, 1))).sum(1)


def test_what_is_mixed_is_the_formula() -> None:
    (first, second, _), _ = drawn(5, 0.2, 0.3, 0.5)
    found = Mixture((0.3, 0.7), (2.0, 0.5)).of([first, second])
    one, other = np.exp(first) ** 2, np.exp(second) ** 0.5
    expected = 0.3 * one / one.sum(1, keepdims=True) + 0.7 * other / other.sum(1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("who", [0, 1, 2])
def test_of_many_rows_it_takes_who_tells_the_classes(who: int) -> None:
    logits, y = drawn(3000, *np.eye(3)[who])
    found = fit_mixture(logits, y, least=0.05)
    # The first is never left out.
    assert found.parts == sorted({0, who})
    assert found.shares[who] == pytest.approx(1.0, abs=0.05)
    assert found.powers[who] == pytest.approx(1.0, abs=0.1)
    short = found.without_the_others()
    assert sum(short.shares) == pytest.approx(1)
    np.testing.assert_allclose(short.of([logits[each] for each in found.parts]), found.of(logits))


def test_few_rows_leave_the_shares_near_each_other() -> None:
    logits, y = drawn(3, 1.0, 0.0)
    assert 0.2 < fit_mixture(logits, y).shares[0] < 0.8
    assert alike(4).shares == (0.25,) * 4


@pytest.mark.parametrize("weighted", [False, True])
def test_the_shares_are_the_likeliest_under_an_even_prior(weighted: bool) -> None:
    logits, y = drawn(40, 0.5, 0.3, 0.2)
    weight = RNG.random(40) if weighted else None
    found = fit_mixture(logits, y, weight)
    counts = np.ones(40) if weight is None else weight * 40 / weight.sum()
    told = np.stack(
        [softmax(p * z, axis=1)[np.arange(40), y] for p, z in zip(found.powers, logits, strict=True)], 1
    )

    def unlikely(free: np.ndarray) -> float:
        shares = softmax(np.append(free, 0.0))
        return -float(counts @ np.log(told @ shares) + PRIOR / 3 * np.log(shares).sum())

    best = minimize(unlikely, np.zeros(2), tol=1e-10)
    assert found.shares == pytest.approx(softmax(np.append(best.x, 0.0)), abs=1e-4)


def test_rows_of_no_weight_have_no_part_in_it() -> None:
    logits, y = drawn(60, 0.5, 0.5)
    weight = (np.arange(60) < 40).astype(float)
    y[40:] = (y[40:] + 1) % 4
    found, expected = fit_mixture(logits, y, weight), fit_mixture([each[:40] for each in logits], y[:40])
    assert found.powers == pytest.approx(expected.powers, rel=0.05)


def test_each_part_is_mixed_as_suits_the_others() -> None:
    logits, y = drawn(90, 0.5, 0.4, 0.1)
    part = np.arange(90) % 3
    found = cross_mixed(logits, y, part, least=0.05)
    for number in range(3):
        own = part == number
        mixture = fit_mixture([each[~own] for each in logits], y[~own], least=0.05)
        np.testing.assert_allclose(found[own], mixture.of([each[own] for each in logits]), rtol=1e-12)
    changed = y.copy()
    changed[part == 0] = (changed[part == 0] + 1) % 4
    np.testing.assert_array_equal(cross_mixed(logits, changed, part, least=0.05)[part == 0], found[part == 0])
