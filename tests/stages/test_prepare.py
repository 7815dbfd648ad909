"""The data stage: every part gets its own rows, and the source is read once, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stackae.data.preprocessing.scaling import Scaling
from stackae.data.rows import CHUNK, ArrayRows, chunk_rows
from stackae.data.source import Source
from stackae.data.splits import Split
from stackae.stages.prepare import write_parts


class Once(ArrayRows):
    """Rows that may be read from first to last, once, and never by number."""

    read = 0

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        self.read += 1
        return super().chunks()

    def take(self, rows: np.ndarray) -> np.ndarray:
        raise AssertionError("taken out of turn")


def test_each_part_gets_its_rows_in_order_from_one_reading(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    own, test = 3 * CHUNK + 5, CHUNK + 7
    x = rng.integers(0, 256, (own + test, 2, 3), dtype=np.uint8)
    rows, published = Once(x[:own]), Once(x[own:])
    scaling = Scaling((2, 3), 255.0, 0.0, 1.0)
    source = Source("some", rows, None, published, None, (), "", lambda train: scaling)
    # Parts that are mixed, one that skips a whole chunk, and rows that no part has.
    order = rng.permutation(own + test)
    few = np.array([3, CHUNK - 1, 3 * CHUNK, own - 1, own, own + test - 1])
    train = np.sort(np.setdiff1d(order[:4000], few))
    val = np.sort(np.setdiff1d(order[4000:6000], few))
    write_parts(tmp_path, source, Split(train, val, few, np.ones(len(train), bool)), scaling)
    for name, numbers in (("train", train), ("val", val), ("test", few)):
        made = np.load(tmp_path / f"features-{name}.npy")
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, x[numbers].astype(np.float32) / np.float32(255))
    assert (rows.read, published.read) == (1, 1)


def test_chunks_of_large_rows_are_small() -> None:
    assert chunk_rows((784,)) == CHUNK
    assert 1 <= chunk_rows((3, 1024, 1024)) <= 8
    assert chunk_rows((1 << 30,)) == 1
