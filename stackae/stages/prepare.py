"""The data stage: the parts of a source, written where every other stage can map them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stackae.data.features import FEATURES, SPLITS, create
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.source import Source
from stackae.data.splits import Split
from stackae.stage_context import Done, Job


def prepare(job: Job, source: Source, split: Split, preprocessing: Preprocessing) -> Done:
    """Writes the rows of each part, preprocessed, as float32, and their classes (-1: none)."""
    write_parts(job.folder, source, split, preprocessing)
    files, labels = [], source.labels
    for name, rows in _parts(split).items():
        made = create(job.folder / f"labels-{name}.npy", (len(rows),), np.int64)
        made[:] = labels[rows]
        made.flush()
        files.append(f"labels-{name}.npy")
    return Done({name: len(rows) for name, rows in _parts(split).items()}, [*FEATURES, *files])


def write_parts(folder: Path, source: Source, split: Split, preprocessing: Preprocessing) -> None:
    """Writes the rows of each part, and no classes; the source is read once, from first row to last."""
    parts = [
        (rows, create(folder / f"features-{name}.npy", (len(rows), *preprocessing.shape)))
        for name, rows in _parts(split).items()
    ]
    for first, raw in source.all.chunks():
        # Row numbers ascend, so those of a chunk are neighbours in each part.
        places = [(np.searchsorted(rows, [first, first + len(raw)]), rows, made) for rows, made in parts]
        if any(start < end for (start, end), _, _ in places):
            x = preprocessing(raw)
            for (start, end), rows, made in places:
                made[start:end] = x[rows[start:end] - first]
    for _, made in parts:
        made.flush()


def _parts(split: Split) -> dict[str, np.ndarray]:
    return dict(zip(SPLITS, (split.train, split.val, split.test), strict=True))
