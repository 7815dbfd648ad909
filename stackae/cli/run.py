"""The commands that carry out a config, and those that help with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from stackae.cli.options import ConfigArgument, JobsOption, OverridesArgument, StoreOption


def run(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; runs/<name> by default.")
    ] = None,
    store: StoreOption = Path(".stackae"),
    repeat: Annotated[
        int | None,
        typer.Option(
            "--repeat", metavar="N", min=1, help="Repetitions for the verdict: other labels, other starts."
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train every stage anew, whatever the store has.")
    ] = False,
    jobs: JobsOption = "1",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print results.json instead of the table, for scripts.")
    ] = False,
) -> None:
    """Carry out a config; running again goes on where it stopped.

    Pretrains layer by layer, stacks, fine-tunes, and compares with the same network trained from scratch.
    """
    from stackae.commands.run import run as command

    words = [*(overrides or []), *([] if repeat is None else [f"repeats={repeat}"])]
    results = command(
        config, words, out=out, store=store, fresh=fresh, quiet=quiet, show=not as_json, jobs=jobs
    )
    from stackae.ranks.place import leads

    if as_json and leads():
        typer.echo(results.json(), nl=False)


def plan(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = Path(".stackae"),
) -> None:
    """Show what a run would train and what it would reuse.

    Lists the stages with shapes and keys; trains nothing.
    """
    from stackae.commands.plan import plan as command

    command(config, overrides or [], store=store)


def schema() -> None:
    """Print the config's JSON schema, for editors."""
    from stackae.config_file import schema as described

    typer.echo(json.dumps(described(), indent=2))
