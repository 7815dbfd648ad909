"""What labels are used for: what `auto` takes, what folds and held-out rows may share, and faults."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackae.config import Config
from stackae.data.label_use import LabelUse, in_words, use_labels
from stackae.data.rows import ArrayRows
from stackae.data.source import Source
from stackae.data.splits import Split, hold_out, make_split
from stackae.errors import ConfigError, DataError


def source(y: Any, group: Any = None, order: Any = None) -> Source:
    def unread(train: np.ndarray) -> Any:
        raise AssertionError("what labels are used for does not depend on the rows")

    y = np.asarray(y, np.int64)
    group = None if group is None else np.asarray(group, np.int64)
    order = None if order is None else np.asarray(order, np.float64)
    classes = tuple(f"c{c}" for c in range(int(y.max()) + 1))
    x = ArrayRows(np.zeros((len(y), 1), np.float32))
    return Source("some", x, y, None, None, classes, "0" * 64, unread, 0, group, order)


def used(
    of: Source, validation: Any = "auto", *, seed: int = 0, repeat: int = 0, **data: Any
) -> tuple[LabelUse, np.ndarray, Split]:
    """What labels are used for, the numbers of the rows that it is about, and their split."""
    described = {"data": data, "layers": [{"width": 2}], "seed": seed, "repeat": repeat}
    config = Config.model_validate(described | {"finetune": {"validation": validation}})
    split = make_split(of, config.data, seed, repeat)
    return use_labels(of, split, config), np.concatenate([split.train, split.val]), split


def blank(y: np.ndarray, keep: int) -> np.ndarray:
    """The same with `keep` labels of each class, and no others."""
    kept = np.full(len(y), -1)
    for label in np.unique(y):
        kept[np.flatnonzero(y == label)[:keep]] = label
    return kept


# ---- what is taken by number


@pytest.mark.parametrize(
    ("per_class", "folds"),
    [(1, 0), (2, 2), (5, 5), (8, 5), (50, 5), (99, 5)],
)
def test_few_labels_are_folded_as_far_as_the_smallest_class_goes(per_class: int, folds: int) -> None:
    of = source(np.arange(4000) % 10)
    use, _, _ = used(of, labels={"per_class": per_class})
    assert (use.folds, use.hold_out) == (folds, None)
    assert use.counts["labelled"] == 10 * per_class
    assert not use.refit


def test_from_a_thousand_labels_on_a_part_is_held_out() -> None:
    of = source(np.arange(4000) % 10)
    assert used(of, labels=999)[0].folds == 5
    use, rows, split = used(of, labels=1000)
    assert use.folds == 0
    # The labels are all there are: those of the validation rows are not looked at.
    assert use.counts == {"labelled": 1000, "folds": 0, "held_out": 100, "labels_for_validation": 0}
    assert use.refit
    assert not np.isin(rows[use.learn], split.val).any()


def test_of_all_labels_those_of_the_validation_rows_are_held_out_and_learnt_from_in_the_end() -> None:
    of = source(np.arange(4000) % 10)
    use, rows, split = used(of)
    assert use.learn.all()
    assert use.hold_out is not None
    assert rows[use.hold_out].tolist() == split.val.tolist()
    assert rows[use.first].tolist() == split.train.tolist()
    assert use.refit


@given(st.integers(2, 12), st.integers(2, 4), st.integers(0, 2**32 - 1), st.floats(0.05, 0.5))
def test_of_a_table_with_blank_labels_every_labelled_row_is_learnt_from(
    keep: int, classes: int, seed: int, val: float
) -> None:
    y = blank(np.arange(300) % classes, keep + 3)
    of = source(y)
    use, rows, split = used(of, seed=seed, split={"test": 3 * classes, "val": val})
    labelled = np.setdiff1d(np.flatnonzero(y >= 0), split.test)
    assert sorted(rows[use.learn]) == labelled.tolist()
    # Those that validate in pretraining are drawn from all rows, of which most have no label.
    assert len(split.val) == max(1, round(val * (300 - 3 * classes)))
    assert use.fold is not None
    assert use.folds == min(5, np.bincount(y[labelled]).min())
    assert ((use.fold >= 0) == use.learn).all()
    for number in range(use.folds):
        # Stratified: a class's parts differ by a row at most.
        sizes = np.bincount(y[labelled], minlength=classes) / use.folds
        found = np.bincount(y[rows[use.fold == number]], minlength=classes)
        assert (np.abs(found - sizes) <= 1).all()
        assert found.sum() > 0


def test_another_repetition_folds_otherwise_and_the_same_one_alike() -> None:
    of = source(np.arange(600) % 3)

    def drawn(repeat: int, validation: Any = "auto") -> list[Any]:
        use, _, _ = used(of, validation, repeat=repeat)
        return [None if part is None else part.tolist() for part in (use.fold, use.hold_out)]

    for validation in ("auto", {"share": 0.3}):
        assert drawn(0, validation) == drawn(0, validation)
        assert drawn(0, validation) != drawn(1, validation)


# ---- what is asked for


@pytest.mark.parametrize("labels", ["all", 60])
def test_folds_that_are_asked_for_are_taken_whatever_the_number(labels: Any) -> None:
    use, rows, _ = used(source(np.arange(4000) % 3), {"folds": 5}, labels=labels)
    assert use.folds == 5
    assert use.learn.sum() == (60 if labels == 60 else len(rows))
    assert use.counts["folds"] == 5


def test_a_share_is_held_out_and_learnt_from_in_the_end() -> None:
    use, _, _ = used(source(np.arange(600) % 3), {"share": 0.25}, labels=80)
    assert use.counts == {"labelled": 80, "folds": 0, "held_out": 20, "labels_for_validation": 0}
    assert use.refit
    assert not (use.first & use.validates).any()
    assert ((use.first | use.validates) == use.learn).all()


def test_none_learns_from_all_and_judges_by_none() -> None:
    use, _, _ = used(source(np.arange(600) % 3), "none", labels=80)
    assert use.counts == {"labelled": 80, "folds": 0, "held_out": 0, "labels_for_validation": 0}
    assert (use.first == use.learn).all()


@pytest.mark.parametrize(("count", "found"), [("all", 54), (54, 54), (9, 9)])
def test_further_labels_validate_and_are_not_learnt_from(count: Any, found: int) -> None:
    of = source(np.arange(675) % 3)
    use, rows, split = used(of, labels=30, labels_for_validation=count)
    assert use.counts == {"labelled": 30, "folds": 0, "held_out": 0, "labels_for_validation": found}
    assert not use.refit
    judges = rows[use.validates]
    assert np.isin(judges, split.val).all()
    assert np.bincount(of.labels[judges]).tolist() == [found // 3] * 3
    # Nor are those of all labels, where so much is said.
    everything, rows, split = used(of, labels_for_validation=count)
    assert rows[everything.learn].tolist() == split.train.tolist()


def test_further_labels_are_those_that_there_are() -> None:
    y = np.where(np.arange(900) % 2 == 0, np.arange(900) % 3, -1)
    use, rows, split = used(source(y), labels=30, labels_for_validation="all", split={"test": 30})
    assert rows[use.validates].tolist() == [row for row in split.val if y[row] >= 0]
    assert 0 < use.validates.sum() < len(split.val)


# ---- groups and order


def test_groups_stay_together_in_folds_and_held_out() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 40, 800)
    of = source(rng.integers(0, 3, 800), group=group)
    use, rows, _ = used(of)
    assert use.fold is not None
    assert use.folds == 5
    for each in np.unique(group[rows]):
        assert len(set(use.fold[group[rows] == each])) == 1
    use, rows, _ = used(of, {"share": 0.2})
    assert 0.1 < use.validates.sum() / use.learn.sum() < 0.3
    assert not set(group[rows[use.validates]]) & set(group[rows[use.first]])


def test_of_few_groups_there_are_few_folds_and_of_one_group_of_a_class_none() -> None:
    y = np.arange(240) % 2
    use, _, _ = used(source(y, group=np.arange(240) // 48))  # one of five is the test, one validates
    assert use.folds == 4
    alone = np.where(y == 1, 0, 1 + np.arange(240) % 7)
    table = source(y, group=alone)
    config = Config.model_validate({"layers": [{"width": 2}]})
    everything = Split(np.arange(200), np.arange(200, 240), np.arange(0), np.ones(200, bool))
    use = use_labels(table, everything, config)
    assert use.counts == {"labelled": 240, "folds": 0, "held_out": 0, "labels_for_validation": 0}


def test_no_network_is_left_without_a_class_by_its_fold() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        group = rng.integers(0, rng.integers(3, 12), 120)
        y = np.where(rng.random(120) < 0.9, 0, 1 + group % 2)
        use = use_labels(
            source(y, group=group),
            Split(np.arange(100), np.arange(100, 120), np.arange(0), np.ones(100, bool)),
            Config.model_validate({"layers": [{"width": 2}]}),
        )
        for number in range(use.folds):
            assert use.fold is not None
            assert (use.fold == number).any()
            assert set(y[use.fold != number]) == set(y)


def test_where_rows_have_an_order_the_last_are_held_out_and_none_of_few() -> None:
    time = np.random.default_rng(0).permutation(4000)
    of = source(np.arange(4000) % 3, order=time)
    use, rows, split = used(of)
    assert rows[use.validates].tolist() == split.val.tolist()
    use, rows, _ = used(of, {"share": 0.2}, labels=100)
    assert use.validates.sum() == 20
    assert time[rows[use.first]].max() < time[rows[use.validates]].min()
    use, _, _ = used(of, labels=100)
    assert use.counts == {"labelled": 100, "folds": 0, "held_out": 0, "labels_for_validation": 0}


def test_many_labels_of_which_nothing_can_be_held_out_are_all_learnt_from() -> None:
    y = np.arange(1500) % 2
    config = Config.model_validate({"data": {"labels": 1200}, "layers": [{"width": 2}]})
    split = Split(np.arange(1300), np.arange(1300, 1500), np.arange(0), np.arange(1300) < 1200)
    use = use_labels(source(y, group=np.zeros(1500)), split, config)
    assert use.counts == {"labelled": 1200, "folds": 0, "held_out": 0, "labels_for_validation": 0}


# ---- rows so few that all of them train and validate


def test_a_row_that_trains_and_validates_counts_once() -> None:
    of = source([0, 0, 1, 1])
    use = use_labels(of, hold_out(of, 0.1, 0), Config.model_validate({"layers": [{"width": 2}]}))
    assert use.counts == {"labelled": 4, "folds": 2, "held_out": 0, "labels_for_validation": 0}
    assert use.learn.tolist() == [True] * 4 + [False] * 4


# ---- faults


@pytest.mark.parametrize(
    ("validation", "data", "says"),
    [
        (
            {"folds": 9},
            {"labels": {"per_class": 5}},
            "9 folds of labelled rows .* a class has only 5; ask for",
        ),
        ({"share": 0.999}, {"labels": 30}, "a share of 0.999 leaves none of 30 labelled rows to learn from"),
        (
            "auto",
            {"labels_for_validation": 99},
            "data.labels_for_validation: 99 rows asked for, but .* only 48",
        ),
    ],
)
def test_faults_name_the_numbers_and_the_remedy(validation: Any, data: dict[str, Any], says: str) -> None:
    with pytest.raises((ConfigError, DataError), match=says) as caught:
        used(source(np.arange(600) % 3), validation, **data)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_faults_of_groups_and_order() -> None:
    y = np.arange(300) % 2
    with pytest.raises(ConfigError, match=r"folds asked for, but rows have an order.*share"):
        used(source(y, order=np.arange(300)), {"folds": 3})
    with pytest.raises(ConfigError, match=r"5 folds .* a class has only 4, or too few groups; ask for fewer"):
        used(source(y, group=np.arange(300) // 60), {"folds": 5})
    unlabelled = np.where(np.arange(300) < 240, -1, y)
    unlabelled[:20] = y[:20]
    with pytest.raises(ConfigError, match="all asked for, but no validation row has a label; leave it out"):
        used(
            source(unlabelled, order=np.arange(300)),
            labels_for_validation="all",
            split={"test": 60, "val": 40},
        )


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"labelled": 100, "folds": 8}, "100 labels to learn from, in 8 folds"),
        ({"labelled": 1438, "held_out": 144}, "1,438 labels to learn from, 144 of them first held out"),
        ({"labelled": 9, "labels_for_validation": 5}, "9 labels to learn from, 5 others validate"),
        ({"labelled": 7}, "7 labels to learn from"),
    ],
)
def test_what_labels_are_used_for_in_words(counts: dict[str, int], words: str) -> None:
    assert in_words(counts) == words
