"""Rows streamed through a finished model: opened, worked on in chunks, and written as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from stackae.config_file import load_config
from stackae.console import make_console, make_progress
from stackae.errors import ArtifactError
from stackae.outputs import Found, Names, write_found

if TYPE_CHECKING:
    from stackae.data.new_rows import NewRows
    from stackae.data.rows import Raw, Rows
    from stackae.model import Model

T = TypeVar("T")

WORKERS = 2
"""Chunks of rows that are worked on at once."""


def open_rows(run: Path, data: str, *, quiet: bool, classifies: bool = False) -> tuple[Model, NewRows]:
    """Open a run's model, and rows read as the run's config reads its source; warn of what that changed."""
    from stackae.data.new_rows import read_rows
    from stackae.model import load

    model = load(run)
    if classifies and model.classifier is None:
        raise ArtifactError(f"{run}: trained no classifier; set 'finetune' in its config and run it again")
    new = read_rows(data, load_config(run / "config.yaml").data, model.preprocessing)
    for remark in () if quiet else new.remarks:
        make_progress(quiet=True).warn(remark)
    return model, new


def write_columns(out: Path, names: Names, new: NewRows, of: Callable[[Raw], Found], *, quiet: bool) -> None:
    """Apply `of` to the rows and write the results, chunk by chunk, behind the names of images' files."""
    chunks = with_progress(map_chunks(new.rows, of), len(new.rows), quiet=quiet)
    if out.suffix.lower() != ".npy":  # it holds one array
        names, chunks = file_column(new) | dict(names), with_files(chunks, new)
    write_found(out, names, len(new.rows), chunks)


def file_column(new: NewRows) -> dict[str, list[str]]:
    """Return the column in which images have the names of their files; other rows have none."""
    return {} if new.files is None else {"file": ["file"]}


def with_files(chunks: Iterator[Found], new: NewRows) -> Iterator[Found]:
    """Yield chunks of results, with the names of the images' files in front."""
    start = 0
    # One width for all chunks, as they become one array.
    widest = max(map(len, new.files or ()), default=0)
    for chunk in chunks:
        size = len(next(iter(chunk.values())))
        if new.files is not None:
            chunk = {"file": np.array(new.files[start : start + size], f"U{widest}"), **chunk}
        yield chunk
        start += size


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
