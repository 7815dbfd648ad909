"""Splits: invariants for any labels and any config, and faults with their numbers."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackae.config import DataConfig
from stackae.data.rows import ArrayRows
from stackae.data.source import Source
from stackae.data.splits import Split, allocate, hold_out, make_split
from stackae.errors import DataError


def source(
    y: Any,
    y_test: Any = None,
    *,
    rows: int | None = None,
    test_rows: int | None = None,
    extra: int = 0,
    group: Any = None,
    order: Any = None,
) -> Source:
    """A source of which only the labels, or only the numbers of rows, matter, and what divides them."""

    def unread(train: np.ndarray) -> Any:
        raise AssertionError("no split looks at the rows")

    y = None if y is None else np.asarray(y, np.int64)
    y_test = None if y_test is None else np.asarray(y_test, np.int64)
    x = ArrayRows(np.zeros((rows if y is None else len(y), 1), np.float32))
    m = test_rows if y_test is None else len(y_test)
    x_test = None if m is None else ArrayRows(np.zeros((m, 1), np.float32))
    classes = () if y is None else tuple(f"c{c}" for c in range(int(y.max()) + 1))
    group = None if group is None else np.asarray(group, np.int64)
    order = None if order is None else np.asarray(order, np.float64)
    return Source("some", x, y, x_test, y_test, classes, "0" * 64, unread, extra, group, order)


def balanced(per_class: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.repeat(np.arange(classes), per_class))


def split(of: Source, seed: int = 0, labels: Any = "all", **parts: Any) -> Split:
    return make_split(of, DataConfig.model_validate({"labels": labels, "split": parts}), seed)


def counts(labels: np.ndarray, classes: int = 10) -> list[int]:
    return np.bincount(labels, minlength=classes).tolist()


def kept(part: Split) -> set[int]:
    return set(part.train[part.labelled].tolist())


# ---- allocation


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.data())
def test_allocate_is_the_largest_remainder_method(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(0, sum(sizes)))
    quotas = [Fraction(total * n, sum(sizes)) for n in sizes]
    expected = [floor(q) for q in quotas]
    by_remainder = sorted(range(len(sizes)), key=lambda c: (floor(quotas[c]) - quotas[c], c))
    for c in by_remainder[: total - sum(expected)]:
        expected[c] += 1
    assert allocate(total, np.array(sizes)).tolist() == expected


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8), st.data())
def test_allocate_leaves_no_class_without_a_row(sizes: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(len(sizes), sum(sizes)))
    shares = allocate(total, np.array(sizes), least=1)
    assert shares.sum() == total
    assert (shares >= 1).all()
    assert (shares <= sizes).all()
    raised = shares == 1
    # those that were not raised to one share what is left in proportion
    rest = np.array(sizes)[~raised]
    if rest.size:
        quota = (total - raised.sum()) * rest / rest.sum()
        assert (np.abs(shares[~raised] - quota) <= 1 + raised.sum() / 2).all()


def test_allocate_by_hand() -> None:
    assert allocate(10, np.array([60, 30, 10])).tolist() == [6, 3, 1]
    assert allocate(7, np.array([50, 30, 20])).tolist() == [4, 2, 1]  # 3.5, 2.1, 1.4
    assert allocate(10, np.array([98, 1, 1]), least=1).tolist() == [8, 1, 1]
    assert allocate(3, np.array([98, 1, 1]), least=1).tolist() == [1, 1, 1]
    # the small classes' parts are 0.2 rows each; the large ones divide the other 18 rows 2 to 1
    assert allocate(20, np.array([600, 300, 9, 9]), least=1).tolist() == [12, 6, 1, 1]


# ---- invariants


@st.composite
def labelled_sources(draw: st.DrawFn) -> Source:
    """Two to five classes of at least 8 rows, some rows unlabelled, with or without a published test part."""
    sizes = draw(st.lists(st.integers(8, 40), min_size=2, max_size=5))
    y = np.repeat(np.arange(len(sizes)), sizes)
    y = np.concatenate([y, np.full(draw(st.integers(0, 30)), -1)])
    y = np.random.default_rng(draw(st.integers(0, 9))).permutation(y)
    y_test = None
    if draw(st.booleans()):
        y_test = np.concatenate([np.repeat(np.arange(len(sizes)), draw(st.integers(1, 9))), [-1]])
    return source(y, y_test)


PARTS = st.fixed_dictionaries(
    {
        "pool": st.booleans(),
        "val": st.one_of(st.integers(1, 5), st.floats(0.05, 0.3)),
        "test": st.one_of(st.none(), st.integers(1, 2), st.floats(0.05, 0.3)),
        "train": st.one_of(st.none(), st.integers(6, 7)),
    }
)


@given(labelled_sources(), PARTS, st.integers(0, 2**32 - 1))
def test_parts_are_disjoint_sorted_stratified_and_of_the_size_asked(
    of: Source, parts: dict[str, Any], seed: int
) -> None:
    got = split(of, seed, **parts)
    assert of.y is not None
    y = of.y if of.y_test is None else np.concatenate([of.y, of.y_test])
    published = of.y_test is not None and not parts["pool"]
    for rows in (got.train, got.val, got.test):
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
    together = np.concatenate([got.train, got.val, got.test])
    assert len(set(together.tolist())) == len(together)
    assert together.min() >= 0
    assert together.max() < len(y)

    def check(part: np.ndarray, wanted: int | float, candidates: np.ndarray) -> None:
        assert len(part) == (wanted if isinstance(wanted, int) else max(1, round(wanted * len(candidates))))
        assert set(part.tolist()) <= set(candidates.tolist())
        # Rows without a label are a class of their own.
        exact = np.bincount(y[candidates] + 1) * len(part) / len(candidates)
        assert (np.abs(np.bincount(y[part] + 1, minlength=len(exact)) - exact) < 1).all()

    rows, first = np.arange(len(y)), len(of.rows)
    of_test = rows[first:] if published else rows
    of_test = of_test[y[of_test] >= 0]
    if parts["test"] is None and published:
        assert got.test.tolist() == of_test.tolist()
    else:
        check(got.test, parts["test"] or 0.2, of_test)
    rest = np.setdiff1d(rows[:first] if published else rows, got.test)
    check(got.val, parts["val"], rest)
    rest = np.setdiff1d(rest, got.val)
    if parts["train"] is None:
        assert got.train.tolist() == rest.tolist()
    else:
        assert len(got.train) == parts["train"]
        assert set(got.train.tolist()) <= set(rest.tolist())
    assert got.labelled.tolist() == (y[got.train] >= 0).tolist()
    assert set(y[got.train]) >= set(range(len(of.classes)))


@given(labelled_sources(), st.integers(0, 2**32 - 1), st.data())
def test_the_number_of_labels_touches_no_part(of: Source, seed: int, data: st.DataObject) -> None:
    base = split(of, seed)
    n, classes = int(base.labelled.sum()), len(of.classes)
    few = data.draw(st.integers(classes, n))
    for labels in (few, {"per_class": 2}):
        got = split(of, seed, labels)
        again = split(of, seed, labels)
        for part in ("train", "val", "test"):
            assert (
                getattr(got, part).tolist() == getattr(base, part).tolist() == getattr(again, part).tolist()
            )
        assert got.labelled.tolist() == again.labelled.tolist()
        assert of.y is not None
        y = of.y if of.y_test is None else np.concatenate([of.y, of.y_test])
        per_class = np.bincount(y[sorted(kept(got))], minlength=classes)
        assert per_class.sum() == (few if labels == few else 2 * classes)
        assert (per_class >= 1).all() if labels == few else (per_class == 2).all()
        assert kept(got) <= kept(base)


@given(labelled_sources(), st.integers(0, 2**32 - 1), st.data())
def test_twice_the_labels_keep_the_fewer(of: Source, seed: int, data: st.DataObject) -> None:
    classes = len(of.classes)
    few = data.draw(st.integers(classes, int(split(of, seed).labelled.sum()) // 2))
    many = data.draw(st.integers(2 * few, int(split(of, seed).labelled.sum())))
    assert kept(split(of, seed, few)) < kept(split(of, seed, many))


def test_more_labels_keep_the_fewer() -> None:
    of = source(np.random.default_rng(3).choice(10, 5000, p=np.arange(1, 11) / 55))
    numbers = [kept(split(of, labels=n)) for n in (10, 30, 100, 300, 1000, 3000)]
    for fewer, more in pairwise(numbers):
        assert fewer < more
    per_class = [kept(split(of, labels={"per_class": n})) for n in (1, 5, 25)]
    assert per_class[0] < per_class[1] < per_class[2]


def test_a_draw_does_not_depend_on_the_sizes_of_the_others() -> None:
    of = source(balanced(100))
    base = split(of, test=200, val=100)
    assert split(of, test=200, val=300).test.tolist() == base.test.tolist()
    assert split(of, test=200, val=100, train=50).val.tolist() == base.val.tolist()
    assert set(split(of, test=200, val=100, train=50).train) < set(
        split(of, test=200, val=100, train=500).train
    )


def test_seeds_draw_differently_and_parts_independently() -> None:
    of = source(balanced(100))
    zero, one = split(of, 0, 100), split(of, 1, 100)
    for part in ("train", "val", "test"):
        assert getattr(zero, part).tolist() != getattr(one, part).tolist()
    assert kept(zero) != kept(one)
    # of two equal halves, the same number of rows: were the generators one, the same places would be taken
    twins = split(source(balanced(100), balanced(100)), test=100, val=100)
    assert twins.val.tolist() != (twins.test - 1000).tolist()
    # drawn uniformly: over many seeds, every row is about as often in the test part
    small = source(balanced(10, classes=2))
    often = np.bincount(
        np.concatenate([split(small, seed, test=0.5).test for seed in range(400)]), minlength=20
    )
    assert (np.abs(often - 200) < 5 * np.sqrt(400 * 0.25)).all()


def test_defaults_by_hand() -> None:
    unpublished = split(source(balanced(100)))
    assert [len(unpublished.train), len(unpublished.val), len(unpublished.test)] == [720, 80, 200]
    published = split(source(balanced(100), balanced(20)))
    assert published.test.tolist() == list(range(1000, 1200))
    assert [len(published.train), len(published.val)] == [900, 100]
    pooled = split(source(balanced(100), balanced(20)), pool=True)
    assert [len(pooled.train), len(pooled.val), len(pooled.test)] == [864, 96, 240]
    assert 0 < np.sum(pooled.test < 1000) < 240
    some = split(source(balanced(100), balanced(20)), test=50)
    assert len(some.test) == 50
    assert some.test.min() >= 1000
    assert some.train.max() < 1000


def test_without_labels_rows_are_drawn_uniformly() -> None:
    got = split(source(None, rows=1000, test_rows=100), test=50, val=0.1, train=600)
    assert [len(got.train), len(got.val), len(got.test)] == [600, 100, 50]
    assert got.test.min() >= 1000
    assert not got.labelled.any()
    assert len(got.labelled) == 600


def test_unlabelled_rows_train_and_validate_but_do_not_test() -> None:
    y = np.where(np.arange(1000) % 5 == 0, -1, balanced(100))
    got = split(source(y), labels=50, test=100, val=100)
    assert (y[got.test] >= 0).all()
    assert (y[got.val] == -1).sum() == 22  # of 900 rows 200 have no label
    assert (y[got.train] == -1).sum() == 178
    assert got.labelled.sum() == 50
    assert (y[got.train[got.labelled]] >= 0).all()
    # a drawn training part has its proportion of them
    assert (y[split(source(y), test=100, val=100, train=400).train] == -1).sum() == 89


def test_a_rare_class_stays_in_a_small_training_part() -> None:
    y = np.concatenate([np.zeros(990, int), np.ones(10, int)])
    got = split(source(y), train=20, labels=5)
    assert counts(y[got.train], 2) == [19, 1]
    assert counts(y[sorted(kept(got))], 2) == [4, 1]


# ---- extra rows


@given(labelled_sources(), PARTS, st.integers(1, 20), st.integers(0, 99))
def test_extra_rows_train_and_change_nothing_else(
    of: Source, parts: dict[str, Any], extra: int, seed: int
) -> None:
    assert of.y is not None
    more = source([*of.y, *[-1] * extra], of.y_test, extra=extra)
    without, got = split(of, seed, **parts), split(more, seed, **parts)
    first = len(of.rows)
    for part in ("train", "val", "test"):
        rows = getattr(got, part)
        own = rows[(rows < first) | (rows >= first + extra)]
        assert np.where(own < first, own, own - extra).tolist() == getattr(without, part).tolist()
        assert len(rows) - len(own) == (extra if part == "train" else 0)
    assert got.labelled.sum() == without.labelled.sum()
    assert not got.labelled[(got.train >= first) & (got.train < first + extra)].any()


def test_extra_rows_come_on_top_where_nothing_has_a_label() -> None:
    got = split(source(None, rows=110, extra=10), test=0.2, val=0.1, train=50)
    assert [len(got.train), len(got.val), len(got.test)] == [60, 8, 20]
    assert got.train[-10:].tolist() == list(range(100, 110))


# ---- faults


@pytest.mark.parametrize(
    ("of", "labels", "parts", "says"),
    [
        (
            source(balanced(100)),
            "all",
            {"test": 1001},
            "data.split.test: 1,001 rows asked for, but there are only 1,000",
        ),
        (
            source(balanced(100), balanced(5)),
            "all",
            {"test": 51},
            "data.split.test: 51 rows asked for, but .* only 50",
        ),
        (
            source(balanced(100)),
            "all",
            {"val": 801},
            "data.split.val: 801 rows asked for, but there are only 800",
        ),
        (
            source(balanced(100)),
            "all",
            {"train": 721},
            "data.split.train: 721 rows asked for, but there are only 720",
        ),
        (source(None, rows=100), "all", {"val": 80}, "80 rows for validation leave none for training"),
        (
            source(balanced(100)),
            721,
            {},
            "data.labels: 721 labels asked for, but there are only 720 labelled",
        ),
        (
            source(balanced(100)),
            9,
            {},
            "9 labels asked for, but there are 10 classes and 'c9' would have none",
        ),
        (
            source([0] * 90 + [1] * 5 + [2] * 90),
            2,
            {},
            "2 labels asked for, but there are 3 classes and 'c1' would",
        ),
        (
            source(balanced(100)),
            {"per_class": 73},
            {},
            "per_class: 73 labels of each class asked for, but class 'c0' has only 72",
        ),
        (source(None, rows=100), 10, {}, "data.labels: 10 asked for, but some has no labels"),
        (
            source(None, rows=100),
            {"per_class": 2},
            {},
            "data.labels: 2 per class asked for, but some has no labels",
        ),
        (
            source([0, 2] * 50),
            "all",
            {},
            r"class 'c1' has no labelled row left for training \(0 in test, 0 in val",
        ),
        (
            source([0] * 50 + [1] * 2),
            "all",
            {"test": 0.9},
            r"class 'c1' has no labelled row left for training \(2 in test, 0 in validation\)",
        ),
        (source([0, 1] * 50), "all", {"val": 80}, r"leave none for training"),
        (
            source([0, 1, 2] * 30),
            "all",
            {"train": 1, "val": 1},
            r"class 'c2' has no labelled row left for training \(6 in test, 0 in validation\)",
        ),
        (source([0, 1] * 50, [-1, -1]), "all", {}, "no published test row has a label"),
        (
            source([0, 1] * 50, group=np.arange(100) // 50),
            "all",
            {},
            "of 2 groups none can be spared for data.s",
        ),
        (source([0] * 50 + [1] * 50, group=np.arange(100) // 50), "all", {}, "must leave every class a row"),
        (
            source([0, 1] * 50, [0, 1], group=[*range(100), 5, 7]),
            "all",
            {},
            "2 groups have rows in data.source and",
        ),
        (
            source([0, 1] * 50, order=[3] * 100),
            "all",
            {},
            "all 100 rows for data.split.test have the same time",
        ),
    ],
)
def test_faults_name_the_numbers(of: Source, labels: Any, parts: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        split(of, 0, labels, **parts)
    assert "\n" not in str(caught.value)


def test_a_class_whose_only_label_validates_is_learnt_where_all_labels_are() -> None:
    y = np.array([0] * 30 + [1] + [-1] * 9)
    parts = {"test": 1, "val": 0.9}
    got = split(source(y), **parts)
    assert 1 in y[got.val]
    assert 1 not in y[got.train]
    for words in ({"labels": 2}, {"labels_for_validation": "all"}):
        config = DataConfig.model_validate({"split": parts} | words)
        with pytest.raises(DataError, match="class 'c1' has no labelled row left for training"):
            make_split(source(y), config, 0)


@given(labelled_sources(), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_who_keeps_the_test_rows_gets_two_parts_of_all_rows(of: Source, share: float, seed: int) -> None:
    y = of.labels
    got = hold_out(of, share, seed)
    assert sorted([*got.train, *got.val]) == list(range(len(y)))
    assert len(got.val) == max(1, round(share * len(y)))
    assert (y[got.test] >= 0).all()
    assert got.labelled.tolist() == (y[got.train] >= 0).tolist()


def test_of_rows_too_few_to_spare_any_all_train_and_validate() -> None:
    got = hold_out(source([0, 0, 1, 1]), 0.1, 0)
    assert got.train.tolist() == got.val.tolist() == [0, 1, 2, 3]
