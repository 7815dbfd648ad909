"""The data stage: the parts of a source, written where every other stage can map them."""

from __future__ import annotations

import numpy as np

from stackae.data.features import CHUNK, SPLITS, create
from stackae.data.sources import Source
from stackae.data.splits import Split
from stackae.job import Done, Job


def prepare(job: Job, source: Source, split: Split) -> Done:
    """Writes the rows of each part as float32, scaled as the source says, and their classes (-1: none)."""
    files = []
    boundary = len(source.x)
    parts = dict(zip(SPLITS, (split.train, split.val, split.test), strict=True))
    for name, rows in parts.items():
        features = create(job.folder / f"features-{name}.npy", (len(rows), *source.shape))
        labels = np.full(len(rows), -1, dtype=np.int64)
        # Indices from `boundary` on are rows of the published test part.
        published = (
            (rows < boundary, source.x, source.y, 0),
            (rows >= boundary, source.x_test, source.y_test, boundary),
        )
        for here, x, y, start in published:
            taken = np.flatnonzero(here)
            for at in range(0, len(taken), CHUNK):
                to = taken[at : at + CHUNK]
                assert x is not None
                features[to] = x[rows[to] - start].astype(np.float32) / np.float32(source.scale)
            if y is not None:
                labels[taken] = y[rows[taken] - start]
        features.flush()
        np.save(job.folder / f"labels-{name}.npy", labels)
        files += [f"features-{name}.npy", f"labels-{name}.npy"]
    return Done({name: len(rows) for name, rows in parts.items()}, files)
