"""What a person sees: a progress line per stage, the plan, the table of stages, the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBar
from rich.table import Table

from stackae.progress import NoStageProgress, Progress, StageProgress

if TYPE_CHECKING:
    from stackae.plan import Plan, Planned
    from stackae.results import Results
    from stackae.store import Store
    from stackae.store.housekeeping import Checked, LeftAlone, Removal

NO_TERMINAL_WIDTH = 1000

# The figure shown on a stage's line, the first of these that it has.
SHOWN = ("val_accuracy", "val_reconstruction", "train_loss")


def make_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; elsewhere as wide as it takes to keep each row of a table on one line."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = NO_TERMINAL_WIDTH
    return console


def make_progress(*, quiet: bool) -> Progress:
    """Bars on a terminal, a line per stage elsewhere, warnings alone when quiet."""
    console = make_console(stderr=True)
    if quiet:
        return Quiet(console)
    return Bars(console) if console.is_terminal else Lines(console)


class Quiet:
    """Warnings only."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def stage(self, name: str, steps: int, rows: int = 0, step: str = "epoch") -> Iterator[StageProgress]:
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
    def stage(self, name: str, steps: int, rows: int = 0, step: str = "epoch") -> Iterator[StageProgress]:
        line = _Counted(rows)
        yield line
        parts = (f"{line.done} {step}s", figures(line.metrics), f"{line.seconds:.1f} s", line.rate)
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

    @contextmanager
    def stage(self, name: str, steps: int, rows: int = 0, step: str = "epoch") -> Iterator[StageProgress]:
        columns = (
            TextColumn("{task.description:<11}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(compact=True),
        )
        with RichBar(*columns, console=self._console, transient=False) as bar:
            task = bar.add_task(name, total=steps, text=f"{step} 0/{steps}")
            counted = _Counted(rows)

            class Line:
                def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
                    counted.advance(done, share, metrics)
                    at = min(done + (share > 0), steps)
                    text = ", ".join(filter(None, (f"{step} {at}/{steps}", figures(metrics), counted.rate)))
                    bar.update(task, completed=done + share, text=text)

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

    def __init__(self, rows: int) -> None:
        self._rows, self._started = rows, time.monotonic()
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
    """The training loss and the validation figure that matters, as one short text."""
    parts = [f"loss {metrics['train_loss']:.4g}"] if "train_loss" in metrics else []
    shown = next((name for name in SHOWN if name in metrics and name != "train_loss"), None)
    if shown:
        value = metrics[shown]
        parts.append(f"{shown} {value:.2%}" if shown == "val_accuracy" else f"{shown} {value:.4g}")
    return ", ".join(parts)


def show_plan(plan: Plan, store: Store) -> None:
    """Prints the stages of a plan, with shapes, sizes and keys, and whether the store has them.

    Sizes of stages to come are estimates. Warns where the disk has no room for what is still to be written.
    """
    from stackae.machine.disk import free_at, readable, size_of
    from stackae.stages.disk_use import estimate, to_write

    parts = plan.split
    labelled = int(parts.labelled.sum())
    console = make_console()
    need, free = to_write(plan, store), free_at(store.root)
    console.print(
        f"{plan.config.name}: {len(parts.train):,} training rows ({labelled:,} labelled), "
        f"{len(parts.val):,} validation, {len(parts.test):,} test; precision {plan.hardware.precision}; "
        f"to write: {readable(need)} of {readable(free)} free",
        soft_wrap=True,
    )
    if need > free:
        make_progress(quiet=True).warn(
            f"the run will write {readable(need)} to '{store.root}', where {readable(free)} are free; "
            "free some, with 'stackae gc' for instance, or name another --store"
        )
    names = ("stage", "input", "code", "loss", "epochs", "parameters", "size", "key", "store")
    table = Table(*names, box=None, pad_edge=False)

    def kept(stage: Planned) -> tuple[str, str, str]:
        """The columns on what the store has of a stage."""
        done = store.has(stage.name, stage.key)
        size = size_of(store.folder(stage.name, stage.key)) if done else estimate(plan, stage)
        return readable(size) if done else f"~{readable(size)}", stage.key[:12], "reuse" if done else "train"

    for layer in plan.layers:
        table.add_row(
            layer.stage.name,
            "×".join(map(str, layer.shape)),
            "×".join(map(str, layer.code)),
            layer.loss,
            str(layer.fit.epochs),
            f"{layer.parameters:,}",
            *kept(layer.stage),
        )
    tuned = str(plan.config.finetune.epochs) if plan.config.finetune else ""
    epochs = {"unroll": str(plan.config.unroll.epochs), "finetune": tuned, "scratch": tuned}
    for stage in plan.stages[len(plan.layers) :]:
        taken = epochs.get(stage.name, "")
        table.add_row(stage.name, "", "", "", taken, "", *kept(stage))
    console.print(table)


def show_checked(root: Path, stages: Iterable[Checked]) -> bool:
    """Prints a line for each stage that was checked, and one for all; whether all finished ones are sound."""
    from stackae.machine.disk import readable

    console, counts, total = make_console(), dict.fromkeys(("ok", "damaged", "not finished"), 0), 0
    for stage in stages:
        verdict = "damaged" if stage.damage else "ok" if stage.finished else "not finished"
        counts[verdict], total = counts[verdict] + 1, total + stage.size
        said = f"{verdict}: {stage.damage}" if stage.damage else verdict
        line = ", ".join(filter(None, (f"{stage.folder.name}: {said}", readable(stage.size), stage.remark)))
        console.print(line, markup=False, soft_wrap=True)
    found = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    remedy = "; a run that needs a damaged stage does it again" if counts["damaged"] else ""
    summary = f"{found}, {readable(total)} in '{root}'{remedy}" if found else f"no stages in '{root}'"
    console.print(summary, markup=False, soft_wrap=True)
    return not counts["damaged"]


def show_collected(steps: Iterable[Removal | LeftAlone], *, dry_run: bool) -> None:
    """Prints a line for each removal, and for each stage that was left alone, and how much is freed."""
    from stackae.machine.disk import readable
    from stackae.store.housekeeping import Removal

    console, freed = make_console(), 0
    for step in steps:
        if isinstance(step, Removal):
            freed += step.size
            done = "would remove" if dry_run else "removed"
            line = f"{done} {step.path}, {readable(step.size)}"
        else:
            line = f"left alone {step.folder}: {step.reason}"
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"{readable(freed)} {'would be freed' if dry_run else 'freed'}", markup=False)


