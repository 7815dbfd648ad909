"""Arrays in `.npz` and `.npy` files: read, checked at the door, and hashed a chunk of rows at a time."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from numpy.lib.format import open_memmap

from stackae.data.files.archive_safety import check_array, check_memory
from stackae.data.files.paths import quoted
from stackae.data.labels import unlabelled_test
from stackae.data.rows import ArrayRows
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

Array = npt.NDArray[Any]

_IN_NPZ = ("x", "y", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class NamedArray:
    """An array, the file that it is from, and its name in there (none in an `.npy` file)."""

    file: str
    name: str
    x: Array

    def __str__(self) -> str:
        return f"{self.file}: {self.name}" if self.name else self.file

    def beside(self, other: NamedArray) -> str:
        """Return what to call it in a sentence that began with the other's file."""
        return self.name if self.file == other.file else str(self)


class FiniteRows(ArrayRows):
    """The rows of an array, of which each chunk raises `DataError` where a value is NaN or infinite."""

    def __init__(self, named: NamedArray) -> None:
        super().__init__(named.x)
        self._named = named

    def chunks(self) -> Iterator[tuple[int, Array]]:
        """Yield all rows in their order: the number of a chunk's first row, and the chunk."""
        for start, chunk in super().chunks():
            if chunk.dtype.kind == "f":
                finite = np.isfinite(chunk)
                if not finite.all():
                    raise DataError(
                        f"{self._named} has a value that is NaN or infinite, "
                        f"in row {start + _first_row(~finite):,}; replace such values or leave those rows out"
                    )
                _check_size(self._named, start, chunk)
            yield start, chunk


