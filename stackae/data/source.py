"""A source: examples and their labels as they were published, put together from what files hold."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig
from stackae.data.labels import Labels
from stackae.data.preprocessing.scaling import Scaling, fit_scaling
from stackae.data.rows import Joined, Rows

if TYPE_CHECKING:
    from hashlib import _Hash

    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.tables.columns import Column

Ints = npt.NDArray[np.int64]
Fit = Callable[[Ints], "Preprocessing"]
"""Fits a preprocessing to rows by their numbers, which ascend."""

SAMPLE = 200_000
"""The most rows to which a preprocessing is fitted; fewer where they have more than 100 values."""


@dataclass(frozen=True, eq=False)
class Source:
    """Examples and their labels as they were published, before any split.

    Rows are numbered: those of `rows` first, then those of `test`.
    """

    name: str
    rows: Rows
    """Training rows, or all rows; the last `extra` ones are for pretraining alone and have no label."""
    y: Labels | None
    """Class of each of `rows`, -1 where it has no label; None where none has one."""
    test: Rows | None
    """Published test rows; None where none are published."""
    y_test: Labels | None
    classes: tuple[str, ...]
    """The classes' names by number; empty where there are no labels."""
    fingerprint: str
    """sha256 of all that the numbers depend on: the content, and how it is read and scaled."""
    preprocessing: Fit
    extra: int = 0
    group: Ints | None = None
    """The number of each row's group, of all rows; rows of a group belong together."""
    order: npt.NDArray[np.float64] | None = None
    """The time of each of all rows, later ones greater."""
    columns: tuple[Column, ...] | None = None
    """A table's columns but target, group and order; None where the source is no table."""
    remarks: tuple[str, ...] = ()
    """What a person should know of how the rows were read, a line each, to be told once."""
    weight: npt.NDArray[np.float64] | None = None
    """How much each of all rows counts in fine-tuning, beside the others; None where all count alike. It is
    no part of the fingerprint, as pretraining knows nothing of it."""

    @property
    def sizes(self) -> str:
        """The number of rows, in words."""
        extra = f", {len(self.test):,} for the test" if self.test is not None else ""
        return f"{len(self.rows):,} rows{extra}"

    @property
    def all(self) -> Rows:
        """`rows` and `test`, one after the other."""
        return self.rows if self.test is None else Joined([self.rows, self.test])

    @property
    def labels(self) -> Labels:
        """Class of all rows, -1 where a row has none."""
        y = np.full(len(self.all), -1, np.int64)
        for labels, start in ((self.y, 0), (self.y_test, len(self.rows))):
            if labels is not None:
                y[start : start + len(labels)] = labels
        return y


@dataclass(frozen=True, eq=False)
class Part:
    """Rows that are published together, and what is known of each.

    `hash` adds their content, in a role such as `x_test`, to a digest. Groups are strings, or None.
    """

    rows: Rows
    hash: Callable[[str, _Hash], object]
    group: npt.NDArray[Any] | None = None
    order: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Parts:
    """A source's main rows, published test rows, and rows for pretraining alone."""

    main: Part
    test: Part | None
    extra: Part | None

    @property
    def rows(self) -> Rows:
        """The rows to learn from, the extra ones last."""
        return self.main.rows if self.extra is None else Joined([self.main.rows, self.extra.rows])

    @property
    def in_order(self) -> list[Part]:
        """The parts in the order in which their rows are numbered."""
        return [part for part in (self.main, self.extra, self.test) if part is not None]

    @property
    def all(self) -> Rows:
        """All rows, in the order of their numbers."""
        return Joined([part.rows for part in self.in_order])


def assemble(
    name: str,
    parts: Parts,
    y: Labels | None,
    y_test: Labels | None,
    classes: tuple[str, ...],
    *,
    settings: str,
    fit: Fit,
    columns: tuple[Column, ...] | None = None,
    remarks: tuple[str, ...] = (),
) -> Source:
    """Make the source of these parts; `settings` says how they are read and scaled, for the fingerprint."""
    digest = hashlib.sha256(settings.encode())
    for role, labelled, part, labels in (
        ("x", "y", parts.main, y),
        ("x_test", "y_test", parts.test, y_test),
        ("extra", "", parts.extra, None),
    ):
        if part is not None:
            part.hash(role, digest)
        if labels is not None:
            # One byte order on every machine, so that the same content has the same fingerprint.
            content = np.ascontiguousarray(labels, dtype="<i8")
            digest.update(f"{labelled} {content.dtype.str} {content.shape}\n".encode())
            digest.update(content.data)
    extra = 0 if parts.extra is None else len(parts.extra.rows)
    return Source(
        name,
        parts.rows,
        y if y is None else np.append(y, np.full(extra, -1, np.int64)),
        None if parts.test is None else parts.test.rows,
        y_test,
        classes,
        digest.hexdigest(),
        fit,
        extra,
        _groups(parts),
        _order(parts),
        columns,
        remarks,
    )


def fit_as_asked(
    config: DataConfig, parts: Parts, shape: tuple[int, ...], plain: Callable[[], Scaling]
) -> Fit:
    """Return the function that fits `config.scaling` to numbers (rows, *shape), or `plain` without it."""

    def fit(train: Ints) -> Preprocessing:
        if config.scaling in (None, "none"):
            return plain()
        rows = parts.all.take(sample(train, shape))
        assert isinstance(rows, np.ndarray)
        return fit_scaling(rows, str(config.scaling))

    return fit


def scaling_text(config: DataConfig) -> str:
    """Return the fingerprint's line on how numbers are scaled, beside the factor; empty if they are not."""
    return "" if config.scaling in (None, "none") else f"scaling {config.scaling}\n"


def sample(train: Ints, shape: tuple[int, ...]) -> Ints:
    """Draw at most SAMPLE of rows of a shape, ascending: the same ones whenever the rows are the same."""
    limit = min(SAMPLE, 100 * SAMPLE // math.prod(shape))
    if len(train) <= limit:
        return train
    return np.sort(np.random.default_rng(0).choice(train, limit, replace=False))


def _groups(parts: Parts) -> Ints | None:
    """Number each row's group; -1 where extra rows have none."""
    if parts.main.group is None:
        return None
    import pandas as pd

    names = [np.full(len(part.rows), None) if part.group is None else part.group for part in parts.in_order]
    codes, _ = pd.factorize(np.concatenate(names))
    groups: Ints = codes.astype(np.int64)
    return groups


def _order(parts: Parts) -> npt.NDArray[np.float64] | None:
    """Return when each row was; NaN where extra rows do not say."""
    if parts.main.order is None:
        return None
    return np.concatenate(
        [np.full(len(part.rows), np.nan) if part.order is None else part.order for part in parts.in_order]
    )
