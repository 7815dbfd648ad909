"""The command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from stackae import __version__
from stackae.errors import StackaeError, TrainingError

app = typer.Typer(
    help="Pretrain stacked autoencoders layer by layer, fine-tune them, and see what it was worth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.", show_default=False)
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Changes to the config, as layers.0.width=500.", show_default=False
    ),
]
StoreOption = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder of finished stages.")]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"stackae {__version__}")
        raise typer.Exit


@app.command()
def run(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The run's folder; runs/<name> by default.")
    ] = None,
    store: StoreOption = Path(".stackae"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train every stage anew, whatever the store has.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Carry out a config: pretrain, stack, fine-tune, compare with scratch. Running again resumes."""
    from stackae.launch import launch

    launch(config, overrides or [], out=out, store=store, fresh=fresh, quiet=quiet)


@app.command()
def plan(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = Path(".stackae"),
) -> None:
    """Show a config's stages with shapes and keys, and which of them the store has; train nothing."""
    from stackae.launch import preview

    preview(config, overrides or [], store=store)


@app.command()
def schema() -> None:
    """Print the config's JSON schema, for editors."""
    from stackae.config_file import schema as described

    typer.echo(json.dumps(described(), indent=2))


def main() -> None:
    """Runs the command line; ends with 0, 2 (the input is at fault), 130 (interrupted) or 1."""
    try:
        app()
    except TrainingError as fault:
        _fail(fault, 1)
    except StackaeError as fault:
        _fail(fault, 2)
    except KeyboardInterrupt:
        again = " ".join(["stackae", *sys.argv[1:]])
        _fail(f"interrupted; what was done is kept. To go on: {again}", 130)


def _fail(message: object, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