@dataclass(frozen=True, eq=False)
class Arrays:
    """Rows to learn from, to test with, and for pretraining alone, each in one array or more; and labels.

    Rows are numbers of one shape, all 8-bit images or none, and may be memory-mapped. Labels are one per
    row: int64, where -1 is none, or strings, where '' is none.
    """

    x: Sequence[NamedArray]
    y: Array | None
    x_test: Sequence[NamedArray]
    y_test: Array | None
    extra: Sequence[NamedArray]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.x[0].x.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that rows are hashed as: uint8, or floats of at most 64 bits that hold all of them."""
        return np.result_type(*(_hashed_type(part.x.dtype) for part in (*self.x, *self.x_test, *self.extra)))


def read_npz(source: Path, test: Path | None, extra: Path | None) -> Arrays:
    """Read `x`, `y`, `x_test`, `y_test` of an `.npz` file; of `test` its `x` and `y`, of `extra` its `x`.

    Raises `DataError` where a file is damaged, or its arrays are not numbers or do not fit together.
    """
    arrays = _load_npz(source)
    if test is not None:
        if "x_test" in arrays:
            raise DataError(f"{source}: there is an 'x_test' in it already; remove data.test, or x_test")
        arrays |= {f"{name}_test": array for name, array in _load_npz(test).items() if name in ("x", "y")}
    more = [] if extra is None else [_rows_of(extra, _load_npz(extra))]
    x = _rows_of(source, arrays)
    x_test = [arrays["x_test"]] if "x_test" in arrays else []
    two_classes = "y" in arrays and _has_two_classes(arrays["y"].x)
    y, y_test = (
        labels_of(arrays[name], two_classes=two_classes) if name in arrays else None
        for name in ("y", "y_test")
    )
    if y_test is not None and (y is None or not x_test):
        raise DataError(f"{arrays['y_test'].file}: the array 'y_test' needs both 'y' and 'x_test' beside it")
    if y is not None and x_test and y_test is None:
        if test is not None:
            raise unlabelled_test(f"data.test: '{test}'", "no array 'y'")
        raise DataError(
            f"{source}: there is no array 'y_test' to go with 'x_test'; add it, or leave x_test out"
        )
    _check_rows([x, *x_test, *more])
    for rows, name in ((x, "y"), *((rows, "y_test") for rows in x_test)):
        if name in arrays and arrays[name].x.shape != (len(rows.x),):
            raise DataError(
                f"{arrays[name]} has shape {arrays[name].x.shape}, but {rows.beside(arrays[name])} has "
                f"{len(rows.x):,} rows; give one label per row"
            )
    if y is not None and y_test is not None and y.dtype.kind != y_test.dtype.kind:
        labels = [arrays[name] for name in ("y", "y_test")]
        raise DataError(
            f"{labels[0]} is {labels[0].x.dtype}, but {labels[1].beside(labels[0])} {labels[1].x.dtype}; "
            "save both alike"
        )
    return Arrays([x], y, x_test, y_test, more)


def read_npy(
    source: Sequence[Path], test: Sequence[Path], extra: Sequence[Path], target: Path | None = None
) -> Arrays:
    """Map `.npy` files of rows into memory; `target` has the labels of `source`, then those of `test`.

    Raises `DataError` where a file is damaged, or the arrays are not numbers or do not fit together.
    """
    x, x_test, more = ([_map_npy(path) for path in paths] for paths in (source, test, extra))
    _check_rows([*x, *x_test, *more])
    y = y_test = None
    if target is not None:
        named = _map_npy(target)
        size, test_size = (sum(len(part.x) for part in parts) for parts in (x, x_test))
        if test and named.x.shape == (size,):
            named_files = quoted([str(path) for path in test])
            raise unlabelled_test(
                f"data.test: {named_files}", f"after those of data.source there are none in '{target}'"
            )
        if named.x.shape != (size + test_size,):
            rows = f"{size:,} rows" + (f" and {test_size:,} for the test" if test_size else "")
            raise DataError(
                f"{target} has shape {named.x.shape}, but there are {rows}; give one label per row, "
                "first those of data.source, then those of data.test"
            )
        labels = labels_of(named, two_classes=_has_two_classes(named.x))
        y, y_test = labels[:size], labels[size:] if test_size else None
    return Arrays(x, y, x_test, y_test, more)


def hash_rows(
    parts: Sequence[NamedArray], role: str, dtype: np.dtype[Any], digest: _Hash
) -> tuple[float, float]:
    """Add the content to a digest, as one array in a byte order that is the same on every machine.

    Returns the least and the greatest value; raises `DataError` where a value cannot be learnt from.
    """
    rows = sum(len(part.x) for part in parts)
    stored = dtype.newbyteorder("<")
    digest.update(f"{role} {stored.str} {(rows, *parts[0].x.shape[1:])}\n".encode())
    low, high = np.inf, -np.inf
    for part in parts:
        count, first = 0, 0
        for start, chunk in ArrayRows(part.x).chunks():
            if chunk.dtype.kind == "f":
                finite = np.isfinite(chunk)
                if not finite.all():
                    first = first if count else start + _first_row(~finite)
                    count += int(np.sum(~finite))
                    continue
                _check_size(part, start, chunk)
            digest.update(np.ascontiguousarray(chunk, dtype=stored).data)
            low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        if count:
            raise DataError(
                f"{part} has {count:,} values that are NaN or infinite, the first in row {first:,}; "
                "replace them or leave those rows out"
            )
    return low, high


def labels_of(named: NamedArray, *, two_classes: bool = False) -> Array:
    """Return labels as int64, -1 for none, or as strings, '' for none; DataError where they are neither.

    With `two_classes` the label -1 is a class, and integers become strings.
    """
    y = named.x
    if y.dtype.kind == "U":
        return y
    if y.dtype.kind not in "biuf":
        raise DataError(f"{named} is {y.dtype}; integers or strings are needed, as y.astype(str)")
    whole = np.where(np.isnan(y), -1, y) if y.dtype.kind == "f" else y
    wrong = whole < -1
    if y.dtype.kind == "f":
        wrong |= (whole != np.floor(whole)) | np.isinf(whole)
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise DataError(
            f"{named} has the label {y[row]} (row {row:,}); labels are whole numbers from 0, or -1 for none"
        )
    integers = whole.astype(np.int64)
    return np.where(np.isnan(y), "", integers.astype(str)) if two_classes else integers


def _has_two_classes(y: Array) -> bool:
    """Tell whether -1 and 1 are all the labels there are, so that -1 is a class."""
    return y.dtype.kind in "if" and set(np.unique(y[~np.isnan(y)]).tolist()) == {-1, 1}


def _hashed_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return uint8 or a float in the machine's byte order; integers as single, all large floats as double."""
    if dtype == np.uint8:
        return dtype
    if dtype.kind != "f":
        return np.dtype(np.float32)
    return dtype.newbyteorder("=") if dtype.itemsize <= 4 else np.dtype(np.float64)


