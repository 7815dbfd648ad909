"""What all tests share: one thread, no W&B account, the real data sets, the command line in two ways."""

from __future__ import annotations

import os

# Torch reads these when it is imported, so they come first.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import contextlib
import io
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parent.parent
# The files that take longest, so that no worker is left alone with one at the end.
FIRST = [
    *("test_wandb", "test_stopping", "test_configs", "test_export", "test_estimator"),
    *("test_whole_runs", "test_scripts", "test_pipeline_kinds", "test_faults", "test_generated_input"),
    *("test_memory", "test_tune", "test_hostile_files", "test_page", "test_housekeeping"),
    *("test_disk", "test_init", "test_readme", "test_cli", "test_resume"),
    *("test_pipeline_tables", "test_bad_input", "test_row_stream"),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the slow files first; a file's tests stay in their order."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


class RunCli(Protocol):
    def __call__(
        self,
        args: Sequence[str | Path],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the user's W&B account, caches and settings out of the tests, and torch on one thread."""
    # Jobs in the background start with Ctrl-C ignored, and those of `nohup` with SIGHUP; so would the
    # processes that they start.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("WANDB_", "XDG_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("NETRC", str(home / "netrc"))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of the real data sets; skips the test where there is none."""
    given = os.environ.get("STACKAE_DATA")
    if not given:
        pytest.skip("STACKAE_DATA is not set: it names the folder of the real data sets")
    root = Path(given)
    if not root.is_dir():
        pytest.fail(f"STACKAE_DATA={given!r} is not a folder: correct it, or unset it to skip these tests")
    return root


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """Runs `stackae ARGS` in a process of its own, of this checkout, and returns its code and output.

    `env` is added to this process's environment. A run that exceeds `timeout` seconds is killed with all its
    children, and `subprocess.TimeoutExpired` is raised.
    """

    def run(
        args: Sequence[str | Path],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stackae", *map(str, args)]
        with subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                # W&B's own process would otherwise outlive the run and hold its pipes open.
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    return run


class Cli(Protocol):
    def __call__(self, args: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs `stackae ARGS` within this process, so without the seconds that importing torch takes.

    What the command line does not catch itself, is raised here.
    """

    def run(args: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
        from stackae.cli import main

        words = ["stackae", *map(str, args)]
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(cwd),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", words)
            with pytest.raises(SystemExit) as ended:
                main()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return subprocess.CompletedProcess(words, code or 0, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def own_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A W&B without the user's key, settings and caches, started anew for each test."""
    import wandb

    wandb.teardown()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "")  # remembered, so that it is as before afterwards
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    yield
    wandb.teardown()
