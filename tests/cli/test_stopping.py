"""Runs that are stopped, killed or fail: what they end with, what they say, and how they go on."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from conftest import REPOSITORY, Cli
from faults.forked import Forked, forked
from scripted import SLURM
from test_cli import TINY, lasting, results, reused, weights

from stackae.commands import run
from stackae.errors import StorageError
from stackae.machine import signals

SHORT = ["run", "tiny.yaml"]
LONG = [*SHORT, "layers.1.epochs=20"]

# Programs that are the command line, but for one function, which leaves a file `reached`.
IN_A_FIT = """
import pathlib, time
from stackae.machine import signals
from stackae.cli import main
from stackae.tasks import PretrainTask

# A safe point is waited for, however busy the machine is.
signals.PATIENCE, signals.LIMIT = 30, 40
loss = PretrainTask.loss

def slow(self, batch):
    if batch.epoch >= 3:  # of the second layer: the first has two
        pathlib.Path("reached").touch()
        time.sleep(0.01)  # leaves time to be stopped in
    return loss(self, batch)

PretrainTask.loss = slow
main()
"""
BUSY = """
import hashlib, pathlib, time
from stackae.cli import main
import {module} as module

def busy(*given, **named):
    pathlib.Path("reached").touch()
    {doing}

module.{function} = busy
main()
"""
# The first hears of signals, the second does not: it is C code that takes hours.
SLEEPS, COMPUTES = "time.sleep(3600)", "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "tiny.yaml").write_text(TINY)
    assert cli(LONG, folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def uninterrupted_short(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "tiny.yaml").write_text(TINY)
    assert cli(SHORT, folder).returncode == 0
    return folder


def wait_for(pattern: str, folder: Path, process: Forked) -> None:
    """Returns as soon as the run has written a file of this pattern."""
    while not list(folder.glob(pattern)):
        assert not process.ended(), process.printed()
        time.sleep(0.005)


def stop(
    program: str, args: list[str], folder: Path, number: int, env: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Sends a run a signal when it has reached its point: its exit code, and the lines it printed."""
    (folder / "tiny.yaml").write_text(TINY)
    with forked(args, folder, env, program) as process:
        wait_for("reached", folder, process)
        os.kill(process.pid, number)
        code = process.wait(60)
        out, err = process.printed()
    assert out == ""
    return code, err.splitlines()


def go_on(last: str, folder: Path, cli: Cli) -> list[str]:
    """Runs the command that a stopped run has printed, and returns what that prints."""
    done = cli(shlex.split(last.partition("To go on: stackae ")[2]), folder)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


# ---- signals


@pytest.mark.parametrize(
    ("number", "how", "env"),
    [
        (signal.SIGINT, "interrupted", {}),
        (signal.SIGTERM, "stopped by SIGTERM", {}),
        (signal.SIGUSR1, "stopped by SIGUSR1", SLURM),
    ],
)
def test_a_signal_in_a_fit_ends_it_at_a_checkpoint_and_the_printed_command_goes_on_to_the_same_bits(
    number: int, how: str, env: dict[str, str], uninterrupted: Path, tmp_path: Path, cli: Cli
) -> None:
    code, (first, last) = stop(IN_A_FIT, [*LONG, "--fresh"], tmp_path, number, env)

    assert code == 128 + number
    assert first.startswith("pretrain-1: ")
    place = r"(epoch \d+, batch \d+|the end of epoch \d+)"
    kept = re.fullmatch(
        rf"{how}; kept: data, pretrain-1, and pretrain-2 up to {place}\. "
        r"To go on: stackae run tiny\.yaml layers\.1\.epochs=20",
        last,
    )
    assert kept, last
    assert list(tmp_path.glob(".stackae/pretrain-2-*/checkpoint.ckpt"))
    assert not (tmp_path / "runs").exists()
    lines = go_on(last, tmp_path, cli)
    assert f"pretrain-2: goes on from {kept[1]}" in lines
    assert reused(tmp_path) == {"pretrain-1"}
    assert weights(tmp_path) == weights(uninterrupted)
    assert lasting(results(tmp_path)) == lasting(results(uninterrupted))
    assert not list(tmp_path.rglob("checkpoint*"))


