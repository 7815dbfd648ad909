"""Rows of files larger than memory: asked for in time, each once, and the same as ever."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from stackae.data import read_ahead
from stackae.data.batches import Batches
from stackae.machine import memory

ROWS, BATCH = 1000, 30


@pytest.fixture
def x(tmp_path: Path) -> np.ndarray:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((ROWS, 3, 5), dtype=np.float32))
    mapped: np.ndarray = np.load(tmp_path / "x.npy", mmap_mode="r")
    return mapped


@pytest.fixture
def asked(x: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bytes that the system is asked for, with memory for nothing and 100 rows to be ahead."""
    made: list[bytes] = []

    def ask(file: int, start: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        made.append(os.pread(file, size, start))

    monkeypatch.setattr(os, "posix_fadvise", ask)
    monkeypatch.setattr(memory, "size", lambda: 0)
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 100 * x[0].nbytes)
    monkeypatch.setattr("stackae.data.batches.AHEAD", 60 * x[0].nbytes)
    return made


def contents(rows: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in rows]


def test_each_row_is_asked_for_once_and_in_time(x: np.ndarray, asked: list[bytes]) -> None:
    batches = Batches(x, batch_size=BATCH, seed=0)
    taken: list[bytes] = []
    for batch in batches:
        taken += contents(batch.x.numpy())
        assert set(taken) <= set(asked)
        assert len(asked) >= min(ROWS, len(taken) + 100 - BATCH)
        assert len(asked) <= len(taken) + 100 + 60
    assert sorted(asked) == sorted(contents(np.asarray(x)))


def test_batches_are_those_of_rows_in_memory(x: np.ndarray, asked: list[bytes]) -> None:
    rows = np.arange(0, ROWS, 3)
    mapped, held = (Batches(each, batch_size=BATCH, rows=rows, seed=1) for each in (x, np.array(x)))
    for batches in (mapped, held):
        batches.set_epoch(2)
        batches.load_state_dict({"position": 5})
    pairs = list(zip(mapped, held, strict=True))
    assert len(pairs) == len(held) - 5
    assert all(torch.equal(one.x, other.x) for one, other in pairs)
    assert len(asked) == sum(len(one.x) for one, _ in pairs)


def test_nothing_is_asked_where_the_system_does_as_well(
    x: np.ndarray, asked: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(Batches(x, batch_size=BATCH))  # in the file's order
    list(Batches(np.array(x), batch_size=BATCH, seed=0))  # in memory
    list(Batches(x[10:], batch_size=BATCH, seed=0))  # of a part of a file, whose place is not known
    monkeypatch.setattr(memory, "size", lambda: 2 * x.nbytes)
    list(Batches(x, batch_size=BATCH, seed=0))
    assert asked == []


def test_the_memory_is_more_than_this_process_takes() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("there is no /proc to compare with")
    taken = int(status.read_text().partition("VmRSS:")[2].split()[0]) << 10
    assert taken < memory.size() < 1 << 50
