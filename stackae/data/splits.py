"""Splits: which rows train, validate and test, and which training rows keep their label."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig, PerClass
from stackae.data.sources import Source
from stackae.errors import DataError

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_TEST_SHARE = 0.2  # where none is published and none is asked for

# Each part has its own generator, so that a draw does not depend on how many numbers another one took.
_GENERATOR = {"test": 1, "val": 2, "train": 3, "labels": 4}


@dataclass(frozen=True, eq=False)
class Split:
    """Disjoint, sorted row numbers into a source's rows: those of `x` first, then those of `x_test`."""

    train: Ints
    val: Ints
    test: Ints
    labelled: Mask
    """For each row of `train`, whether training may see its label."""

    @property
    def fingerprint(self) -> str:
        """sha256 of the row numbers of the parts; which labels are kept is no part of it."""
        parts = hashlib.sha256()
        for rows in (self.train, self.val, self.test):
            parts.update(f"{len(rows)}:".encode() + rows.astype("<i8").tobytes())
        return parts.hexdigest()


def make_split(source: Source, config: DataConfig, seed: int, repeat: int = 0) -> Split:
    """Divide a source's rows as `config.split` asks, and keep as many labels as `config.labels` asks.

    Test rows are the published ones (or some of them, where `split.test` says how many); with `split.pool`,
    or where none are published, they are drawn from all rows. Validation rows are drawn from the rest,
    training rows from what is left then. Every draw is stratified by class. Validation and test take labelled
    rows only, if there are labels, and a share is a share of those.
    The number of labels touches no part, and the labels kept are among those kept for any number at least
    twice as large; `repeat` draws others. Depends on the seeds (0 to 2^32 - 1), the config and the labels
    alone.
    Raises `DataError` where more is asked for than there is, or a class would have no labelled training row.
    """
    y = _pooled_labels(source)
    usable = y >= 0 if source.y is not None else np.ones(len(y), bool)
    rows = np.arange(len(y), dtype=np.int64)
    published = source.x_test is not None and not config.split.pool

    test = rows[len(source.x) :] if published else rows
    test = test[usable[test]]
    if config.split.test is not None or not published:
        test = _part("test", test, config.split.test or _TEST_SHARE, y, seed)
    elif len(test) == 0:
        raise DataError(
            f"{source.name}: no published test row has a label; set data.split.pool, or add labels"
        )

    rest = np.setdiff1d(rows[: len(source.x)] if published else rows, test)
    val = _part("val", rest[usable[rest]], config.split.val, y, seed)
    train = np.setdiff1d(rest, val)
    if len(train) == 0:
        raise DataError(
            f"data.split: {len(val):,} rows for validation leave none for training; ask for fewer"
        )
    if config.split.train is not None:
        train = _part("train", train, config.split.train, y, seed)
    if source.y is not None:
        _check_every_class(source, y, train, val, test)
    return Split(train, val, test, _keep_labels(source, y[train], config, seed, repeat))


def allocate(total: int, sizes: Ints, least: int = 0) -> Ints:
    """Divide `total` rows among classes in proportion to their `sizes`, by largest remainder.

    Ties go to the class that comes first. A class with a part below `least` gets `least`, the others divide
    what remains in proportion.
    Needs `least * len(sizes) <= total <= sizes.sum()` and `least <= sizes`. Returns rows per class.
    """
    shares = np.full(len(sizes), least, np.int64)
    free = np.ones(len(sizes), bool)
    left = total
    while np.any(below := free & (left * sizes < least * sizes[free].sum())):
        free &= ~below
        left = total - least * int(np.sum(~free))
    shares[free], remainders = np.divmod(left * sizes[free], sizes[free].sum())
    short = left - int(shares[free].sum())
    shares[np.flatnonzero(free)[np.argsort(-remainders, kind="stable")[:short]]] += 1
    return shares


def _pooled_labels(source: Source) -> Ints:
    if source.y is None:
        return np.full(len(source.x) + (0 if source.x_test is None else len(source.x_test)), -1, np.int64)
    return source.y if source.y_test is None else np.concatenate([source.y, source.y_test])