@pytest.mark.parametrize(("doing", "number"), [(SLEEPS, signal.SIGINT), (COMPUTES, signal.SIGTERM)])
def test_a_signal_while_features_are_written_ends_it_too(
    doing: str, number: int, uninterrupted_short: Path, tmp_path: Path, cli: Cli
) -> None:
    program = BUSY.format(module="stackae.data.features", function="encode", doing=doing)
    code, (_, last) = stop(program, [*SHORT, "trainer.autosave=0"], tmp_path, number)

    assert code == 128 + number
    assert "; kept: data, and pretrain-1 up to the end of epoch 2. To go on: stackae run tiny.yaml " in last
    assert go_on(last, tmp_path, cli)[:2] == ["data: reused", "pretrain-1: goes on from the end of epoch 2"]
    assert weights(tmp_path) == weights(uninterrupted_short)


def test_where_nothing_is_kept_that_is_said(tmp_path: Path) -> None:
    program = BUSY.format(module="stackae.commands.run", function="run", doing=SLEEPS)
    code, lines = stop(program, ["run", "tiny.yaml", "--fresh"], tmp_path, signal.SIGHUP)

    assert code == 129
    assert lines == [
        "stopped by SIGHUP; nothing was finished yet. To start again: stackae run tiny.yaml --fresh"
    ]


def test_other_commands_have_nothing_to_go_on_with(tmp_path: Path) -> None:
    program = BUSY.format(module="stackae.config_file", function="schema", doing=COMPUTES)

    assert stop(program, ["schema"], tmp_path, signal.SIGINT) == (130, ["interrupted"])


def test_a_killed_run_goes_on_to_the_same_bits(uninterrupted: Path, tmp_path: Path, cli: Cli) -> None:
    words = [*LONG, "trainer.autosave=0"]
    (tmp_path / "tiny.yaml").write_text(TINY)
    with forked(words, tmp_path, program=IN_A_FIT) as process:
        wait_for(".stackae/pretrain-2-*/checkpoint.ckpt", tmp_path, process)
        process.kill()
        assert process.wait() == -signal.SIGKILL

    assert not list(tmp_path.glob(".stackae/pretrain-2-*/manifest.json"))
    done = cli(LONG, tmp_path)
    assert done.returncode == 0, done.stderr
    assert reused(tmp_path) == {"pretrain-1"}
    assert weights(tmp_path) == weights(uninterrupted)
    assert lasting(results(tmp_path)) == lasting(results(uninterrupted))
    assert not list(tmp_path.rglob("checkpoint*"))


# ---- failures


def full() -> NoReturn:
    raise OSError(28, "No space left on device", "/data/store")


def unnamed() -> NoReturn:
    raise OSError("cannot do that")


def storage() -> NoReturn:
    raise StorageError("/data/store: the disk is full")


def later() -> NoReturn:
    signals.keep("data")
    raise StorageError("/data/store: the disk is full")


def memory() -> NoReturn:
    np.zeros(2**59)
    raise AssertionError


@pytest.mark.parametrize(
    ("fail", "line"),
    [
        (full, "/data/store: No space left on device"),
        (unnamed, "cannot do that"),
        (storage, "/data/store: the disk is full"),
        (later, "/data/store: the disk is full; kept: data. To go on: stackae run tiny.yaml"),
        (memory, "memory ran out: Unable to allocate 4.00 EiB for an array with shape "),
    ],
)
def test_what_the_machine_refuses_is_one_line(
    fail: object, line: str, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run", lambda *given, **named: fail())  # type: ignore[operator]
    done = cli(["run", "tiny.yaml"], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said == line or (fail is memory and said.startswith(line))


def test_a_mistake_of_our_own_keeps_its_traceback(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **named: object) -> NoReturn:
        raise RuntimeError("a bug")

    monkeypatch.setattr(run, "run", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli(["run", "tiny.yaml"], tmp_path)


def test_whoever_reads_no_further_is_told_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "stackae", "schema"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1
