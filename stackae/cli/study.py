"""The commands that study runs: reports, comparisons, curves, searches."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stackae.cli.options import ConfigArgument, JobsOption, OverridesArgument, RunArgument, StoreOption


class Form(StrEnum):
    """The format of a report."""

    html = "html"
    md = "md"


class Map(StrEnum):
    """How codes are placed in the plane."""

    pca = "pca"
    tsne = "tsne"


def report(
    run: RunArgument,
    form: Annotated[Form, typer.Option("--format", help="html, or md with figures beside it.")] = Form.html,
    placed: Annotated[Map, typer.Option("--map", help="How codes are placed in the plane.")] = Map.pca,
    store: StoreOption = Path(".stackae"),
) -> None:
    """Write a finished run's report again, from its stages in the store."""
    from stackae.commands.report import report as command

    typer.echo(command(run, form=form.value, tsne=placed is Map.tsne, store=store))


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN …", help="Run folders.", show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="HTML page with the curves.")
    ] = Path("comparison.html"),
) -> None:
    """Show finished runs side by side, with paired tests where their test rows are the same."""
    from stackae.commands.compare import compare as command

    command(runs, out)


def sync(run: RunArgument) -> None:
    """Upload a run's offline logs to Weights & Biases."""
    from stackae.commands.sync import sync as command

    typer.echo(f"{command(run)} W&B runs uploaded")


def curve(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    labels: Annotated[
        str, typer.Option("--labels", metavar="N,N,…", help="Numbers of labels, as 50,100,300.")
    ] = "50,100,300,1000",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Repetitions with each number.")] = 5,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder; runs/<name>-curve by default.")
    ] = None,
    store: StoreOption = Path(".stackae"),
    jobs: JobsOption = "1",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Show what labels are worth: errors by number of labels, with pretraining and without.

    Pretrains once; repeats fine-tuning, the control and a logistic regression with other labels each time.
    """
    from stackae.commands.curve import curve as command

    command(config, overrides or [], labels, seeds, out=out, store=store, quiet=quiet, jobs=jobs)


def tune(
    config: ConfigArgument,
    space: Annotated[
        Path, typer.Option("--space", metavar="FILE", help="YAML file of keys with ranges or choices.")
    ],
    overrides: OverridesArgument = None,
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trials in all, earlier starts included.")
    ] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder; runs/<name>-tune by default.")
    ] = None,
    store: StoreOption = Path(".stackae"),
    database: Annotated[
        str | None,
        typer.Option(
            "--study",
            metavar="URL",
            help="Database of the study, for several machines; else a file in --out.",
        ),
    ] = None,
    jobs: JobsOption = "1",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Search settings for the least validation error.

    Starting again goes on, and several processes can share one search. Writes the best config as YAML.
    """
    from stackae.commands.tune import tune as command

    command(
        config,
        overrides or [],
        space,
        trials,
        out=out,
        store=store,
        quiet=quiet,
        jobs=jobs,
        database=database,
    )
