"""Sources: what a config names as data, read, checked at the door and fingerprinted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.files.arrays import Arrays, Named, hash_rows, read_npy, read_npz
from stackae.data.files.images import Images, read_images
from stackae.data.files.mnist import IDX_SETS, read_idx_set
from stackae.data.files.paths import BUILT_IN, as_paths, form_of
from stackae.data.labels import Called, Labels, number_labels
from stackae.data.preprocessing.scaling import Scaling, fit_scaling
from stackae.data.rows import ArrayRows, Joined
from stackae.data.source import Fit, Ints, Part, Parts, Source, assemble, sample
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.tables.table import Table

__all__ = ["Source", "read_source"]

_OF_FORMS = {
    "arrays": ("test", "unlabelled", "target"),
    "images": ("test", "unlabelled", "image_size", "image_mode"),
    "table": ("test", "unlabelled", "target", "group", "order", "drop", "types"),
}
"""The settings that some forms have and others do not."""


def read_source(config: DataConfig) -> Source:
    """Read what `config.source` names, and what `config.test` and `config.unlabelled` name beside it.

    Classes are the sorted labels of the source. 8-bit images are divided by 255 (`digits` by 16) and tables
    are preprocessed; all else stays as it is unless `config.scaling` is set.
    Raises `DataError` where the source is unknown, missing or damaged, or holds what cannot be learnt from.
    """
    if config.source in BUILT_IN:
        _check_settings(config, ())
        return _built_in(str(config.source), config)
    form = form_of(config.source, "data.source")
    _check_settings(config, _OF_FORMS[form])
    for setting in ("test", "unlabelled"):
        other = getattr(config, setting)
        if other is not None and form_of(other, f"data.{setting}") != form:
            raise DataError(
                f"data.{setting}: '{other}' is of another form than data.source, '{config.source}'"
            )
    own = {path.resolve() for path in as_paths(config.source)}
    for path in as_paths(config.test):
        if path.resolve() in own:
            raise DataError(
                f"data.test: '{path}' is in data.source too, so that its rows would be learnt before they "
                "are tested; remove it from one of them"
            )
    return {"arrays": _arrays, "images": _images, "table": _table}[form](config)


def _check_settings(config: DataConfig, known: Sequence[str]) -> None:
    for setting in dict.fromkeys(name for names in _OF_FORMS.values() for name in names):
        if setting not in known and getattr(config, setting) != DataConfig.model_fields[setting].default:
            raise DataError(f"data.{setting}: has no meaning for the source '{config.source}'; remove it")


def _scaling(config: DataConfig, parts: Parts, shape: tuple[int, ...], plain: Callable[[], Scaling]) -> Fit:
    """Fits `config.scaling` to numbers (rows, *shape); without it they are only divided."""

    def fit(train: Ints) -> Preprocessing:
        if config.scaling in (None, "none"):
            return plain()
        taken = parts.all.take(sample(train, shape))
        assert isinstance(taken, np.ndarray)
        return fit_scaling(taken, str(config.scaling))

    return fit


def _scaled(config: DataConfig) -> str:
    """What of the fingerprint says how numbers are scaled, beside the factor."""
    return "" if config.scaling in (None, "none") else f"scaling {config.scaling}\n"


# ---- arrays


def _built_in(name: str, config: DataConfig) -> Source:
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        x, scale, classes = digits.images.astype(np.uint8), 16.0, tuple("0123456789")
        arrays = Arrays([Named(name, "", x)], digits.target.astype(np.int64), (), None, ())
    else:
        train, test = read_idx_set(name, config.root)
        scale, classes = 255.0, IDX_SETS[name].classes
        arrays = Arrays([Named(name, "", train.x)], train.y, [Named(name, "", test.x)], test.y, ())
    y, y_test = arrays.y, arrays.y_test
    if config.classes:
        assert y is not None
        names = np.array(classes, object)
        y, y_test, classes = number_labels(
            names[y], None if y_test is None else names[y_test], config.classes, Called(name)
        )
    return _of_arrays(name, config, arrays, scale, y, y_test, classes)


def _arrays(config: DataConfig) -> Source:
    paths, test, extra = (as_paths(given) for given in (config.source, config.test, config.unlabelled))
    name = paths[0].stem
    if {path.suffix.lower() for path in (*paths, *test, *extra)} == {".npz"}:
        if max(len(paths), len(test), len(extra)) > 1:
            raise DataError(
                "data: of .npz files one each is read; put their arrays together, or use .npy files"
            )
        if config.target is not None:
            raise DataError("data.target: an .npz file has its labels in its array 'y'; remove data.target")
        arrays = read_npz(paths[0], *(given[0] if given else None for given in (test, extra)))
        called = Called(str(config.source))
    else:
        target = as_paths(config.target)
        if target and not target[0].is_file():
            raise DataError(
                f"data.target: there is no file '{target[0]}'; for .npy files it is the path of one with "
                "labels"
            )
        arrays = read_npy(paths, test, extra, *target)
        called = Called(str(config.target), without="remove data.target")
    scale = 255.0 if arrays.dtype == np.uint8 else 1.0
    if arrays.y is None:
        return _of_arrays(name, config, arrays, scale, None, None, ())
    numbered = number_labels(arrays.y, arrays.y_test, config.classes, called)
    return _of_arrays(name, config, arrays, scale, *numbered)


def _of_arrays(
    name: str,
    config: DataConfig,
    arrays: Arrays,
    scale: float,
    y: Labels | None,
    y_test: Labels | None,
    classes: tuple[str, ...],
) -> Source:
    ranges: dict[str, tuple[float, float]] = {}

    def part(named: Sequence[Named]) -> Part:
        def hash_(role: str, digest: _Hash) -> None:
            ranges[role] = hash_rows(named, role, arrays.dtype, digest)

        return Part(Joined([ArrayRows(one.x) for one in named]), hash_)

    def plain() -> Scaling:
        # Published test rows count only where training may see some of them.
        seen = [range_ for role, range_ in ranges.items() if role != "x_test" or config.split.pool]
        low, high = min(low for low, _ in seen), max(high for _, high in seen)
        return Scaling(arrays.shape, scale, low / scale, high / scale)

    parts = Parts(
        part(arrays.x),
        part(arrays.x_test) if arrays.x_test else None,
        part(arrays.extra) if arrays.extra else None,
    )
    return assemble(
        name,
        parts,
        y,
        y_test,
        classes,
        settings=f"scale {scale!r}\n" + _scaled(config),
        fit=_scaling(config, parts, arrays.shape, plain),
    )


# ---- images


def _images(config: DataConfig) -> Source:
    (folder,) = as_paths(config.source)
    own = read_images(folder, config.image_size, config.image_mode)
    test, extra = (
        read_images(path, config.image_size, config.image_mode, like=own.rows) if path else None
        for path in (next(iter(as_paths(given)), None) for given in (config.test, config.unlabelled))
    )
    y, y_test, classes = None, None, tuple[str, ...]()
    if any(label is not None for label in own.labels):
        called = Called(
            str(folder),
            "data.source",
            "data.test",
            lambda row: f"'{test.rows.files[row]}'" if test else "",
            "move the images out of their folders",
        )
        y, y_test, classes = number_labels(
            own.labels, None if test is None else test.labels, config.classes, called
        )

    def part(images: Images) -> Part:
        return Part(images.rows, lambda role, digest: digest.update(f"{role} {images.digest}\n".encode()))

    parts = Parts(part(own), None if test is None else part(test), None if extra is None else part(extra))
    shape = own.rows.shape
    return assemble(
        folder.resolve().name,
        parts,
        y,
        y_test,
        classes,
        settings="images\n" + _scaled(config),
        # What the values can be: what they are is not known before all images are decoded.
        fit=_scaling(config, parts, shape, lambda: Scaling(shape, 255.0, 0.0, 1.0)),
    )


# ---- tables


def _table(config: DataConfig) -> Source:
    from stackae.data.tables.table import read_table

    own = read_table(as_paths(config.source), config)
    test = extra = None
    if config.test is not None:
        test = read_table(as_paths(config.test), config, like=own.columns)
    if config.unlabelled is not None:
        extra = read_table(as_paths(config.unlabelled), config, like=own.columns, need_target=False)
    y, y_test, classes = None, None, tuple[str, ...]()
    if own.target is not None:
        called = Called(
            f"data.target '{config.target}'",
            "data.source",
            "data.test",
            lambda row: f"data row {row + 1:,}",
            "remove data.target",
        )
        y, y_test, classes = number_labels(
            own.target, None if test is None else test.target, config.classes, called
        )

    def part(table: Table) -> Part:
        return Part(
            table.rows,
            lambda role, digest: digest.update(f"{role} {table.digest}\n".encode()),
            table.group,
            table.order,
        )

    parts = Parts(part(own), None if test is None else part(test), None if extra is None else part(extra))
    used = sum(column.dropped is None for column in own.columns)
    if not used:
        why = "; ".join(f"'{column.name}' is dropped: {column.dropped}" for column in own.columns[:8])
        raise DataError(
            f"{as_paths(config.source)[0]}: no column is left to learn from ({why or 'there is no other'}); "
            "drop fewer in data.drop, or set one in data.types"
        )

    def fit(train: Ints) -> Preprocessing:
        from stackae.data.preprocessing.table import fit_table

        frame: Any = parts.all.take(sample(train, (max(used, 1),)))
        return fit_table(frame, own.columns, config)

    scaled = {"scaling": config.scaling or "standard", "rare": config.rare, "types": config.types}
    return assemble(
        as_paths(config.source)[0].name,
        parts,
        y,
        y_test,
        classes,
        settings=f"table {json.dumps(scaled, sort_keys=True)}\n",
        fit=fit,
        columns=tuple(own.columns),
    )
