"""The command line."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from stackae import __version__, interrupts
from stackae.errors import StackaeError, StorageError, TrackingError, TrainingError
from stackae.memory import ran_out

app = typer.Typer(
    help="Pretrain stacked autoencoders layer by layer, fine-tune them, and see what it was worth.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Form(StrEnum):
    """What a report is written as."""

    html = "html"
    md = "md"


class Map(StrEnum):
    """How codes are placed in the plane."""

    pca = "pca"
    tsne = "tsne"


INTERRUPTED = 128 + signal.SIGINT
# What Typer raises where the words do not fit the commands; of its family it exports this child alone.
USAGE_ERROR: type[typer.BadParameter] = typer.BadParameter.__bases__[0]

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


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"stackae {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


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
    as_json: Annotated[
        bool, typer.Option("--json", help="Print results.json instead of the table, for scripts.")
    ] = False,
) -> None:
    """Carry out a config; running again goes on where it stopped.

    Pretrains layer by layer, stacks, fine-tunes, and compares with the same network trained from scratch.
    """
    from stackae.launch import launch

    results = launch(
        config, overrides or [], out=out, store=store, fresh=fresh, quiet=quiet, show=not as_json
    )
    if as_json:
        typer.echo(results.json(), nl=False)


@app.command()
def plan(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    store: StoreOption = Path(".stackae"),
) -> None:
    """Show what a run would train and what it would reuse.

    Lists the stages with shapes and keys; trains nothing.
    """
    from stackae.launch import preview

    preview(config, overrides or [], store=store)


@app.command()
def report(
    run: RunArgument,
    form: Annotated[Form, typer.Option("--format", help="html, or md with figures beside it.")] = Form.html,
    placed: Annotated[Map, typer.Option("--map", help="How codes are placed in the plane.")] = Map.pca,
    store: StoreOption = Path(".stackae"),
) -> None:
    """Write a finished run's report again, from its stages in the store."""
    from stackae.launch import report_again

    typer.echo(report_again(run, form=form.value, tsne=placed is Map.tsne, store=store))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN …", help="Run folders.", show_default=False)],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="HTML page with the curves.")
    ] = Path("comparison.html"),
) -> None:
    """Show finished runs side by side, with paired tests where their test rows are the same."""
    from stackae.comparing import compare as side_by_side

    side_by_side(runs, out)


@app.command()
def sync(run: RunArgument) -> None:
    """Upload a run's offline logs to Weights & Biases."""
    from stackae.launch import upload_logs

    typer.echo(f"{upload_logs(run)} W&B runs uploaded")


@app.command()
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Show what labels are worth: errors by number of labels, with pretraining and without.

    Pretrains once; repeats fine-tuning, the control and a logistic regression with other labels each time.
    """
    from stackae.curves import trace

    trace(config, overrides or [], labels, seeds, out=out, store=store, quiet=quiet)


@app.command()
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
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Search settings for the least validation error.

    Starting again goes on, and several processes can share one search. Writes the best config as YAML.
    """
    from stackae.tuning import tune as search

    search(config, overrides or [], space, trials, out=out, store=store, quiet=quiet)


@app.command()
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
    from stackae.launch import generate

    generate(run, out, n=n, seed=seed, between=between)


@app.command()
def verify(store: StoreOption = Path(".stackae")) -> None:
    """Check every file of the finished stages; exit with 1 if one is damaged.

    Reads all of the store against its sha256s and changes nothing.
    """
    from stackae import launch

    if not launch.verify(store):
        raise typer.Exit(1)


@app.command()
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
    from stackae import launch

    if runs and not keep_runs:
        raise typer.BadParameter(f"'{runs[0]}': runs to keep are named after --keep-runs.")
    launch.collect(store, [*keep_runs, *(runs or [])] if keep_runs else None, dry_run=dry_run)


@app.command()
def schema() -> None:
    """Print the config's JSON schema, for editors."""
    from stackae.config_file import schema as described

    typer.echo(json.dumps(described(), indent=2))


def main() -> NoReturn:
    """Runs the command line; ends with 0, 2 (the input is at fault), 128 and its number at a signal, or 1.

    After a signal the process ends within two seconds.
    """
    code = 0
    try:
        # Left to itself, Typer spends four lines on a wrong word, and none on Ctrl-C.
        with interrupts.watched(_last_words):
            code = app(prog_name="stackae", standalone_mode=False)
    except interrupts.Stopped as stop:
        interrupts.end(stop.number, _last_words(stop.number))
    except (TrainingError, TrackingError) as fault:
        _fail(fault, 1)
    except StorageError as fault:
        _fail(f"{fault}{_going_on()}", 1)
    except StackaeError as fault:
        _fail(fault, 2)
    except USAGE_ERROR as fault:
        command = fault.ctx.command_path if fault.ctx else "stackae"
        _fail(f"{fault.format_message()} See '{command} --help'.", 2)
    except (OSError, MemoryError, RuntimeError) as fault:
        if ran_out(fault):
            what = f"memory ran out: {str(fault).partition(chr(10))[0]}"
        elif isinstance(fault, OSError):
            what = ": ".join(str(part) for part in (fault.filename, fault.strerror or fault) if part)
        else:
            raise
        _fail(f"{what}{_going_on()}", 1)
    if code == INTERRUPTED:  # Typer's, where the signals are not ours to have
        _fail(_last_words(signal.SIGINT), INTERRUPTED)
    sys.exit(code)


def _last_words(number: int) -> str:
    how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    if sys.argv[1:2] == ["run"] and not interrupts.kept():
        return f"{how}; nothing was finished yet. To start again: {shlex.join(['stackae', *sys.argv[1:]])}"
    return f"{how}{_going_on()}"


def _going_on() -> str:
    """What is kept of a run, if anything, and the command that goes on with it."""
    if not interrupts.kept():
        return ""
    # To start afresh again would throw away what was kept.
    again = shlex.join(["stackae", *(word for word in sys.argv[1:] if word != "--fresh")])
    return f"; kept: {interrupts.kept()}. To go on: {again}"


def _fail(message: object, code: int) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
