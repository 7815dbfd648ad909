"""The progress of a run on the terminal: a bar or a line per stage, warnings, tables."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar
from rich.table import Table

from stackae.progress import NoStageProgress, Progress, StageProgress

NO_TERMINAL_WIDTH = 1000

# The figure shown on a stage's line, the first of these that it has.
SHOWN = ("val_accuracy", "val_reconstruction", "train_loss")


def make_console(*, stderr: bool = False) -> Console:
    """Make a console as wide as the terminal; elsewhere so wide that each row of a table is one line."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = NO_TERMINAL_WIDTH
    return console


def make_progress(*, quiet: bool) -> Progress:
    """Show bars on a terminal, a line per stage elsewhere, warnings alone when quiet."""
    console = make_console(stderr=True)
    if quiet:
        return Quiet(console)
    return Bars(console) if console.is_terminal else Lines(console)


class Quiet:
    """Warnings only."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[StageProgress]:
        yield NoStageProgress()

    def reused(self, name: str) -> None:
        pass

    def restored(self, name: str) -> None:
        pass

    def resumed(self, name: str, place: str) -> None:
        pass

    def warn(self, line: str) -> None:
        self._console.print(f"warning: {line}", style="yellow", markup=False, soft_wrap=True)


class Lines:
    """One plain line per stage, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[StageProgress]:
        line = _Counted(rows, threads)
        yield line
        parts = (
            f"{line.done} {step}s",
            figures(line.metrics),
            f"{line.seconds:.1f} s",
            line.rate,
            line.threads,
        )
        self._print(f"{name}: " + ", ".join(filter(None, parts)))

    def reused(self, name: str) -> None:
        self._print(f"{name}: reused")

    def restored(self, name: str) -> None:
        self._print(f"{name}: features made again")

    def resumed(self, name: str, place: str) -> None:
        self._print(f"{name}: goes on from {place}")

    def warn(self, line: str) -> None:
        self._print(f"warning: {line}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


class Bars(Quiet):
    """A live bar per stage: epoch, figures, rows per second, time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        # Of stages that go on side by side: a terminal has one live display.
        self._bar: RichBar | None = None
        self._going = 0

    @contextmanager
    def _live(self) -> Iterator[RichBar]:
        if self._bar is None:
            columns = (
                TextColumn("{task.description:<11}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(compact=True),
            )
            self._bar = RichBar(*columns, console=self._console, transient=False)
            self._bar.start()
        self._going += 1
        try:
            yield self._bar
        finally:
            self._going -= 1
            if not self._going:
                self._bar.stop()
                self._bar = None

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[StageProgress]:
        with self._live() as bar:
            task = bar.add_task(name, total=steps, text=f"{step} 0/{steps}")
            counted = _Counted(rows, threads)

            class Line:
                def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
                    counted.advance(done, share, metrics)
                    step_number = min(done + (share > 0), steps)
                    parts = (
                        *(f"{step} {step_number}/{steps}", figures(metrics)),
                        *(counted.rate, counted.threads),
                    )
                    bar.update(task, completed=done + share, text=", ".join(filter(None, parts)))

            yield Line()
            # A stage that stopped early is done all the same.
            bar.update(task, total=max(counted.done, 1), completed=max(counted.done, 1))

    def reused(self, name: str) -> None:
        self._console.print(f"{name:<11} reused", markup=False)

    def restored(self, name: str) -> None:
        self._console.print(f"{name:<11} features made again", markup=False)

    def resumed(self, name: str, place: str) -> None:
        self._console.print(f"{name:<11} goes on from {place}", markup=False)


class _Counted:
    """Counts steps and rows per second."""

    def __init__(self, rows: int, threads: int) -> None:
        self._rows, self._started = rows, time.monotonic()
        self.threads = f"{threads} thread{'s' * (threads > 1)}" if threads else ""
        self._first: int | None = None
        self._here = 0.0
        self.done, self.metrics = 0, dict[str, float]()

    def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
        # A resumed stage starts with steps that this process did not do.
        if self._first is None:
            self._first = done if share else done - 1
        self.done, self._here, self.metrics = done, done + share - self._first, dict(metrics)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    @property
    def rate(self) -> str:
        return f"{self._here * self._rows / max(self.seconds, 1e-9):,.0f} rows/s" if self._rows else ""


def figures(metrics: Mapping[str, float]) -> str:
    """Write the training loss and the validation figure that matters as one short string."""
    parts = [f"loss {metrics['train_loss']:.4g}"] if "train_loss" in metrics else []
    shown = next((name for name in SHOWN if name in metrics and name != "train_loss"), None)
    if shown:
        value = metrics[shown]
        parts.append(f"{shown} {value:.2%}" if shown == "val_accuracy" else f"{shown} {value:.4g}")
    return ", ".join(parts)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of strings under their columns' names."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    make_console().print(table, markup=False)


def show_lines(*lines: str) -> None:
    """Print lines of text, however long."""
    console = make_console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
