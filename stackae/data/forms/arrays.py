"""Arrays in `.npz` and `.npy` files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.files.arrays import Arrays, FiniteRows, NamedArray, hash_rows, read_npy, read_npz
from stackae.data.files.paths import as_paths, quoted
from stackae.data.forms.form import Description, Form, Guess, NewRows, numbered
from stackae.data.labels import Labels, LabelWording, as_strings, number_labels
from stackae.data.preprocessing.scaling import Scaling
from stackae.data.rows import CHUNK, ArrayRows, Joined, Rows
from stackae.data.source import Part, Parts, Source, assemble, fit_as_asked, scaling_text
from stackae.errors import DataError

if TYPE_CHECKING:
    from hashlib import _Hash

    from stackae.data.preprocessing.load import Preprocessing

ENDINGS = (".npy", ".npz")


def belongs(path: Path) -> bool:
    """Tell whether a path is a file of arrays."""
    return path.suffix.lower() in ENDINGS


def read(config: DataConfig) -> Source:
    """Read the arrays that a config names; DataError where they cannot be learnt from."""
    paths, test, extra = (as_paths(names) for names in (config.source, config.test, config.unlabelled))
    name = paths[0].stem
    tested = f"data.test: {quoted(config.test)}" if config.test else f"{config.source}: x_test"
    if {path.suffix.lower() for path in (*paths, *test, *extra)} == {".npz"}:
        if max(len(paths), len(test), len(extra)) > 1:
            raise DataError(
                "data: of .npz files one each is read; put their arrays together, or use .npy files"
            )
        if config.target is not None:
            raise DataError("data.target: an .npz file has its labels in its array 'y'; remove data.target")
        arrays = read_npz(paths[0], *(files[0] if files else None for files in (test, extra)))
        wording = LabelWording(str(config.source), test=tested)
    else:
        target = as_paths(config.target)
        if target and not target[0].is_file():
            raise DataError(
                f"data.target: there is no file '{target[0]}'; for .npy files it is the path of one with "
                "labels"
            )
        arrays = read_npy(paths, test, extra, *target)
        wording = LabelWording(str(config.target), without="remove data.target", test=tested)
    scale = 255.0 if arrays.dtype == np.uint8 else 1.0
    if arrays.y is None:
        return assemble_arrays(name, config, arrays, scale, None, None, ())
    labels_and_classes = number_labels(arrays.y, arrays.y_test, config.classes, wording)
    return assemble_arrays(name, config, arrays, scale, *labels_and_classes)


def assemble_arrays(
    name: str,
    config: DataConfig,
    arrays: Arrays,
    scale: float,
    y: Labels | None,
    y_test: Labels | None,
    classes: tuple[str, ...],
) -> Source:
    """Make a source of arrays; numbers are divided by `scale` where no other scaling is asked for."""
    ranges: dict[str, tuple[float, float]] = {}

    def part(pieces: Sequence[NamedArray]) -> Part:
        def hash_(role: str, digest: _Hash) -> None:
            ranges[role] = hash_rows(pieces, role, arrays.dtype, digest)

        return Part(Joined([ArrayRows(piece.x) for piece in pieces]), hash_)

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
        settings=f"scale {scale!r}\n" + scaling_text(config),
        fit=fit_as_asked(config, parts, arrays.shape, plain),
    )


def learnt_by(preprocessing: Preprocessing) -> bool:
    """Tell whether arrays or images fit a run with such a preprocessing."""
    return preprocessing.blocks is None


def read_new(paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing) -> NewRows:
    """Read rows of the shape that the preprocessing takes, or flattened ones."""
    files, shape = as_paths(paths), preprocessing.shape
    zipped = files[0].suffix.lower() == ".npz"
    arrays = read_npz(files[0], None, None) if zipped else read_npy(files, (), ())
    if arrays.shape not in (shape, (int(np.prod(shape)),)):
        raise DataError(f"{quoted(paths)}: rows of shape {arrays.shape}, but this run takes {shape}")
    rows = Joined([FiniteRows(part) for part in arrays.x])
    check_scale(paths, rows, preprocessing)
    labels = None if arrays.y is None else as_strings(arrays.y, config.classes)
    place = numbered([part.file for part in arrays.x], [len(part.x) for part in arrays.x], first=0)
    return NewRows(rows, labels, "row {:,}".format, place)


def check_scale(paths: str | Sequence[str], rows: Rows, preprocessing: Preprocessing) -> None:
    """Check by the first rows that bytes and numbers in [0, 1] are not confused; DataError where they are."""
    if not isinstance(preprocessing, Scaling):
        return
    first = rows.take(np.arange(min(CHUNK, len(rows))))
    assert isinstance(first, np.ndarray)
    if preprocessing.scale == 255.0 and first.dtype.kind == "f" and first.max() <= 1.0:
        raise DataError(
            f"{quoted(paths)}: numbers up to {first.max():g}, but this run learnt from bytes from 0 to 255, "
            "which it scales itself; give it the like"
        )
    if (
        preprocessing.scale == 1.0
        and preprocessing.high <= 1.0
        and first.dtype == np.uint8
        and first.max() > 1
    ):
        raise DataError(
            f"{quoted(paths)}: bytes up to {first.max()}, but this run learnt from numbers up to "
            f"{preprocessing.high:g}; scale them as those were"
        )


def guess(data: str | Sequence[str], settings: dict[str, Any]) -> Guess:
    """Set `scaling: standard` for numbers that are not within [0, 1]."""
    source = read(DataConfig.model_validate(settings))
    plain = source.preprocessing(np.arange(len(source.rows), dtype=np.int64))
    if plain.low < 0.0 or plain.high > 1.0:
        settings["scaling"] = "standard"
    return Guess(settings)


def describe(source: Source, preprocessing: Preprocessing) -> Description:
    """Describe the type and range of the numbers, and the shape of a row."""
    low, high = math.inf, -math.inf
    for _, raw in source.rows.chunks():
        assert isinstance(raw, np.ndarray)
        low, high, dtype = min(low, float(raw.min())), max(high, float(raw.max())), raw.dtype
    shape = "×".join(map(str, preprocessing.shape))
    return Description(f"arrays, {source.sizes} of {shape}, {dtype}, from {low:g} to {high:g}")


FORM = Form(
    called="arrays",
    endings=ENDINGS,
    settings=("test", "unlabelled", "target"),
    belongs=belongs,
    read=read,
    learnt_by=learnt_by,
    read_new=read_new,
    guess=guess,
    describe=describe,
)
