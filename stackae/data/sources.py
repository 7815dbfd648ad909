"""Sources: named data sets and `.npz` files, read, checked at the door and fingerprinted."""

from __future__ import annotations

import difflib
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig
from stackae.data.claims import check_array, check_memory
from stackae.data.idx import IDX_SETS, read_idx_set
from stackae.errors import DataError

Array = npt.NDArray[Any]
Labels = npt.NDArray[np.int64]

SOURCES = ("digits", *IDX_SETS)
_ARRAYS = ("x", "y", "x_test", "y_test")


@dataclass(frozen=True, eq=False)
class Source:
    """Examples and their labels as they were published, before any split."""

    name: str
    x: Array
    """Training rows, or all rows: (rows, *shape), uint8 or floating, finite."""
    y: Labels | None
    """Class index of each row, -1 where a row has no label; None where no row has one."""
    x_test: Array | None
    """Published test rows, of the dtype and shape of `x`; None where none are published."""
    y_test: Labels | None
    scale: float
    """`x / scale` is what the network sees: 255 for 8-bit images, 16 for `digits`, else 1."""
    classes: tuple[str, ...]
    """The classes' names by index; empty where there are no labels."""
    fingerprint: str
    """sha256 of the content: the arrays' bytes, dtypes and shapes, and the scale."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.x.shape[1:]


def read_source(config: DataConfig) -> Source:
    """Read what `config.source` names: `digits`, `mnist`, `fashion_mnist`, or an `.npz` file by its path.

    An `.npz` holds numbers `x` (rows, ...) and, if wanted, labels `y` (rows,): integers, whole floats or
    strings, where -1, NaN or the empty string means unlabelled; likewise `x_test` and `y_test`. The classes
    are the sorted labels of `y`. uint8 is taken for 8-bit images and scaled by 255, all else stays as it is.
    Raises `DataError` where the source is unknown, missing or damaged, or holds what cannot be learnt from.
    """
    if config.source == "digits":
        return _digits()
    if config.source in IDX_SETS:
        train, test = read_idx_set(config.source, config.root)
        return _source(
            config.source, train.x, train.y, test.x, test.y, 255.0, IDX_SETS[config.source].classes
        )
    return _npz(config.source)


def _source(
    name: str,
    x: Array,
    y: Labels | None,
    x_test: Array | None,
    y_test: Labels | None,
    scale: float,
    classes: tuple[str, ...],
) -> Source:
    digest = hashlib.sha256(f"scale {scale!r}\n".encode())
    for role, array in zip(_ARRAYS, (x, y, x_test, y_test), strict=True):
        if array is not None:
            # one byte order on every machine, so that the same content has the same fingerprint
            content = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{role} {content.dtype.str} {content.shape}\n".encode())
            digest.update(content.data)
    return Source(name, x, y, x_test, y_test, scale, classes, digest.hexdigest())


def _digits() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = digits.images.astype(np.uint8)
    return _source("digits", x, digits.target.astype(np.int64), None, None, 16.0, tuple("0123456789"))


# ---- .npz


def _npz(source: str) -> Source:
    try:
        path = Path(source).expanduser()
        there = path.is_file()
    except (OSError, RuntimeError) as error:  # a name that is too long, a user who is unknown
        cause = getattr(error, "strerror", None) or error
        raise DataError(
            f"data.source: '{source:.60}' names no file ({cause}); give the path of one"
        ) from None
    if not there:
        raise DataError(_missing(source, path))
    try:
        arrays = _load(path)
        x, x_test, scale = _rows(arrays)
        y, y_test, classes = _labels(arrays)
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
    return _source(path.stem, x, y, x_test, y_test, scale, classes)


def _missing(source: str, path: Path) -> str:
    if path.is_dir():
        return f"data.source: '{source}' is a folder; name an .npz file in it"
    if path.suffix or len(path.parts) > 1:
        return f"data.source: there is no file '{source}'; paths start at the current folder"
    near = difflib.get_close_matches(source.lower().replace("-", "_"), SOURCES, n=1)
    hint = (
        f"did you mean '{near[0]}'?" if near else f"give an .npz file's path, or one of {', '.join(SOURCES)}"
    )
    return f"data.source: unknown source '{source}'; {hint}"


def _load(path: Path) -> dict[str, Array]:
    """The file's arrays by name; those that are there fit together, row by row."""
    arrays: dict[str, Array] = {}
    name = "the file"
    try:
        if not zipfile.is_zipfile(path):
            raise DataError("not an .npz file; np.savez(path, x=..., y=...) writes one")
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                _check_name(name)
            members = file.zip.infolist()
            for name, member in zip(file.files, members, strict=True):
                check_array(name, file.zip, member, path.stat().st_size)
            check_memory("the file", sum(member.file_size for member in members))
            for name in file.files:
                arrays[name] = file[name]
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive makes its many readers raise
        says = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{name} cannot be read ({says}); write the file again") from None
    _check_together(arrays)
    return arrays