def show_results(results: Results, folder: Path) -> None:
    """Prints the table of stages, the test figures, the verdict and where everything lies."""
    console = make_console()
    table = Table("stage", "epochs", "seconds", "figures", box=None, pad_edge=False)
    for stage in results.stages:
        seconds = "reused" if stage["reused"] else f"{stage['seconds']:.1f}"
        table.add_row(
            stage["stage"], str(stage["epochs"] or ""), seconds, _stage_figures(stage["stage"], results)
        )
    console.print(table)
    if results.verdict:
        console.print(results.verdict["text"], soft_wrap=True, style="bold")
    elif results.classifier:
        console.print(f"Test error {results.classifier['test']['error']:.2%}.", style="bold")
    written = {"report": "report.html", "results": "results.json", "model": "model"}
    found = [f"{name} in {folder / path}" for name, path in written.items() if (folder / path).exists()]
    text = ", ".join(found)
    console.print(f"{text[0].upper()}{text[1:]}.", soft_wrap=True)


def _stage_figures(name: str, results: Results) -> str:
    part = {"finetune": results.classifier, "scratch": results.scratch}.get(name)
    if part is not None:
        test = part["test"]
        return f"test {test['accuracy']:.2%}, macro-F1 {test['macro_f1']:.2%}, NLL {test['nll']:.3f}"
    if name == "probe":
        depths = (f"{found['test']['accuracy']:.2%}" for found in results.probe)
        return "test by depth " + ", ".join(depths)
    metrics = next(stage["metrics"] for stage in results.stages if stage["stage"] == name)
    return (
        f"error ratio {metrics['reconstruction_ratio']:.3f}, effective rank {metrics['effective_rank']:.0f}"
    )


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows of texts under their columns' names."""
    made = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        made.add_row(*row)
    make_console().print(made)


def show_lines(*lines: str) -> None:
    """Prints lines of text, however long."""
    console = make_console()
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
