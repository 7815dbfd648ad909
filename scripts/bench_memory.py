"""How much memory a run takes: `python scripts/bench.py memory`. Linux only."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.lib.format import open_memmap

from stackae.config import Config
from stackae.data.rows import CHUNK
from stackae.pipeline import run
from stackae.progress import NoProgress, NoStageProgress
from stackae.store import Store
from stackae.tracking.tracker import NullTracker

FEATURES, CLASSES = 784, 10
MOST = 1.5
"""GiB of private memory that a run of any number of rows may take."""


def memory(
    folder: Annotated[Path, typer.Option(help="Where to write the rows and the store; all is removed.")],
    rows: Annotated[list[int] | None, typer.Option(help="Rows; may be given several times.")] = None,
    dtype: Annotated[str, typer.Option(help="Of the rows on disk: uint8 or float32.")] = "uint8",
) -> None:
    """Measures the private memory of runs on .npy files of 784 features, from reading to the last stage.

    A layer of 32 units is pretrained for one epoch, fine-tuned for one, compared with scratch and probed.
    """
    print(f"| rows of {dtype} | source | store | peak private memory (target: at most {MOST} GiB) | in | s |")
    print("|---|---|---|---|---|---|", flush=True)
    for count in rows or (1_000_000, 2_000_000):
        with tempfile.TemporaryDirectory(dir=folder) as made:
            _write(Path(made), count, np.dtype(dtype))
            # In a process of its own, which no run before has left memory in.
            with ProcessPoolExecutor(1, get_context("forkserver")) as pool:
                peak, stage, seconds = pool.submit(_carry_out, Path(made)).result()
            source, store = (_size(Path(made) / name) for name in ("x.npy", "store"))
        print(
            f"| {count:,} | {source:.1f} GiB | {store:.1f} GiB | {peak:.2f} GiB | {stage} | {seconds:.0f} |",
            flush=True,
        )


def _write(folder: Path, rows: int, dtype: np.dtype[Any]) -> None:
    """Writes rows around one of ten directions, and which it is."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, rows)
    middles = rng.random((CLASSES, FEATURES), dtype=np.float32)
    x = open_memmap(folder / "x.npy", mode="w+", dtype=dtype, shape=(rows, FEATURES))
    for at in range(0, rows, CHUNK):
        here = y[at : at + CHUNK]
        made = (middles[here] + rng.random((len(here), FEATURES), dtype=np.float32)) / 2
        x[at : at + CHUNK] = made * 255 if dtype == np.uint8 else made
    x.flush()
    np.save(folder / "y.npy", y)


def _carry_out(folder: Path) -> tuple[float, str, float]:
    """Peak private memory in GiB, the stage in which it was, and the seconds that all stages took."""
    config = Config.model_validate(
        {
            "data": {"source": str(folder / "x.npy"), "target": str(folder / "y.npy")},
            "layers": [{"width": 32}],
            "pretrain": {"epochs": 1, "batch_size": 1000},
            "finetune": {"epochs": 1, "batch_size": 1000},
        }
    )
    watch, began = Watch(), time.monotonic()
    with watch.watching():
        run(config, Store(folder / "store", print), NullTracker(), watch, out=folder / "run")
    return watch.peak / 2**20, watch.at, time.monotonic() - began


class Watch(NoProgress):
    """Notes the largest private memory of this process, and the stage before or in which it was."""

    def __init__(self) -> None:
        self.peak, self.at, self._stage = 0, "", "data"
        self._ended = threading.Event()

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[NoStageProgress]:
        self._stage = name
        yield NoStageProgress()

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            status = Path("/proc/self/status").read_text()
            now = int(status.partition("RssAnon:")[2].split()[0])  # KiB
            if now > self.peak:
                self.peak, self.at = now, self._stage


def _size(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**30
