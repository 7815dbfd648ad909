"""Splits by groups and by time: nothing that belongs together is in two parts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from test_splits import balanced, source, split

from stackae.data.source import Source
from stackae.errors import DataError

# ---- groups


@st.composite
def grouped_sources(draw: st.DrawFn) -> Source:
    """Twelve to sixty groups of one to nine rows, of two or three classes, some rows without a label."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=12, max_size=60))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    y = rng.integers(-1, draw(st.integers(2, 3)), len(group))
    y[:6] = [0, 1, 0, 1, 0, 1]
    y[y == 2] = 2 if (y == 2).sum() > 5 else 0
    return source(y, group=group)


@given(grouped_sources(), st.integers(0, 99))
def test_no_group_is_in_two_parts(of: Source, seed: int) -> None:
    assert of.group is not None
    try:
        got = split(of, seed, test=0.25, val=0.2)
    except DataError as fault:
        assert "none can be spared" in str(fault)  # noqa: PT017
        return
    parts = [set(of.group[rows].tolist()) for rows in (got.train, got.val, got.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert (of.labels[got.test] >= 0).all()
    assert set(of.labels[got.train]) >= set(of.labels.tolist()) - {-1}
    largest = np.bincount(of.group).max()
    rest = ~np.isin(of.group, of.group[got.test])
    for part, of_rows in ((got.test, (of.labels >= 0).sum()), (got.val, rest.sum())):
        share = 0.25 if part is got.test else 0.2
        assert abs(len(part) - share * of_rows) <= largest
    other = split(of, seed, test=0.25, val=0.2)
    assert other.fingerprint == got.fingerprint


def test_groups_come_as_near_to_a_stratified_split_as_they_can() -> None:
    rng = np.random.default_rng(0)
    # Three hundred people with one to thirty rows, who each have mostly one of four classes.
    sizes = rng.integers(1, 31, 300)
    group = np.repeat(np.arange(300), sizes)
    usual = np.repeat(rng.integers(0, 4, 300), sizes)
    y = np.where(rng.random(len(group)) < 0.9, usual, rng.integers(0, 4, len(group)))
    for seed in range(5):
        got = split(source(y, group=group), seed, test=0.2, val=0.1)
        for rows, share in ((got.test, 0.2), (got.val, 0.08)):
            exact = share * np.bincount(y)
            assert abs(len(rows) - exact.sum()) <= 2
            assert np.abs(np.bincount(y[rows]) - exact).max() <= 3
    seeds = {split(source(y, group=group), seed).fingerprint for seed in range(5)}
    assert len(seeds) == 5


def test_few_large_groups_are_exchanged_until_they_fit() -> None:
    sizes = [17, 23, 29, 31, 37, 19, 13, 11, 41, 43]
    group = np.repeat(np.arange(10), sizes)
    for seed in range(9):
        got = split(source(None, rows=sum(sizes), group=group), seed, test=40, val=50)
        assert abs(len(got.test) - 40) <= 1
        assert abs(len(got.val) - 50) <= 2


def test_a_class_that_one_group_alone_has_stays_in_training() -> None:
    y = np.array([0, 1] * 45 + [2] * 10)
    group = np.arange(100) // 10
    for seed in range(20):
        got = split(source(y, group=group), seed, test=0.6, val=0.6)
        assert 9 in group[got.train]


def test_extra_rows_of_a_group_that_is_held_out_are_left_out() -> None:
    group = np.append(np.arange(100) // 10, np.arange(10))
    got = split(source(None, rows=110, group=group, extra=10), test=0.2, val=0.1)
    held = set(group[np.concatenate([got.val, got.test])].tolist())
    assert len(held) == 3
    assert {*group[got.train].tolist()} == set(range(10)) - held
    assert (got.train >= 100).sum() == 7


# ---- time


def test_the_last_rows_are_the_test_and_those_before_them_validate() -> None:
    time = np.random.default_rng(0).permutation(1000)
    got = split(source(balanced(100), order=time), test=0.2, val=0.1)
    assert sorted(time[got.test]) == list(range(800, 1000))
    assert sorted(time[got.val]) == list(range(720, 800))
    assert sorted(time[got.train]) == list(range(720))
    assert split(source(balanced(100), order=time), seed=1, test=0.2, val=0.1).fingerprint == got.fingerprint


@given(st.lists(st.integers(0, 12), min_size=30, max_size=80), st.integers(0, 2))
def test_rows_of_one_time_stay_together(times: list[int], unlabelled: int) -> None:
    time = np.array([*times, 0, 5, 9, 12])
    y = np.arange(len(time)) % 2
    y[:unlabelled] = -1
    of = source(y, order=time)
    try:
        got = split(of, test=0.25, val=0.2)
    except DataError as fault:
        says = str(fault)
        assert "no labelled row left" in says or "have the same time" in says
        return
    assert time[got.train].max() < time[got.val].min()
    assert time[got.val].max() < time[got.test].min()
    assert (y[got.test] >= 0).all()
    usable = time[y >= 0]
    sizes = [int((usable >= since).sum()) for since in np.unique(usable)[1:]]
    wanted = round(0.25 * len(usable))
    assert abs(len(got.test) - wanted) == min(abs(size - wanted) for size in sizes)


def test_a_published_test_part_leaves_only_validation_to_be_taken_by_time() -> None:
    time = np.append(np.arange(100)[::-1], np.arange(20))
    got = split(source(balanced(10), balanced(2), order=time), val=0.1)
    assert got.test.tolist() == list(range(100, 120))
    assert got.val.tolist() == list(range(10))
    pooled = split(source(balanced(10), balanced(2), order=time), val=0.1, pool=True)
    assert time[pooled.train].max() < time[pooled.val].min()
