"""The commands that look after a store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackae.cli.options import StoreOption


def verify(store: StoreOption = Path(".stackae")) -> None:
    """Check every file of the finished stages; exit with 1 if one is damaged.

    Reads all of the store against its sha256s and changes nothing.
    """
    from stackae.commands import store as command

    if not command.verify(store):
        raise typer.Exit(1)


def gc(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="More runs to keep, after --keep-runs.", show_default=False),
    ] = None,
    keep_runs: Annotated[
        list[Path] | None,
        typer.Option("--keep-runs", metavar="RUN", help="Remove all stages that these runs do not need."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; remove nothing.")] = False,
    store: StoreOption = Path(".stackae"),
) -> None:
    """Free disk space: remove features, which a run makes again where it needs them.

    With --keep-runs runs/a runs/b, all that only other runs need goes too.
    """
    from stackae.commands import store as command

    if runs and not keep_runs:
        raise typer.BadParameter(f"'{runs[0]}': runs to keep are named after --keep-runs.")
    command.gc(store, [*keep_runs, *(runs or [])] if keep_runs else None, dry_run=dry_run)
