"""Rows that a finished model is given, read as those that it learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stackae.config import DataConfig
from stackae.data.arrays import read_npy, read_npz
from stackae.data.images import ImageRows, read_images
from stackae.data.labels import texts
from stackae.data.paths import as_paths, form_of, quoted
from stackae.data.preprocessing import Preprocessing
from stackae.data.rows import ArrayRows, Joined, Rows
from stackae.data.table_preprocessing import TablePreprocessing
from stackae.errors import DataError


@dataclass(frozen=True, eq=False)
class Given:
    """Rows, and their labels as classes are named: objects, None where a row has none."""

    rows: Rows
    labels: npt.NDArray[Any] | None
    """None where no row has one."""


def read_rows(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> Given:
    """Read rows from files as `config` reads its source, for the model that was trained on that.

    A table needs all columns but the target; other rows have the shape that the preprocessing takes, or, as
    arrays, are flattened. Raises `DataError` where a file is missing, damaged, or of another kind.
    """
    form, files = form_of(paths, "data"), as_paths(paths)
    if (form == "table") != isinstance(preprocessing, TablePreprocessing):
        kinds = ("arrays or images", "a table")
        wanted, given = kinds if form == "table" else kinds[::-1]
        raise DataError(f"{quoted(paths)}: {given} where this run was trained on {wanted}; give it the like")
    if isinstance(preprocessing, TablePreprocessing):
        from stackae.data.tables import read_table

        table = read_table(files, config, like=preprocessing.columns, need_target=False)
        return Given(table.rows, None if table.target is None else texts(table.target, config.classes))
    shape = preprocessing.shape
    if form == "images":
        if len(shape) == 3 and shape[0] != 3:
            raise DataError(f"{quoted(paths)}: images, but this run was trained on rows of shape {shape}")
        like = ImageRows((), (shape[-2], shape[-1]), "grey" if len(shape) == 2 else "rgb")
        images = read_images(files[0], config.image_size, config.image_mode, like=like)
        labels = texts(images.labels, config.classes)
        return Given(images.rows, labels if any(label is not None for label in labels) else None)
    packed = files[0].suffix.lower() == ".npz"
    arrays = read_npz(files[0], None, None) if packed else read_npy(files, (), ())
    if arrays.shape not in (shape, (int(np.prod(shape)),)):
        raise DataError(f"{quoted(paths)}: rows of shape {arrays.shape}, but this run takes {shape}")
    rows = Joined([ArrayRows(part.x) for part in arrays.x])
    return Given(rows, None if arrays.y is None else texts(arrays.y, config.classes))
