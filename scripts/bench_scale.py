"""What a row of a wide table costs by stage, and how a disk is read: `python scripts/bench.py scale`."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
import xxhash

from stackae.config import Config
from stackae.data.batches import Batches
from stackae.data.features import create
from stackae.data.new_rows import read_rows
from stackae.data.read import read_source
from stackae.machine import memory
from stackae.model import load
from stackae.pipeline import run
from stackae.progress import NoProgress
from stackae.store import Store
from stackae.tracking.tracker import NullStageLog, NullTracker

CELLS = 2_000_000
"""Cells of a group of rows of the Parquet file."""
BATCH = 256
READ_FOR = 5.0
"""Seconds for which each way of reading is timed: too few for much of the file to be in memory by then."""


def scale(
    folder: Annotated[Path, typer.Option(help="Where to write the rows and the store; all is removed.")],
    rows: Annotated[int, typer.Option(help="Rows of the table.")] = 20_000,
    columns: Annotated[int, typer.Option(help="Columns of numbers.")] = 1_000,
    gib: Annotated[float, typer.Option(help="Size of the file that is read at random; 0 for none.")] = 4.0,
) -> None:
    """Takes the processor time of a run on a wide table, and reads of a cold file.

    Layers of 256 and 64 units, an epoch each. Cold: what Linux keeps of the file is dropped first.
    """
    print(f"{rows:,} rows of {columns:,} columns, one thread, processor time\n")
    print("| work | Parquet, s | rows/s | .npy, s | rows/s |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        data = _write(Path(made), rows, columns)
        found = [_run(Path(made) / name, words) for name, words in data.items()]
        for work in found[0]:
            cells = (f"{seconds[work]:.2f} | {rows / seconds[work]:,.0f}" for seconds in found)
            print(f"| {work} | {' | '.join(cells)} |", flush=True)
        _hashes(next(Path(made).rglob("features-train.npy")))
    if gib:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            _reads(Path(made) / "x.npy", max(BATCH * 16, int(gib * 2**30) // (4 * columns)), columns)


def _write(folder: Path, rows: int, columns: int) -> dict[str, dict[str, str]]:
    """Writes rows around one of two directions, and which it is, in two forms; what a config says of each."""
    rng, group = np.random.default_rng(0), max(1, CELLS // columns)
    middles = rng.normal(0, 1, (2, columns)).astype(np.float32)
    y = rng.integers(0, 2, rows)
    x = create(folder / "x.npy", (rows, columns))
    names = [f"c{at}" for at in range(columns)]
    schema = pa.schema([*((name, pa.float32()) for name in names), ("label", pa.string())])
    with pq.ParquetWriter(folder / "rows.parquet", schema) as file:
        for start in range(0, rows, group):
            here = slice(start, start + group)
            x[here] = middles[y[here]] + rng.standard_normal((len(y[here]), columns), dtype=np.float32)
            cells = [*np.ascontiguousarray(x[here].T), np.array(["no", "yes"])[y[here]]]
            file.write_table(pa.table(cells, schema=schema))
    x.flush()
    np.save(folder / "y.npy", y)
    return {
        "parquet": {"source": str(folder / "rows.parquet"), "target": "label"},
        "npy": {"source": str(folder / "x.npy"), "target": str(folder / "y.npy")},
    }


class Meter(NullTracker):
    """Notes the processor time of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(
        self, name: str, config: Mapping[str, object], parents: Sequence[str], key: str = ""
    ) -> Iterator[NullStageLog]:
        start = time.process_time()
        yield NullStageLog()
        self.seconds[name] = time.process_time() - start


def _run(folder: Path, data: dict[str, str]) -> dict[str, float]:
    """The seconds of a run's parts, and of a finished model's work on all rows."""
    config = Config.model_validate(
        {
            "data": data,
            "layers": [{"width": 256}, {"width": 64}],
            "pretrain": {"epochs": 1, "batch_size": BATCH},
            "finetune": {"epochs": 1, "batch_size": BATCH},
            "compare": {"scratch": False, "probe": False, "importance": False, "baselines": "none"},
            "trainer": {"accelerator": "cpu", "threads": 1},
            "report": False,
        }
    )
    made = {"reading: types, fingerprint": _seconds(lambda: read_source(config.data))}
    meter = Meter()
    run(config, Store(folder / "store", print), meter, NoProgress(), out=folder / "run")
    model = load(folder / "run")
    new = read_rows(data["source"], config.data, model.preprocessing)
    return {
        **made,
        **meter.seconds,
        "encode": _seconds(lambda: [None for _ in model.map(new.rows, model.encode)]),
        "predict, with flags": _seconds(lambda: [None for _ in model.map(new.rows, model.judge)]),
    }


def _hashes(path: Path) -> None:
    print("\n| hash of a file in memory | MiB/s |")
    print("|---|---|")
    path.read_bytes()
    for name, algorithm in {"sha256": "sha256", "xxh3": xxhash.xxh3_128}.items():
        with path.open("rb") as file:
            seconds = _seconds(partial(hashlib.file_digest, file, algorithm))
        print(f"| {name} | {path.stat().st_size / seconds / 2**20:,.0f} |", flush=True)


def _reads(path: Path, rows: int, columns: int) -> None:
    """Reads batches at random and in the order of a file, as training and encoding do."""
    made = create(path, (rows, columns))
    block = np.random.default_rng(0).random((BATCH * 16, columns), dtype=np.float32)
    for start in range(0, rows, len(block)):
        made[start : start + len(block)] = block[: rows - start]
    made.flush()
    del made
    size = path.stat().st_size / 2**30
    print(f"\n{size:.1f} GiB of rows of {4 * columns:,} bytes, cold, each way for {READ_FOR:g} s\n")
    print(f"| batches of {BATCH} rows | rows/s | MiB/s | read from the disk, bytes a row |")
    print("|---|---|---|---|")
    held = memory.size
    for called, most in (("at random, left to the system", 1 << 60), ("at random, asked for ahead", 0)):
        # The file is taken for one that memory can hold, or cannot.
        memory.size = partial(int, most)
        _read(called, path, lambda x: (len(batch.x) for batch in Batches(x, batch_size=BATCH, seed=0)))
    memory.size = held
    _read("in the file's order", path, lambda x: (len(batch.x) for batch in Batches(x, batch_size=BATCH)))


def _read(called: str, path: Path, batches: Callable[[np.ndarray], Iterator[int]]) -> None:
    _drop(path)
    x, read, before, start = np.load(path, mmap_mode="r"), 0, _from_disk(), time.monotonic()
    for count in batches(x):
        read += count
        if time.monotonic() - start > READ_FOR:
            break
    speed, fetched = read / (time.monotonic() - start), (_from_disk() - before) / read
    print(f"| {called} | {speed:,.0f} | {speed * x.strides[0] / 2**20:,.1f} | {fetched:,.0f} |", flush=True)


def _from_disk() -> int:
    return int(Path("/proc/self/io").read_text().partition("read_bytes:")[2].split()[0])


def _drop(path: Path) -> None:
    """Makes the machine forget what it keeps of a file in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
