"""The verdict against McNemar's sums by hand, and an interval that covers what it promises."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import ttest_rel

from stackae.report.verdict import Verdict, repeated
from stackae.report.verdict import verdict as verdict_over


def outcomes(both: int, won: int, lost: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Which rows the pretrained and the scratch network got right, by how often each pair occurs."""
    pretrained = np.repeat([True, True, False, False], [both, won, lost, neither])
    scratch = np.repeat([True, False, True, False], [both, won, lost, neither])
    order = np.random.default_rng(0).permutation(len(scratch))
    return pretrained[order], scratch[order]


def verdict(pretrained: np.ndarray, scratch: np.ndarray) -> Verdict:
    """Of one repetition."""
    return verdict_over([pretrained], [scratch])


def mcnemar(won: int, lost: int) -> float:
    n, fewer = won + lost, min(won, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    return min(1.0, 2 * tail)


@pytest.mark.parametrize(
    ("won", "lost"), [(5, 0), (0, 6), (9, 3), (3, 9), (7, 7), (40, 21), (1, 0), (300, 250)]
)
def test_p_is_mcnemars_exact_sum(won: int, lost: int) -> None:
    found = verdict(*outcomes(500, won, lost, 50))
    assert found.p == pytest.approx(mcnemar(won, lost))
    assert found.gain == pytest.approx((won - lost) / (550 + won + lost))


def test_two_networks_that_agree_everywhere() -> None:
    found = verdict(*outcomes(90, 0, 0, 10))
    assert (found.gain, found.p) == (0, 1)
    assert found.ci95[0] < 0 < found.ci95[1]
    assert "no clear difference" in found.text


def test_the_interval_is_that_of_bonett_and_price() -> None:
    # n = 100, 12 won, 4 lost: shares (12 + 1)/102 and (4 + 1)/102, by hand.
    p12, p21 = 13 / 102, 5 / 102
    half = 1.959964 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / 102)
    found = verdict(*outcomes(70, 12, 4, 14))
    assert found.ci95 == pytest.approx((p12 - p21 - half, p12 - p21 + half))
    assert found.ci95 == pytest.approx((-0.00166, 0.15852), abs=1e-5)


@pytest.mark.parametrize(("rows", "chances"), [(60, (0.6, 0.2, 0.05, 0.15)), (300, (0.9, 0.04, 0.03, 0.03))])
def test_the_interval_covers_the_true_gain_95_times_in_100(rows: int, chances: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    gain, draws, covered = chances[1] - chances[2], 1500, 0
    for _ in range(draws):
        both, won, lost, neither = rng.multinomial(rows, chances)
        low, high = verdict(*outcomes(both, won, lost, neither)).ci95
        covered += low <= gain <= high
    assert 0.935 < covered / draws < 0.985


def test_the_interval_stays_within_what_is_possible() -> None:
    assert verdict(*outcomes(0, 3, 0, 0)).ci95[1] <= 1
    assert verdict(*outcomes(0, 0, 3, 0)).ci95[0] >= -1


def test_swapping_the_networks_swaps_the_signs() -> None:
    pretrained, scratch = outcomes(50, 12, 5, 8)
    one, other = verdict(pretrained, scratch), verdict(scratch, pretrained)
    assert one.gain == pytest.approx(-other.gain)
    assert one.ci95 == pytest.approx((-other.ci95[1], -other.ci95[0]))
    assert one.p == pytest.approx(other.p)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        ((880, 40, 10, 70), "Pretraining lowered the test error from 11.00 % to 8.00 % (gain +3.00 points"),
        ((880, 10, 40, 70), "Pretraining raised the test error from 8.00 % to 11.00 % (gain -3.00 points"),
        ((880, 26, 24, 70), "Pretraining made no clear difference: test error from 9.60 % to 9.40 %"),
    ],
)
def test_the_text_says_what_happened(pairs: tuple[int, int, int, int], says: str) -> None:
    text = verdict(*outcomes(*pairs)).text
    assert text.startswith(says)
    assert "1,000 test rows" in text
    assert ("train from scratch" in text) == ("raised" in says)


def test_a_verdict_can_be_written_as_json() -> None:
    described = asdict(verdict(*outcomes(50, 12, 5, 8)))
    assert json.loads(json.dumps(described, allow_nan=False)) == described | {"ci95": list(described["ci95"])}


# ---- over several repetitions


def repetitions(count: int = 5, rows: int = 400, gain: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Which rows two networks got right in each repetition: (repetitions, rows) each."""
    rng = np.random.default_rng(3)
    return rng.random((count, rows)) < 0.8 + gain, rng.random((count, rows)) < 0.8


def test_over_repetitions_gain_interval_and_p_are_those_of_the_paired_t_test() -> None:
    pretrained, scratch = repetitions()
    found = verdict_over(list(pretrained), list(scratch))
    expected = ttest_rel(pretrained.mean(1), scratch.mean(1))
    assert found.gain == pytest.approx((pretrained.mean(1) - scratch.mean(1)).mean())
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ci95 == pytest.approx(expected.confidence_interval(0.95))


@pytest.mark.parametrize(("gain", "says"), [(0.05, "lowered"), (-0.05, "raised"), (0.0, "made no clear")])
def test_over_repetitions_the_text_has_the_mean_errors_and_says_over_what(gain: float, says: str) -> None:
    pretrained, scratch = repetitions(gain=gain)
    found = verdict_over(list(pretrained), list(scratch))
    change = f"from {100 * (1 - scratch.mean()):.2f} % to {100 * (1 - pretrained.mean()):.2f} %"
    assert found.text.startswith(f"Pretraining {says}")
    assert change in found.text
    assert f"over 5 repetitions on the same 400 test rows, paired t-test p = {found.p:.2g})" in found.text
    assert "McNemar" not in found.text


def test_repetitions_that_all_gain_the_same_make_it_no_certainty() -> None:
    # One row of a hundred more, twice: chance does that in every tenth pair of runs.
    twice = repeated([0.01, 0.01], 100)
    assert 0.05 < twice.p < 0.5
    assert twice.ci95[0] < 0 < 0.02 < twice.ci95[1]
    assert repeated([0.0, 0.0, 0.0], 100).p == 1
    assert repeated([0.3, 0.3, 0.3], 1000).p < 0.001


def test_the_interval_over_repetitions_covers_the_true_gain_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0.02, 0.01, (1500, 3))
    intervals = np.array([repeated(list(gains), 10_000).ci95 for gains in draws])
    covered = ((intervals[:, 0] <= 0.02) & (intervals[:, 1] >= 0.02)).mean()
    assert 0.935 < covered < 0.965
