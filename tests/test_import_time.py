"""`import stackae` and `stackae --help` answer at once: they load none of the large libraries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY

HEAVY = {"torch", "pytorch_lightning", "lightning", "torchmetrics", "wandb", "sklearn", "scipy"}


def loaded(*arguments: str) -> set[str]:
    """The modules that `python ARGUMENTS` imports, as Python itself reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    ("arguments", "must_be_seen"),
    [
        (("-c", "import stackae"), "stackae"),
        (("-m", "stackae", "--help"), "stackae.cli"),
        (("-m", "stackae", "run", "--help"), "stackae.cli"),
    ],
    ids=["import stackae", "stackae --help", "stackae run --help"],
)
def test_loads_no_large_library(arguments: tuple[str, ...], must_be_seen: str) -> None:
    modules = loaded(*arguments)

    assert must_be_seen in modules  # else the report was not read, and what follows would prove nothing
    assert not {name for name in modules if name.partition(".")[0] in HEAVY}