def _check_name(name: str) -> None:
    if name not in _ARRAYS:
        near = difflib.get_close_matches(name.lower(), _ARRAYS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"only {', '.join(_ARRAYS)} are read; leave it out"
        raise DataError(f"unknown array '{name}'; {hint}")


def _check_together(arrays: dict[str, Array]) -> None:
    if "x" not in arrays:
        raise DataError("there is no array 'x'; it holds the rows to learn from")
    if "y_test" in arrays and not {"y", "x_test"} <= arrays.keys():
        raise DataError("the array 'y_test' needs both 'y' and 'x_test' beside it")
    if {"y", "x_test"} <= arrays.keys() and "y_test" not in arrays:
        raise DataError("there is no array 'y_test' to go with 'x_test'; add it, or leave x_test out")
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"{name} has no rows (shape {array.shape})")
    for x, y in (("x", "y"), ("x_test", "y_test")):
        if y in arrays and arrays[y].shape != (len(arrays[x]),):
            shape = arrays[y].shape
            raise DataError(
                f"{y} has shape {shape}, but {x} has {len(arrays[x]):,} rows; give one label per row"
            )


def _rows(arrays: dict[str, Array]) -> tuple[Array, Array | None, float]:
    x = _numbers("x", arrays["x"])
    scale = 255.0 if x.dtype == np.uint8 else 1.0
    if "x_test" not in arrays:
        return x, None, scale
    x_test = _numbers("x_test", arrays["x_test"])
    if x_test.shape[1:] != x.shape[1:]:
        raise DataError(f"x_test has rows of shape {x_test.shape[1:]}, but x of {x.shape[1:]}")
    if np.uint8 in (x.dtype, x_test.dtype) and x.dtype != x_test.dtype:
        raise DataError(
            f"x is {arrays['x'].dtype}, but x_test {arrays['x_test'].dtype}; save both alike, "
            "since uint8 is scaled by 255 and nothing else is"
        )
    both = np.result_type(x, x_test)
    return x.astype(both, copy=False), x_test.astype(both, copy=False), scale


def _numbers(name: str, x: Array) -> Array:
    """`x` as uint8 or as floats of at most 64 bits in the machine's byte order, where all can be used."""
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} is {x.dtype}; numbers are needed")
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(f"{name} has shape {x.shape}; (rows, features) or (rows, height, width) is needed")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        return x.astype(np.float32)
    rows, finite = len(x), np.isfinite(x)
    if not finite.all():
        first = int(np.argmin(finite.reshape(rows, -1).all(axis=1)))
        raise DataError(
            f"{name} has {np.sum(~finite):,} values that are NaN or infinite, the first in row {first:,}; "
            "replace them or leave those rows out"
        )
    if x.dtype.itemsize <= 4:
        return x.astype(x.dtype.newbyteorder("="), copy=False)
    # training is in single precision, where such a value would become infinite
    huge = (np.abs(x) > np.finfo(np.float32).max).reshape(rows, -1).any(axis=1)
    if huge.any():
        raise DataError(
            f"{name} has values beyond 3.4e38, the first in row {np.argmax(huge):,}; rescale them"
        )
    return x.astype(np.float64, copy=False)


def _labels(arrays: dict[str, Array]) -> tuple[Labels | None, Labels | None, tuple[str, ...]]:
    if "y" not in arrays:
        return None, None, ()
    values, known = _values("y", arrays["y"])
    classes = np.unique(values[known])
    if len(classes) == 0:
        raise DataError("y has no label in any row; leave y out")
    if len(classes) == 1:
        raise DataError(f"y has one class only ({classes[0]!s}); at least two are needed, or leave y out")
    names = tuple(str(label) for label in classes)
    y = np.where(known, np.searchsorted(classes, values), -1).astype(np.int64)
    if "y_test" not in arrays:
        return y, None, names
    values, known = _values("y_test", arrays["y_test"])
    if (values.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise DataError(f"y is {arrays['y'].dtype}, but y_test {arrays['y_test'].dtype}; save both alike")
    unseen = known & ~np.isin(values, classes)
    if unseen.any():
        row = int(np.argmax(unseen))
        raise DataError(f"y_test has the label '{values[row]}' (row {row:,}), which never occurs in y")
    return y, np.where(known, np.searchsorted(classes, values), -1).astype(np.int64), names


def _values(name: str, y: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The labels as int64 or strings, and which rows have one."""
    if y.dtype.kind == "U":
        return y, y != ""
    if y.dtype.kind not in "biuf":
        raise DataError(f"{name} is {y.dtype}; integers or strings are needed, as {name}.astype(str)")
    given = np.where(np.isnan(y), -1, y) if y.dtype.kind == "f" else y
    wrong = (given < -1) | (given != np.floor(given)) | np.isinf(given) if y.dtype.kind == "f" else given < -1
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise DataError(
            f"{name} has the label {y[row]} (row {row:,}); labels are whole numbers from 0, or -1 for none"
        )
    values = given.astype(np.int64)
    return values, values >= 0
