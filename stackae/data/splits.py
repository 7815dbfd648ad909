"""Splits: which rows train, validate and test, and which training rows keep their label."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig, PerClass
from stackae.data.group_split import choose_groups
from stackae.data.source import Source
from stackae.errors import DataError

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TEST_SHARE = 0.2  # where none is published and none is asked for

# Each part has its own generator, so that a draw does not depend on how many numbers another part took.
_GENERATOR = {"test": 1, "val": 2, "train": 3, "labels": 4}


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint, sorted row numbers into a source's rows: those of `rows` first, then those of `test`."""

    train: Ints
    val: Ints
    test: Ints
    labelled: Mask
    """A mask over the rows of `train`: those whose label training may see."""

    @property
    def parts(self) -> dict[str, Ints]:
        """The row numbers of each part, by its name."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def fingerprint(self) -> str:
        """sha256 of the row numbers of the parts; which labels are kept is no part of it."""
        parts = hashlib.sha256()
        for rows in self.parts.values():
            parts.update(f"{len(rows)}:".encode() + rows.astype("<i8").tobytes())
        return parts.hexdigest()


def make_split(source: Source, config: DataConfig, seed: int, repeat: int = 0) -> Split:
    """Divide a source's rows as `config.split` asks, and keep as many labels as `config.labels` asks.

    Test rows are the published ones (or some of them, where `split.test` says how many); with `split.pool`,
    or where none are published, they are taken from all rows. Validation rows are taken from the rest, and
    training rows are what is left then, or some of it; the source's extra rows come on top of them.
    Validation and test take labelled rows only, if there are labels, and a share is a share of those.

    They are taken at random, stratified by class. If the source has groups, whole groups are taken, as near
    to that as they allow, and no group is in two parts. If it has an order, the last rows are the test and
    those before them validate; rows of the same time stay together.

    The number of labels touches no part, and the labels kept are among those kept for any number at least
    twice as large; `repeat` draws others. Depends on the seeds (0 to 2^32 - 1), the config, the labels,
    groups and order alone.
    Raises `DataError` where more is asked for than there is, or a class would have no labelled training row.
    """
    y = source.labels
    usable = y >= 0 if source.y is not None else np.ones(len(y), bool)
    all_rows, first_test = np.arange(len(y), dtype=np.int64), len(source.rows)
    extra = all_rows[first_test - source.extra : first_test]
    published = source.test is not None and not config.split.pool
    rows = np.setdiff1d(all_rows[:first_test] if published else all_rows, extra)

    test = all_rows[first_test:] if published else rows
    test = test[usable[test]]
    if config.split.test is not None or not published:
        groups_left = 0 if published else 2
        test = _part("test", test, config.split.test or _TEST_SHARE, source, y, seed, groups_left)
    elif len(test) == 0:
        raise DataError(
            f"{source.name}: no published test row has a label; set data.split.pool, or add labels"
        )

    rest = _apart(source, rows, test, published=published)
    val = _part("val", rest[usable[rest]], config.split.val, source, y, seed, leave=1)
    train = _apart(source, rest, val)
    if len(train) == 0:
        raise DataError(
            f"data.split: {len(val):,} rows for validation leave none for training; ask for fewer"
        )
    if config.split.train is not None:
        train = _drawn("train", train, config.split.train, y, seed)
    if source.y is not None:
        _check_every_class(source, y, train, val, test)
    if source.group is not None:
        extra = extra[~np.isin(source.group[extra], source.group[np.concatenate([val, test])])]
    train = np.sort(np.concatenate([train, extra]))
    return Split(train, val, test, _keep_labels(source, y[train], config, seed, repeat))


def hold_out(source: Source, share: float, seed: int) -> Split:
    """Divide rows into training and validation alone, for those who keep their test rows to themselves.

    A share of the labelled rows, or of all where there are no labels, validates, stratified by class; they
    are the test part as well. Where that is less than a row per class, or leaves a class none to train on,
    all rows train and validate.
    """
    y, rows = source.labels, np.arange(len(source.labels), dtype=np.int64)
    usable = rows if source.y is None else rows[y >= 0]
    classes = max(1, len(source.classes))
    val = _drawn("val", usable, share, y, seed)
    train = np.setdiff1d(rows, val)
    enough = len(train) > 0 and (source.y is None or len(np.unique(y[train][y[train] >= 0])) == classes)
    if share * len(usable) < classes or not enough:
        train, val = rows, usable
    return Split(train, val, val, y[train] >= 0)


def allocate(total: int, sizes: Ints, least: int = 0) -> Ints:
    """Divide `total` rows among classes in proportion to their `sizes`, by largest remainder.

    Ties go to the class that comes first. A class with a part below `least` gets `least`, the others divide
    what remains in proportion.
    Needs `least * len(sizes) <= total <= sizes.sum()` and `least <= sizes`. Returns rows per class.
    """
    shares = np.full(len(sizes), least, np.int64)
    unsettled = np.ones(len(sizes), bool)
    remaining = total
    while np.any(below := unsettled & (remaining * sizes < least * sizes[unsettled].sum())):
        unsettled &= ~below
        remaining = total - least * int(np.sum(~unsettled))
    shares[unsettled], remainders = np.divmod(remaining * sizes[unsettled], sizes[unsettled].sum())
    short = remaining - int(shares[unsettled].sum())
    shares[np.flatnonzero(unsettled)[np.argsort(-remainders, kind="stable")[:short]]] += 1
    return shares


def _part(part: str, rows: Ints, size: int | float, source: Source, y: Ints, seed: int, leave: int) -> Ints:
    """Take `size` of `rows`, a number or a share of them, in the way that the source's rows ask for.

    Of groups at least `leave` are left.
    """
    if source.group is not None:
        return _whole_groups(part, rows, size, source.group, y, seed, leave)
    if source.order is not None:
        return _last(part, rows, size, source.order)
    return _drawn(part, rows, size, y, seed)


def _count(part: str, rows: Ints, size: int | float) -> int:
    """Return how many of `rows` a part takes: a number, or a share of them, but at least one."""
    count = size if isinstance(size, int) else max(1, round(size * len(rows)))
    if count > len(rows):
        raise DataError(
            f"data.split.{part}: {size:,} rows asked for, but there are only {len(rows):,} to draw from; "
            "ask for fewer, here or in the parts drawn before (test, then val)"
        )
    return count


def _drawn(part: str, rows: Ints, size: int | float, y: Ints, seed: int) -> Ints:
    """Draw rows at random, stratified by `y`."""
    count = _count(part, rows, size)
    _, stratum, sizes = np.unique(y[rows], return_inverse=True, return_counts=True)
    # training needs every class; test and validation must not take the last row of a rare one
    least = 1 if part == "train" and count >= len(sizes) else 0
    return rows[_first_of_each(stratum, allocate(count, sizes, least), seed, part)]


def _whole_groups(
    part: str, rows: Ints, size: int | float, group: Ints, y: Ints, seed: int, leave: int
) -> Ints:
    """Draw whole groups at random, with nearly as many rows of each class as if rows were drawn."""
    count = _count(part, rows, size)
    if count == len(rows):
        return rows
    _, stratum, sizes = np.unique(y[rows], return_inverse=True, return_counts=True)
    names, index = np.unique(group[rows], return_inverse=True)
    counts = np.bincount(index * len(sizes) + stratum, minlength=len(names) * len(sizes))
    order = np.random.default_rng([seed, _GENERATOR[part]]).permutation(len(names))
    chosen = choose_groups(counts.reshape(len(names), -1), allocate(count, sizes), order, leave)
    if not chosen.any():
        raise DataError(
            f"data.group: of {len(names)} groups none can be spared for data.split.{part}, since at least "
            f"{leave} must be left and each must leave every class a row; use finer groups, or none"
        )
    chosen_rows: Ints = rows[chosen[index]]
    return chosen_rows


def _last(part: str, rows: Ints, size: int | float, order: npt.NDArray[np.float64]) -> Ints:
    """Take the last rows by time, as near to `size` as rows of the same time allow."""
    count = _count(part, rows, size)
    times, counts = np.unique(order[rows], return_counts=True)
    if count == len(rows):
        return rows
    if len(times) == 1:
        raise DataError(
            f"data.order: all {len(rows):,} rows for data.split.{part} have the same time; "
            "name another column, or remove data.order"
        )
    later = np.cumsum(counts[::-1])[::-1]
    since = times[1:][np.argmin(np.abs(later[1:] - count))]
    last: Ints = rows[order[rows] >= since]
    return last


def _apart(source: Source, rows: Ints, taken: Ints, *, published: bool = False) -> Ints:
    """Return the rows that other parts may have when `taken` is one; a published one takes only itself."""
    if source.group is not None:
        shared = np.isin(source.group[rows], source.group[taken])
        if published and shared.any():
            raise DataError(
                f"data.group: {len(np.unique(source.group[rows[shared]])):,} groups have rows in data.source "
                "and in data.test; take them out of one, or set data.split.pool"
            )
        return rows[~shared]
    if source.order is not None and not published:
        earlier: Ints = rows[source.order[rows] < source.order[taken].min()]
        return earlier
    return np.setdiff1d(rows, taken)


def _first_of_each(stratum: Ints, shares: Ints, seed: int, part: str, repeat: int = 0) -> Mask:
    """Mark the first `shares[s]` rows of each stratum `s`, in an order that depends on seed and part only."""
    order = np.random.default_rng([seed, _GENERATOR[part], *([repeat] if repeat else [])]).permutation(
        len(stratum)
    )
    grouped = order[np.argsort(stratum[order], kind="stable")]
    sizes = np.bincount(stratum, minlength=len(shares))
    rank = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.zeros(len(stratum), bool)
    first[grouped] = rank < np.repeat(shares, sizes)
    return first


def _check_every_class(source: Source, y: Ints, train: Ints, val: Ints, test: Ints) -> None:
    classes = len(source.classes)
    in_train, in_val, in_test = (
        np.bincount(y[rows][y[rows] >= 0], minlength=classes) for rows in (train, val, test)
    )
    if in_train.all():
        return
    absent = int(np.argmin(in_train))
    raise DataError(
        f"{source.name}: class '{source.classes[absent]}' has no labelled row left for training "
        f"({in_test[absent]:,} in test, {in_val[absent]:,} in validation); ask for smaller parts there, "
        "or more training rows, or leave the class out"
    )


def _keep_labels(source: Source, y: Ints, config: DataConfig, seed: int, repeat: int) -> Mask:
    """Choose which of the training rows, labelled `y`, keep their label."""
    labels = config.labels
    if labels == "all":
        return y >= 0
    if source.y is None:
        asked = f"{labels.per_class} per class" if isinstance(labels, PerClass) else f"{labels:,}"
        raise DataError(
            f"data.labels: {asked} asked for, but {source.name} has no labels; add them, or say labels: all"
        )
    kept = np.zeros(len(y), bool)
    kept[y >= 0] = _first_of_each(
        y[y >= 0], _labels_per_class(source, np.bincount(y[y >= 0]), labels), seed, "labels", repeat
    )
    return kept


def _labels_per_class(source: Source, sizes: Ints, labels: int | PerClass) -> Ints:
    if isinstance(labels, PerClass):
        rarest = int(np.argmin(sizes))
        if labels.per_class > sizes[rarest]:
            raise DataError(
                f"data.labels.per_class: {labels.per_class:,} labels of each class asked for, but class "
                f"'{source.classes[rarest]}' has only {sizes[rarest]:,} labelled training rows; ask for fewer"
            )
        return np.full(len(sizes), labels.per_class, np.int64)
    if labels > sizes.sum():
        raise DataError(
            f"data.labels: {labels:,} labels asked for, but there are only {sizes.sum():,} labelled training "
            "rows; ask for fewer, or say labels: all"
        )
    if labels < len(sizes):
        absent = source.classes[int(np.argmin(allocate(labels, sizes)))]
        raise DataError(
            f"data.labels: {labels:,} labels asked for, but there are {len(sizes)} classes and '{absent}' "
            f"would have none; ask for at least {len(sizes)}"
        )
    return allocate(labels, sizes, least=1)
