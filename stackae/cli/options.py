"""The arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.", show_default=False)
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Changes to the config, as layers.0.width=500.", show_default=False
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, an exported one, USER/NAME on the Hub, or wandb:ENTITY/PROJECT/NAME:ALIAS.",
        show_default=False,
    ),
]
StoreOption = Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder of finished stages.")]
RowsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Files, folders, globs or URLs of rows, of the form that the run learnt from.",
        show_default=False,
    ),
]
KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="COLUMNS",
        help="Columns of the table to write beside, as id,name, as they stand in it.",
    ),
]
DataArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...",
        help="Tables, a folder or a glob of them, a URL, arrays, or a folder of images.",
        show_default=False,
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="The column of a table with the labels; of images a .csv with their files and labels.",
    ),
]


def _jobs(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise typer.BadParameter(f"'{text}' is no number of jobs; write a number from 1, or auto.")


JobsOption = Annotated[
    Any,
    typer.Option(
        "--jobs",
        metavar="N",
        parser=_jobs,
        help="Processes that work side by side, where they need not wait for each other; auto: one per core.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
