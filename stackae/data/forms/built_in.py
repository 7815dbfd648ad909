"""The sets that go by a name instead of a path: scikit-learn's digits, MNIST, Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from stackae.config import DataConfig
from stackae.data.files.arrays import Arrays, NamedArray
from stackae.data.files.mnist import IDX_SETS, read_idx_set
from stackae.data.files.paths import quoted
from stackae.data.forms.arrays import assemble_arrays, describe, learnt_by
from stackae.data.forms.form import Form, Guess
from stackae.data.labels import LabelWording, number_labels
from stackae.data.source import Source
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.preprocessing.load import Preprocessing

NAMES = ("digits", *IDX_SETS)


def belongs(path: Path) -> bool:
    """Tell whether a path is the name of a set, rather than one of a file."""
    return str(path) in NAMES


def read(config: DataConfig) -> Source:
    """Read the set that a config names, from the user's files or a download where it is not embedded."""
    name = str(config.source)
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        x, scale, classes = digits.images.astype(np.uint8), 16.0, tuple("0123456789")
        arrays = Arrays([NamedArray(name, "", x)], digits.target.astype(np.int64), (), None, ())
    else:
        train, test = read_idx_set(name, config.root)
        scale, classes = 255.0, IDX_SETS[name].classes
        arrays = Arrays([NamedArray(name, "", train.x)], train.y, [NamedArray(name, "", test.x)], test.y, ())
    y, y_test = arrays.y, arrays.y_test
    if config.classes:
        assert y is not None
        names = np.array(classes, object)
        y, y_test, classes = number_labels(
            names[y], None if y_test is None else names[y_test], config.classes, LabelWording(name)
        )
    return assemble_arrays(name, config, arrays, scale, y, y_test, classes)


def read_new(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NoReturn:
    """Refuse: a run is used on rows that it was not trained on."""
    raise DataError(f"{quoted(paths)}: a built-in set is for training; give the path of a file or folder")


def guess(data: str | Sequence[str], settings: dict[str, Any]) -> Guess:
    """Guess nothing: all is known."""
    return Guess(settings)


FORM = Form(
    called="a built-in set",
    endings=(),
    settings=(),
    belongs=belongs,
    read=read,
    learnt_by=learnt_by,
    read_new=read_new,
    guess=guess,
    describe=describe,
)
