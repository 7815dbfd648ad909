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

# Each draw has its own generator, so that it does not depend on how many numbers another one took.
_GENERATOR = {
    "data.split.test": 1,
    "data.split.val": 2,
    "data.split.train": 3,
    "data.labels": 4,
    "data.labels_for_validation": 5,
    "finetune.validation": 6,
}


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
    The test takes labelled rows only, if there are labels, and a share of it is a share of those.

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
        size = config.split.test or _TEST_SHARE
        test = take("data.split.test", test, size, source, seed, leave=groups_left)
    elif len(test) == 0:
        raise DataError(
            f"{source.name}: no published test row has a label; set data.split.pool, or add labels"
        )

    rest = _apart(source, rows, test, published=published)
    val = take("data.split.val", rest, config.split.val, source, seed, leave=1)
    train = _apart(source, rest, val)
    if len(train) == 0:
        raise DataError(
            f"data.split: {len(val):,} rows for validation leave none for training; ask for fewer"
        )
    if config.split.train is not None:
        train = draw("data.split.train", train, config.split.train, y, seed)
    if source.y is not None:
        # Where all labels may be used, those of validation rows are learnt from as well.
        both = config.labels == "all" and not config.labels_for_validation
        learnt = np.concatenate([train, val]) if both else train
        _check_every_class(source, y, learnt, val, test)
    if source.group is not None:
        extra = extra[~np.isin(source.group[extra], source.group[np.concatenate([val, test])])]
    train = np.sort(np.concatenate([train, extra]))
    return Split(train, val, test, _keep_labels(source, y[train], config, seed, repeat))


def hold_out(source: Source, share: float, seed: int) -> Split:
    """Divide rows into training and validation alone, for those who keep their test rows to themselves.

    A share of all rows validates, stratified by class; where that is less than a row, all rows train and
    validate. The test part is made of rows that are in another part too, with a label if there are any.
    """
    y, rows = source.labels, np.arange(len(source.labels), dtype=np.int64)
    val = draw("data.split.val", rows, share, y, seed)
    train = np.setdiff1d(rows, val)
    if share * len(rows) < 1 or len(train) == 0:
        train, val = rows, rows
    labelled = val[y[val] >= 0]
    test = val if source.y is None else labelled if len(labelled) else rows[y >= 0]
    return Split(train, val, test, y[train] >= 0)


def take(
    setting: str, rows: Ints, size: int | float, source: Source, seed: int, *, leave: int, repeat: int = 0
) -> Ints:
    """Take `size` of `rows`, a number or a share of them, in the way that the source's rows ask for.

    Whole groups, of which at least `leave` are left; the last ones by time; or rows drawn at random,
    stratified by class. `setting` asks for them. DataError where there are none to take.
    """
    if source.group is not None:
        return _whole_groups(setting, rows, size, source.group, source.labels, seed, leave, repeat)
    if source.order is not None:
        return _last(setting, rows, size, source.order)
    return draw(setting, rows, size, source.labels, seed, repeat)


def draw(setting: str, rows: Ints, size: int | float, y: Ints, seed: int, repeat: int = 0) -> Ints:
    """Draw `size` of `rows`, a number or a share of them, stratified by `y`; `setting` asks for them."""
    count = _count(setting, rows, size)
    _, stratum, sizes = np.unique(y[rows], return_inverse=True, return_counts=True)
    # training needs every class; test and validation must not take the last row of a rare one
    least = 1 if setting == "data.split.train" and count >= len(sizes) else 0
    return rows[_first_of_each(stratum, allocate(count, sizes, least), seed, setting, repeat)]


def generator(setting: str, seed: int, repeat: int) -> np.random.Generator:
    """Return the generator of what a setting draws in one of the repetitions."""
    return np.random.default_rng([seed, _GENERATOR[setting], *([repeat] if repeat else [])])


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


def _count(setting: str, rows: Ints, size: int | float) -> int:
    """Return how many of `rows` a part takes: a number, or a share of them, but at least one."""
    count = size if isinstance(size, int) else max(1, round(size * len(rows)))
    if count > len(rows):
        raise DataError(
            f"{setting}: {size:,} rows asked for, but there are only {len(rows):,} to draw from; "
            "ask for fewer, here or in the parts drawn before (test, then val)"
        )
    return count


def _whole_groups(
    setting: str,
    rows: Ints,
    size: int | float,
    group: Ints,
    y: Ints,
    seed: int,
    leave: int,
    repeat: int,
) -> Ints:
    """Draw whole groups at random, with nearly as many rows of each class as if rows were drawn."""
    count = _count(setting, rows, size)
    if count == len(rows):
        return rows
    _, stratum, sizes = np.unique(y[rows], return_inverse=True, return_counts=True)
    names, index = np.unique(group[rows], return_inverse=True)
    counts = np.bincount(index * len(sizes) + stratum, minlength=len(names) * len(sizes))
    order = generator(setting, seed, repeat).permutation(len(names))
    chosen = choose_groups(counts.reshape(len(names), -1), allocate(count, sizes), order, leave)
    if not chosen.any():
        raise DataError(
            f"data.group: of {len(names)} groups none can be spared for {setting}, since at least "
            f"{leave} must be left and each must leave every class a row; use finer groups, or none"
        )
    chosen_rows: Ints = rows[chosen[index]]
    return chosen_rows


def _last(setting: str, rows: Ints, size: int | float, order: npt.NDArray[np.float64]) -> Ints:
    """Take the last rows by time, as near to `size` as rows of the same time allow."""
    count = _count(setting, rows, size)
    times, counts = np.unique(order[rows], return_counts=True)
    if count == len(rows):
        return rows
    if len(times) == 1:
        raise DataError(
            f"data.order: all {len(rows):,} rows for {setting} have the same time; "
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


def _first_of_each(stratum: Ints, shares: Ints, seed: int, setting: str, repeat: int = 0) -> Mask:
    """Mark the first `shares[s]` rows of each stratum `s`, in an order that depends on the seeds alone."""
    order = generator(setting, seed, repeat).permutation(len(stratum))
    grouped = order[np.argsort(stratum[order], kind="stable")]
    sizes = np.bincount(stratum, minlength=len(shares))
    rank = np.arange(len(stratum)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    first = np.zeros(len(stratum), bool)
    first[grouped] = rank < np.repeat(shares, sizes)
    return first


def _check_every_class(source: Source, y: Ints, learnt: Ints, val: Ints, test: Ints) -> None:
    classes = len(source.classes)
    in_learnt, in_val, in_test = (
        np.bincount(y[rows][y[rows] >= 0], minlength=classes) for rows in (learnt, val, test)
    )
    if in_learnt.all():
        return
    absent = int(np.argmin(in_learnt))
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
        y[y >= 0], _labels_per_class(source, np.bincount(y[y >= 0]), labels), seed, "data.labels", repeat
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
