"""A form of data: how to tell it, read it, guess its settings and describe it, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig
from stackae.data.rows import Rows
from stackae.data.source import Ints, Source

if TYPE_CHECKING:
    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.tables.kept_columns import KeptColumns


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows, and their labels as classes are named: objects, None where a row has none."""

    rows: Rows
    labels: npt.NDArray[Any] | None
    """None where no row has one."""
    row: Callable[[int], str]
    """The name that errors give a row, by its number from 0."""
    place: Callable[[Ints], dict[str, npt.NDArray[Any]]]
    """Tells by rows' numbers from 0 where they stand: a column `file`, below the folder that was given, where
    that is needed, and a column `row`, where a file has several, counted as errors do."""
    kept: KeptColumns | None = None
    """Columns that are to be written beside what is found of the rows; None where none are."""
    remarks: tuple[str, ...] = ()
    """What reading changed in them, a line each; as `Source.remarks`."""


def numbered(
    files: Sequence[str], counts: Sequence[int], first: int
) -> Callable[[Ints], dict[str, npt.NDArray[Any]]]:
    """Return the `place` of rows of files, each with a number of rows, of which the first is called `first`.

    The column `file` is there where there are several.
    """
    ends = np.cumsum(counts)

    def place(rows: Ints) -> dict[str, npt.NDArray[Any]]:
        file = np.searchsorted(ends, rows, side="right")
        row = {"row": rows - (ends - counts)[file] + first}
        return row if len(files) == 1 else {"file": np.array(files)[file]} | row

    return place


@dataclass(frozen=True)
class Guess:
    """Settings of `data` that differ from their defaults, and why, as far as it is not plain."""

    settings: dict[str, Any]
    why: dict[str, str] = field(default_factory=dict)
    likely_target: str | None = None

    def config(self) -> DataConfig:
        """Return the settings as the section `data` of a config."""
        return DataConfig.model_validate(self.settings)


@dataclass(frozen=True)
class Description:
    """A source's content: in words, and for columns a table with a row of cells for each."""

    text: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Form:
    """A form of data; all that stackae knows of it stands in the file that makes it."""

    called: str
    """The phrase for it, as `a table`."""
    endings: tuple[str, ...]
    """The endings of its files' names before any ending of compression; a form of folders alone has none."""
    settings: tuple[str, ...]
    """The settings of `data` that it has and that others may not have."""
    belongs: Callable[[Path], bool]
    """Tells whether a path is of this form."""
    read: Callable[[DataConfig], Source]
    """Reads the source, the test rows and the unlabelled rows that a config names."""
    learnt_by: Callable[[Preprocessing], bool]
    """Tells whether rows of this form fit a run with such a preprocessing."""
    read_new: Callable[[str | Sequence[str], DataConfig, Preprocessing], NewRows]
    """Reads rows for a finished run, by its config and preprocessing."""
    guess: Callable[[str | Sequence[str], dict[str, Any]], Guess]
    """Guesses the settings with which a path is to be read, given those that are known."""
    describe: Callable[[Source, Preprocessing], Description]
    """Describes a source, and the features that its preprocessing makes of it."""
