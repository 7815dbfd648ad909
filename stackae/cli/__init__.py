"""The command line."""

from __future__ import annotations

import shlex
import signal
import sys
from typing import Annotated, NoReturn

import typer

from stackae.cli import data, model, run, store, study
from stackae.errors import StackaeError, StorageError, TrackingError, TrainingError
from stackae.machine import signals
from stackae.machine.memory import ran_out
from stackae.ranks.place import leads
from stackae.version import VERSION

app = typer.Typer(
    help="Pretrain stacked autoencoders layer by layer, fine-tune them, and see what it was worth.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (
    data.inspect,
    data.init,
    run.plan,
    run.run,
    model.predict,
    model.evaluate,
    model.encode,
    model.reconstruct,
    model.sample,
    model.export,
    study.report,
    study.compare,
    study.curve,
    study.tune,
    study.sync,
    store.verify,
    store.gc,
    run.schema,
):
    app.command()(_command)

INTERRUPTED = 128 + signal.SIGINT
# What Typer raises where the words do not fit the commands; of its family it exports this child alone.
USAGE_ERROR: type[typer.BadParameter] = typer.BadParameter.__bases__[0]


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"stackae {VERSION}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def main() -> NoReturn:
    """Run the command line; end with 0, 2 (the input is at fault), 128 and its number at a signal, or 1.

    After a signal the process ends within two seconds.
    """
    code = 0
    try:
        # Left to itself, Typer spends four lines on a wrong word, and none on Ctrl-C.
        with signals.watched(_last_words):
            code = app(prog_name="stackae", standalone_mode=False)
    except signals.Stopped as stop:
        signals.end(stop.number, _last_words(stop.number))
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
            cause = f"memory ran out: {str(fault).partition(chr(10))[0]}"
        elif isinstance(fault, OSError):
            cause = ": ".join(str(part) for part in (fault.filename, fault.strerror or fault) if part)
        else:
            raise
        _fail(f"{cause}{_going_on()}", 1)
    if code == INTERRUPTED:  # Typer's, where the signals are not ours to have
        _fail(_last_words(signal.SIGINT), INTERRUPTED)
    sys.exit(code)


def _last_words(number: int) -> str:
    if not leads():
        return ""
    how = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    if sys.argv[1:2] == ["run"] and not signals.kept():
        return f"{how}; nothing was finished yet. To start again: {shlex.join(['stackae', *sys.argv[1:]])}"
    return f"{how}{_going_on()}"


def _going_on() -> str:
    """Say what is kept of a run, if anything, and the command that goes on with it."""
    if not signals.kept():
        return ""
    # To start afresh again would throw away what was kept.
    again = shlex.join(["stackae", *(word for word in sys.argv[1:] if word != "--fresh")])
    return f"; kept: {signals.kept()}. To go on: {again}"


def _fail(message: object, code: int) -> NoReturn:
    if leads():
        print(message, file=sys.stderr)
    sys.exit(code)
