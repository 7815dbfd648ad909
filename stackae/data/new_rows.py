"""Rows that a finished model is given, read as those that it learnt from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig
from stackae.data.files.arrays import FiniteRows, read_npy, read_npz
from stackae.data.files.images import ImageRows, read_images
from stackae.data.files.paths import as_paths, form_of, quoted
from stackae.data.labels import texts
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.preprocessing.scaling import Scaling
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.data.rows import CHUNK, Joined, Rows
from stackae.errors import DataError

_SETTING = re.compile(r"(?<=[ (])data\.(columns|drop|image_size|missing|separator|types)\b")
"""A setting that an error names as a remedy, which is that of a config unless it says of which."""


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows, and their labels as classes are named: objects, None where a row has none."""

    rows: Rows
    labels: npt.NDArray[Any] | None
    """None where no row has one."""
    row: Callable[[int], str]
    """What errors call a row, by its number from 0."""
    files: tuple[str, ...] | None = None
    """The images' files, below the folder that was given; None where rows are no files."""


def read_rows(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NewRows:
    """Read rows from files as `config` reads its source, for the model that was trained on that.

    A table needs all columns but the target; other rows have the shape that the preprocessing takes, or, as
    arrays, are flattened. Raises `DataError` where a file is missing, damaged, or of another kind; reading
    the rows raises it where a number in an array is not finite.
    """
    try:
        return _read(paths, config, preprocessing)
    except DataError as fault:
        raise DataError(_SETTING.sub(r"\g<0> of the run's config.yaml", str(fault), count=1)) from None


def _read(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NewRows:
    form, files = form_of(paths, "data"), as_paths(paths)
    if (form == "table") != isinstance(preprocessing, TablePreprocessing):
        kinds = ("arrays or images", "a table")
        wanted, given = kinds if form == "table" else kinds[::-1]
        raise DataError(f"{quoted(paths)}: {given} where this run was trained on {wanted}; give it the like")
    if isinstance(preprocessing, TablePreprocessing):
        from stackae.data.tables.table import read_table

        table = read_table(files, config, like=preprocessing.columns, need_target=False)
        labels = None if table.target is None else texts(table.target, config.classes)
        return NewRows(table.rows, labels, lambda row: f"data row {row + 1:,}")
    shape = preprocessing.shape
    if form == "images":
        if len(shape) == 3 and shape[0] != 3:
            raise DataError(f"{quoted(paths)}: images, but this run was trained on rows of shape {shape}")
        like = ImageRows((), (shape[-2], shape[-1]), "grey" if len(shape) == 2 else "rgb")
        images = read_images(files[0], config.image_size, config.image_mode, like=like)
        labels = texts(images.labels, config.classes)
        _check_scale(paths, images.rows, preprocessing)
        names = tuple(file.relative_to(files[0]).as_posix() for file in images.rows.files)
        if all(label is None for label in labels):
            labels = None
        return NewRows(images.rows, labels, lambda row: f"'{names[row]}'", names)
    packed = files[0].suffix.lower() == ".npz"
    arrays = read_npz(files[0], None, None) if packed else read_npy(files, (), ())
    if arrays.shape not in (shape, (int(np.prod(shape)),)):
        raise DataError(f"{quoted(paths)}: rows of shape {arrays.shape}, but this run takes {shape}")
    rows = Joined([FiniteRows(part) for part in arrays.x])
    _check_scale(paths, rows, preprocessing)
    return NewRows(rows, None if arrays.y is None else texts(arrays.y, config.classes), "row {:,}".format)


def _check_scale(paths: str | Sequence[str], rows: Rows, preprocessing: Preprocessing) -> None:
    """Raises `DataError` where bytes are given for numbers in [0, 1], or the reverse, by the first rows."""
    if not isinstance(preprocessing, Scaling):
        return
    some = rows.take(np.arange(min(CHUNK, len(rows))))
    assert isinstance(some, np.ndarray)
    if preprocessing.scale == 255.0 and some.dtype.kind == "f" and some.max() <= 1.0:
        raise DataError(
            f"{quoted(paths)}: numbers up to {some.max():g}, but this run learnt from bytes from 0 to 255, "
            "which it scales itself; give it the like"
        )
    if preprocessing.scale == 1.0 and preprocessing.high <= 1.0 and some.dtype == np.uint8 and some.max() > 1:
        raise DataError(
            f"{quoted(paths)}: bytes up to {some.max()}, but this run learnt from numbers up to "
            f"{preprocessing.high:g}; scale them as those were"
        )
