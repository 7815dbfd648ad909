"""Rows streamed through a finished model: opened, worked on in chunks, and written as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from stackae.config_file import load_config
from stackae.console import make_console, make_progress
from stackae.errors import ArtifactError, DataError
from stackae.outputs import ColumnNames, RowArrays, apart, check_cells, write_row_arrays

if TYPE_CHECKING:
    from stackae.data.new_rows import NewRows
    from stackae.data.rows import Raw, Rows
    from stackae.model import Model

T = TypeVar("T")

WORKERS = 2
"""Chunks of rows that are worked on at once."""


def open_rows(
    run: Path, data: Sequence[str], *, quiet: bool, keep: Sequence[str] = (), classifies: bool = False
) -> tuple[Model, NewRows]:
    """Open a run's model, and rows read as the run's config reads its source, with columns to keep.

    The model may also be an exported one, or one of the Hub or of W&B. Warns of what reading changed.
    """
    from stackae.data.new_rows import read_rows
    from stackae.model import load, load_reading, located

    folder = located(run)
    model = load(folder)
    if classifies and model.classifier is None:
        raise ArtifactError(f"{run}: trained no classifier; set 'finetune' in its config and run it again")
    config = folder / "config.yaml"
    # A model without its run says itself how its rows are read.
    reading = load_config(config).data if config.exists() else load_reading(folder)
    new = read_rows(data, reading, model.preprocessing, keep)
    for remark in () if quiet else new.remarks:
        make_progress(quiet=True).warn(remark)
    return model, new


def check_keep(out: Path, keep: Sequence[str]) -> None:
    """Raise DataError where columns are to be kept in a file of which the format has none."""
    if keep and out.suffix.lower() in (".npy", ".png"):
        raise DataError(f"--keep: {out} can hold no columns; write .csv, .parquet or .npz, or leave it out")


def write_rows(
    out: Path, names: ColumnNames, new: NewRows, chunks: Iterator[RowArrays], *, only: str | None = None
) -> None:
    """Write results for rows, chunk by chunk, behind where each row stands and what is kept of it.

    `only` is a boolean array among the results: rows for which it is false are left out. A `.npy` file holds
    the one result alone.
    """
    if out.suffix.lower() != ".npy":
        names, chunks = _with_places(out, names, new, chunks)
    if only is not None:
        chunks = (_chosen(chunk, only) for chunk in chunks)
    write_row_arrays(out, names, len(new.rows), chunks)


def _with_places(
    out: Path, names: ColumnNames, new: NewRows, chunks: Iterator[RowArrays]
) -> tuple[ColumnNames, Iterator[RowArrays]]:
    places = {name: [name] for name in new.place(np.arange(0))}
    taken = {*places, *names, *(name for columns in names.values() for name in columns)}
    types = {} if new.kept is None else new.kept.types
    for name, type_ in types.items():
        check_cells(out, name, type_)
    kept = dict(zip(types, apart(types, taken, "_in_file"), strict=True))

    def with_places() -> Iterator[RowArrays]:
        start = 0
        for chunk in chunks:
            stop = start + len(next(iter(chunk.values())))
            cells = {} if new.kept is None else new.kept.next(stop - start)
            yield {
                **new.place(np.arange(start, stop)),
                **{kept[name]: array for name, array in cells.items()},
                **chunk,
            }
            start = stop

    return {**places, **{name: [name] for name in kept.values()}, **names}, with_places()


def _chosen(chunk: RowArrays, only: str) -> RowArrays:
    chosen = np.asarray(chunk[only])
    return {
        name: array[chosen] if isinstance(array, np.ndarray) else array.filter(chosen)
        for name, array in chunk.items()
    }


def map_chunks(rows: Rows, of: Callable[[Raw], T]) -> Iterator[T]:
    """Apply `of` to the rows and yield the results, chunk by chunk in their order.

    Some chunks are worked on while others are read, since neither keeps all cores busy.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for _, raw in rows.chunks():
            waiting.append(pool.submit(of, raw))
            if len(waiting) > 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def worked_on(new: NewRows, of: Callable[[Raw], T], *, quiet: bool) -> Iterator[T]:
    """Apply `of` to the rows and yield the results, chunk by chunk; a terminal shows how far they are."""
    return with_progress(map_chunks(new.rows, of), len(new.rows), quiet=quiet)


def with_progress(chunks: Iterable[Any], rows: int, *, quiet: bool) -> Iterator[Any]:
    """Yield chunks of results for so many rows; a terminal shows how far they are."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = make_console(stderr=True)
    columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("rows"), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=rows)
        for chunk in chunks:
            yield chunk
            bar.advance(task, len(next(iter(chunk.values())) if isinstance(chunk, dict) else chunk))
