"""The commands for data that nobody has described."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stackae.cli.options import DataArgument, TargetOption


def inspect(data: DataArgument, target: TargetOption = None) -> None:
    """Show what is in data, and what a run would do with it.

    Of a table its columns, of images their size and modes, of arrays their shapes; and the classes.
    """
    from stackae.commands.inspect import inspect as command

    command(data, target)


def init(
    data: DataArgument,
    target: TargetOption = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="The config; named after the data by default."),
    ] = None,
) -> None:
    """Write a config that fits data and runs as it is.

    Finds out separator, header, missing values and types, and refuses to overwrite a file.
    """
    from stackae.commands.init import init as command

    command(data, target, out)
