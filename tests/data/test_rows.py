"""Rows: whatever they come from, their chunks are all of them in order, and `take` finds them by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stackae.config import DataConfig
from stackae.data.rows import CHUNK, ArrayRows, Joined, Raw, Rows
from stackae.data.tables.table import read_table

X = np.arange(3 * CHUNK * 2, dtype=np.float32).reshape(-1, 2)[: 2 * CHUNK + 7]


def in_memory(folder: Path) -> Rows:
    return ArrayRows(X)


def mapped(folder: Path) -> Rows:
    np.save(folder / "x.npy", X)
    return ArrayRows(np.load(folder / "x.npy", mmap_mode="r"))


def joined(folder: Path) -> Rows:
    return Joined(
        [ArrayRows(X[:5]), ArrayRows(X[5:5]), ArrayRows(X[5 : CHUNK + 9]), ArrayRows(X[CHUNK + 9 :])]
    )


def table(folder: Path) -> Rows:
    pd.DataFrame(X, columns=["a", "b"]).to_csv(folder / "x.csv", index=False)
    return read_table([folder / "x.csv"], DataConfig()).rows


def tables(folder: Path) -> Rows:
    parts = []
    for number, part in enumerate((X[:5], X[5 : CHUNK + 9], X[CHUNK + 9 :])):
        pd.DataFrame(part, columns=["a", "b"]).to_csv(folder / f"{number}.csv", index=False)
        parts.append(read_table([folder / f"{number}.csv"], DataConfig()).rows)
    return Joined(parts)


def array_of(chunk: Raw) -> np.ndarray:
    return chunk if isinstance(chunk, np.ndarray) else chunk.frame().to_numpy()


ALL = [in_memory, mapped, joined, table, tables]


@pytest.mark.parametrize("make", ALL)
def test_chunks_are_all_rows_in_order_and_none_is_large(make: object, tmp_path: Path) -> None:
    rows = make(tmp_path)  # type: ignore[operator]
    assert len(rows) == len(X)
    at = 0
    for first, chunk in rows.chunks():
        assert first == at
        assert 0 < len(chunk) <= CHUNK
        assert (array_of(chunk) == X[at : at + len(chunk)]).all()
        at += len(chunk)
    assert at == len(X)


@pytest.mark.parametrize("make", ALL)
def test_rows_are_taken_by_their_numbers(make: object, tmp_path: Path) -> None:
    rows = make(tmp_path)  # type: ignore[operator]
    for wanted in ([0], [4, 5, 6], [len(X) - 1], range(3, len(X), 97), range(len(X)), []):
        numbers = np.array(wanted, np.int64)
        taken = array_of(rows.take(numbers))
        assert taken.shape == (len(numbers), 2)
        assert (taken == X[numbers]).all()


def test_chunks_of_large_rows_have_fewer() -> None:
    rows = ArrayRows(np.broadcast_to(np.uint8(0), (5, 3000, 3000)))
    assert [len(chunk) for _, chunk in rows.chunks()] == [1] * 5
