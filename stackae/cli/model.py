"""The commands that use a finished run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from stackae.cli.options import KeepOption, ModelArgument, QuietOption, RowsArgument, RunArgument


def predict(
    run: ModelArgument,
    data: RowsArgument,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help=".csv, .parquet or .npz; - prints CSV."),
    ],
    keep: KeepOption = None,
    only_flagged: Annotated[
        bool, typer.Option("--only-flagged", help="Write only rows that are unlike the training data.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Write the class of each row.

    With probabilities, and whether and why the row is unlike the training data.
    """
    from stackae.commands.predict import predict as command

    command(run, data, out, keep=_columns(keep), only_flagged=only_flagged, quiet=quiet)


def encode(
    run: ModelArgument,
    data: RowsArgument,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help=".npy, .npz, .parquet or .csv; - prints CSV."),
    ],
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer", metavar="N|all", help="After which layer, from 1; the last by default, or all."
        ),
    ] = None,
    with_input: Annotated[
        bool, typer.Option("--with-input", help="Put the columns, as preprocessed, in front of the codes.")
    ] = False,
    keep: KeepOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write the pretrained features of each row."""
    from stackae.commands.encode import encode as command

    depth, kept = _depth(layer), _columns(keep)
    command(run, data, out, layer=depth, with_input=with_input, keep=kept, quiet=quiet)


def reconstruct(
    run: ModelArgument,
    data: RowsArgument,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help=".csv, .parquet, .npy or .npz; - prints CSV; .png draws images.",
        ),
    ],
    keep: KeepOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write how badly each row is reconstructed.

    The error is a score of how unusual a row is.
    To a .png the first images are drawn above their reconstructions.
    """
    from stackae.commands.reconstruct import reconstruct as command

    command(run, data, out, keep=_columns(keep), quiet=quiet)


def evaluate(
    run: ModelArgument,
    data: RowsArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the confusion matrix.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Show how well a run classifies labelled rows."""
    from stackae.commands.evaluate import evaluate as command
    from stackae.commands.evaluate import show_figures

    figures = command(run, data, quiet=quiet)
    if as_json:
        typer.echo(json.dumps(figures, indent=1))
    else:
        show_figures(figures)


def sample(
    run: RunArgument,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help=".png for images, else .npy, .npz or .csv."),
    ],
    n: Annotated[int, typer.Option("-n", min=1, help="How many rows.")] = 64,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
    between: Annotated[
        tuple[int, int] | None,
        typer.Option(
            "--between", metavar="ROW ROW", help="Go from one test row's code to another's instead."
        ),
    ] = None,
) -> None:
    """Generate rows with a run whose last layer is variational."""
    from stackae.commands.sample import sample as command

    command(run, out, n=n, seed=seed, between=between)


def export(
    run: RunArgument,
    to: Annotated[
        Literal["onnx", "torch", "hf"],
        typer.Option("--to", help="ONNX, a program of torch.export, or a folder for the Hugging Face Hub."),
    ],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="PATH", help="An .onnx file, a .pt2 file, or a new folder."),
    ],
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="REPO", help="Upload the folder to the Hub; a new REPO is private."),
    ] = None,
) -> None:
    """Write the model for use elsewhere.

    ONNX files and torch programs take rows as they are and preprocess them within.
    """
    from stackae.export import export as command

    command(run, to, out, push=push)


def _depth(layer: str | None) -> int | Literal["all"] | None:
    if layer is None or layer == "all":
        return "all" if layer else None
    if not layer.isdecimal():
        raise typer.BadParameter(f"'{layer}' is neither a layer's number nor 'all'", param_hint="--layer")
    return int(layer)


def _columns(keep: str | None) -> list[str]:
    """Return the names in a list with commas; one that has a comma in it stands in quotes."""
    if keep is None:
        return []
    names = [name.strip() for name in next(csv.reader([keep], skipinitialspace=True), [])]
    if not all(names) or not names:
        raise typer.BadParameter(f"'{keep}' is not a list of names, as id,name", param_hint="--keep")
    return names
