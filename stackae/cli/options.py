"""The arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print errors only.")]
