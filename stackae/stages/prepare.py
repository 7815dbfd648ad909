"""The data stage: the parts of a source, written where every other stage can map them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stackae.data.features import CHUNK, FEATURES, SPLITS, create
from stackae.data.sources import Source
from stackae.data.splits import Split
from stackae.job import Done, Job


def prepare(job: Job, source: Source, split: Split) -> Done:
    """Writes the rows of each part as float32, scaled as the source says, and their classes (-1: none)."""
    write_rows(job.folder, source, split)
    files = []
    for name, rows in _parts(split).items():
        labels = create(job.folder / f"labels-{name}.npy", (len(rows),), np.int64)
        labels[:] = -1
        for taken, numbers, _, y in _origins(source, rows):
            if y is not None:
                labels[taken] = y[numbers]
        labels.flush()
        files.append(f"labels-{name}.npy")
    return Done({name: len(rows) for name, rows in _parts(split).items()}, [*FEATURES, *files])


def write_rows(folder: Path, source: Source, split: Split) -> None:
    """Writes the rows of each part as float32, scaled as the source says, and no classes."""
    for name, rows in _parts(split).items():
        features = create(folder / f"features-{name}.npy", (len(rows), *source.shape))
        for taken, numbers, x, _ in _origins(source, rows):
            for at in range(0, len(taken), CHUNK):
                to = slice(at, at + CHUNK)
                assert x is not None
                features[taken[to]] = x[numbers[to]].astype(np.float32) / np.float32(source.scale)
        features.flush()


def _parts(split: Split) -> dict[str, np.ndarray]:
    return dict(zip(SPLITS, (split.train, split.val, split.test), strict=True))


def _origins(
    source: Source, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]]:
    """Where a part's rows come from: places in the part, row numbers in x and y, and x and y.

    Row numbers of a split from `len(source.x)` on are rows of the published test part.
    """
    boundary = len(source.x)
    own, published = np.flatnonzero(rows < boundary), np.flatnonzero(rows >= boundary)
    yield own, rows[own], source.x, source.y
    yield published, rows[published] - boundary, source.x_test, source.y_test
