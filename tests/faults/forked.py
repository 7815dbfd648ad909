"""Processes forked from one that has imported the libraries, which would take each of them seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

PATIENCE = 240.0
LIBRARIES = ["pytorch_lightning", "sklearn.linear_model", "scipy.stats", "typer", "pydantic", "ruamel.yaml"]
COMMAND_LINE = "from stackae.cli import main; main()"


def context() -> ForkServerContext:
    """What starts such processes."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(LIBRARIES)
    return made


class Forked:
    """A process that was forked to call something, with what it prints in files."""

    def __init__(self, call: Callable[..., object], *given: Any, output: tuple[Path, Path]) -> None:
        self.output = output
        self._process = context().Process(target=_live, args=(call, given, output))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def ended(self) -> bool:
        return self._process.exitcode is not None

    def wait(self, patience: float = PATIENCE) -> int:
        """Its exit code, or the signal that ended it, negative; TimeoutError where it goes on and on."""
        self._process.join(patience)
        code = self._process.exitcode
        if code is None:
            self.kill()
            raise TimeoutError(f"still running after {patience:g} s; it printed: {self.printed()}")
        return code

    def kill(self) -> None:
        """Ends it and the processes that it started, W&B's own among them."""
        self._process.kill()  # before it leads a group, it is in none that could be ended
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def printed(self) -> tuple[str, str]:
        out, err = (path.read_text(encoding="utf-8") for path in self.output)
        return out, err


@contextmanager
def forked(
    words: Sequence[str | Path],
    folder: Path,
    env: Mapping[str, str] | None = None,
    program: str = COMMAND_LINE,
) -> Iterator[Forked]:
    """`python -c PROGRAM WORDS` in a folder, with `env` beside the environment; ends with the block."""
    with tempfile.TemporaryDirectory() as made:
        process = Forked(
            _carry_out,
            *(program, [*map(str, words)], folder, {**os.environ, "NO_COLOR": "1", **(env or {})}),
            output=(Path(made) / "out", Path(made) / "err"),
        )
        try:
            yield process
        finally:
            process.kill()


def carry_out(
    words: Sequence[str | Path],
    folder: Path,
    env: Mapping[str, str] | None = None,
    program: str = COMMAND_LINE,
) -> subprocess.CompletedProcess[str]:
    """The same to its end."""
    with forked(words, folder, env, program) as process:
        code = process.wait()
        return subprocess.CompletedProcess([*map(str, words)], code, *process.printed())


def _live(call: Callable[..., object], given: Sequence[Any], output: tuple[Path, Path]) -> None:
    os.setsid()
    for stream, path in zip((1, 2), output, strict=True):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, stream)
        os.close(handle)
    call(*given)


def _carry_out(program: str, words: list[str], folder: Path, env: dict[str, str]) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["-c", *words]
    exec(program, {"__name__": "__main__"})