def _first_row(wrong: npt.NDArray[np.bool_]) -> int:
    return int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1)))


def _check_size(part: NamedArray, start: int, chunk: Array) -> None:
    # The network is in single precision, where such a value would become infinite.
    if chunk.dtype.itemsize <= 4:
        return
    huge = np.abs(chunk) > np.finfo(np.float32).max
    if huge.any():
        raise DataError(
            f"{part} has values beyond 3.4e38, the first in row {start + _first_row(huge):,}; rescale them"
        )


def _check_rows(parts: Sequence[NamedArray]) -> None:
    """Check that rows are numbers of one shape, all 8-bit images or none; DataError where they are not."""
    first = parts[0]
    for part in parts:
        x = part.x
        if x.ndim == 0 or len(x) == 0:
            raise DataError(f"{part} has no rows (shape {x.shape})")
        if x.dtype.kind not in "biuf":
            raise DataError(f"{part} is {x.dtype}; numbers are needed")
        if x.ndim < 2 or 0 in x.shape:
            raise DataError(
                f"{part} has shape {x.shape}; (rows, features) or (rows, height, width) is needed"
            )
        if x.shape[1:] != first.x.shape[1:]:
            raise DataError(
                f"{part} has rows of shape {x.shape[1:]}, but {first.beside(part)} of {first.x.shape[1:]}"
            )
        if (x.dtype == np.uint8) != (first.x.dtype == np.uint8):
            raise DataError(
                f"{first} is {first.x.dtype}, but {part.beside(first)} {x.dtype}; save both alike, "
                "since uint8 is scaled by 255 and nothing else is"
            )


# ---- files


def _rows_of(path: Path, arrays: dict[str, NamedArray]) -> NamedArray:
    if "x" not in arrays:
        raise DataError(f"{path}: there is no array 'x'; it holds the rows to learn from")
    return arrays["x"]


def _load_npz(path: Path) -> dict[str, NamedArray]:
    """Load the file's arrays by name."""
    arrays: dict[str, NamedArray] = {}
    name = "the file"
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: not an .npz file; np.savez(path, x=..., y=...) writes one")
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                _check_name(path, name)
            members = file.zip.infolist()
            for name, member in zip(file.files, members, strict=True):
                check_array(name, file.zip, member, path.stat().st_size)
            check_memory("the file", sum(member.file_size for member in members))
            for name in file.files:
                arrays[name] = NamedArray(str(path), name, file[name])
    except DataError as fault:
        raise DataError(f"{path}: {str(fault).removeprefix(f'{path}: ')}") from None
    except Exception as error:  # whatever a damaged archive makes its many readers raise
        raise DataError(f"{path}: {_unreadable(name, error)}") from None
    return arrays


def _check_name(path: Path, name: str) -> None:
    if name not in _IN_NPZ:
        near = difflib.get_close_matches(name.lower(), _IN_NPZ, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"only {', '.join(_IN_NPZ)} are read; leave it out"
        raise DataError(f"{path}: unknown array '{name}'; {hint}")


def _map_npy(path: Path) -> NamedArray:
    try:
        return NamedArray(str(path), "", open_memmap(path, mode="r"))
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: {_unreadable('the array', error)}") from None


def _unreadable(name: str, error: Exception) -> str:
    if "allow_pickle" in str(error) or "Python objects" in str(error):
        hint = f"save numbers, or strings as {name.replace('the array', 'x')}.astype(str)"
        return f"{name} holds Python objects, which are never loaded; {hint}"
    return f"{name} cannot be read ({error}); write the file again"
