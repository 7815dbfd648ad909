"""`stackae plan`: what a run would train, and what it would find done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from stackae.config_file import load_config
from stackae.console import make_console, make_progress
from stackae.machine.disk import check_folder, free_at, readable, size_of

if TYPE_CHECKING:
    from stackae.plan import Plan, Stage
    from stackae.store import Store


def plan(config: str | Path, overrides: Sequence[str], *, store: str | Path) -> None:
    """Show what a run would do and what it would find done."""
    settings = load_config(config, overrides)
    check_folder("store", Path(store))
    from stackae.data.read import read_source
    from stackae.plan import make_plans
    from stackae.store import Store

    plans = make_plans(settings, read_source(settings.data))
    show_plan(plans, Store(Path(store), make_progress(quiet=False).warn))


def show_plan(repetitions: Sequence[Plan], store: Store) -> None:
    """Print the stages of a run's repetitions, with shapes, sizes, keys, and whether the store has them.

    Sizes of stages to come are estimates. Warns where the disk has no room for what is still to be written.
    """
    from stackae.data.label_use import in_words
    from stackae.stage_context import called
    from stackae.stages.disk_use import to_write

    plan, *others = repetitions
    parts = plan.split
    labels = "no labels" if plan.labels is None else in_words(plan.labels.counts)
    over = f"{len(repetitions)} repetitions; " if others else ""
    console = make_console()
    need, free = to_write(repetitions, store), free_at(store.root)
    console.print(
        f"{plan.config.name}: {len(parts.train):,} training, {len(parts.val):,} validation and "
        f"{len(parts.test):,} test rows; {labels}; {over}precision {plan.hardware.precision}; "
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

    def store_columns(stage: Stage) -> tuple[str, str, str]:
        """Return the columns `size`, `key` and `store` of a stage."""
        done = store.has(stage.name, stage.key)
        size = size_of(store.folder(stage.name, stage.key)) if done else stage.size()
        return readable(size) if done else f"~{readable(size)}", stage.key[:12], "reuse" if done else "train"

    for layer in plan.layers:
        table.add_row(
            layer.stage.name,
            "×".join(map(str, layer.shape)),
            "×".join(map(str, layer.code)),
            layer.loss,
            str(layer.fit.epochs),
            f"{layer.parameters:,}",
            *store_columns(layer.stage),
        )
    named = [(stage.name, stage) for stage in plan.stages[len(plan.layers) :]]
    for each in others:
        repeat = each.config.repeat
        named += [(called(stage.name, repeat), stage) for stage in each.labelled.in_order]
    for name, stage in named:
        epochs = "" if stage.epochs is None else str(stage.epochs)
        table.add_row(name, "", "", "", epochs, "", *store_columns(stage))
    console.print(table)