def _part(part: str, rows: Ints, wanted: int | float, y: Ints, seed: int) -> Ints:
    """`wanted` of `rows`, a number or a share of them (then at least one), stratified by `y`."""
    size = wanted if isinstance(wanted, int) else max(1, round(wanted * len(rows)))
    if size > len(rows):
        raise DataError(
            f"data.split.{part}: {wanted:,} rows asked for, but there are only {len(rows):,} to draw from; "
            "ask for fewer, here or in the parts drawn before (test, then val)"
        )
    _, stratum, sizes = np.unique(y[rows], return_inverse=True, return_counts=True)
    # training needs every class; test and validation must not take the last row of a rare one
    least = 1 if part == "train" and size >= len(sizes) else 0
    return rows[_first_of_each(stratum, allocate(size, sizes, least), seed, part)]


def _first_of_each(stratum: Ints, shares: Ints, seed: int, part: str, repeat: int = 0) -> Mask:
    """The first `shares[s]` rows of each stratum `s`, in an order that depends on seed and part only."""
    order = np.random.default_rng([seed, _GENERATOR[part], *([repeat] if repeat else [])]).permutation(
        len(stratum)
    )
    grouped = order[np.argsort(stratum[order], kind="stable")]
    sizes = np.bincount(stratum, minlength=len(shares))
    rank = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    taken = np.zeros(len(stratum), bool)
    taken[grouped] = rank < np.repeat(shares, sizes)
    return taken


def _check_every_class(source: Source, y: Ints, train: Ints, val: Ints, test: Ints) -> None:
    n = len(source.classes)
    in_train, in_val, in_test = (np.bincount(y[r][y[r] >= 0], minlength=n) for r in (train, val, test))
    if in_train.all():
        return
    absent = int(np.argmin(in_train))
    raise DataError(
        f"{source.name}: class '{source.classes[absent]}' has no labelled row left for training "
        f"({in_test[absent]:,} in test, {in_val[absent]:,} in validation); ask for smaller parts there, "
        "or more training rows, or leave the class out"
    )


def _keep_labels(source: Source, y: Ints, config: DataConfig, seed: int, repeat: int) -> Mask:
    """Which of the training rows, labelled `y`, keep their label."""
    wanted = config.labels
    if wanted == "all":
        return y >= 0
    if source.y is None:
        asked = f"{wanted.per_class} per class" if isinstance(wanted, PerClass) else f"{wanted:,}"
        raise DataError(
            f"data.labels: {asked} asked for, but {source.name} has no labels; add them, or say labels: all"
        )
    kept = np.zeros(len(y), bool)
    kept[y >= 0] = _first_of_each(
        y[y >= 0], _labels_per_class(source, np.bincount(y[y >= 0]), wanted), seed, "labels", repeat
    )
    return kept


def _labels_per_class(source: Source, sizes: Ints, wanted: int | PerClass) -> Ints:
    if isinstance(wanted, PerClass):
        rarest = int(np.argmin(sizes))
        if wanted.per_class > sizes[rarest]:
            raise DataError(
                f"data.labels.per_class: {wanted.per_class:,} labels of each class asked for, but class "
                f"'{source.classes[rarest]}' has only {sizes[rarest]:,} labelled training rows; ask for fewer"
            )
        return np.full(len(sizes), wanted.per_class, np.int64)
    if wanted > sizes.sum():
        raise DataError(
            f"data.labels: {wanted:,} labels asked for, but there are only {sizes.sum():,} labelled training "
            "rows; ask for fewer, or say labels: all"
        )
    if wanted < len(sizes):
        without = source.classes[int(np.argmin(allocate(wanted, sizes)))]
        raise DataError(
            f"data.labels: {wanted:,} labels asked for, but there are {len(sizes)} classes and '{without}' "
            f"would have none; ask for at least {len(sizes)}"
        )
    return allocate(wanted, sizes, least=1)
