"""The scripts that the documents name start and do their work, in a small form."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY
from faults import forked
from typer.testing import CliRunner

AS_A_SCRIPT = """
import runpy, sys
sys.path.insert(0, "scripts")
runpy.run_path("scripts/bench.py", run_name="__main__")
"""


@pytest.fixture
def carry_out(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Does a script's work in this process, so without the seconds that importing takes."""
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    monkeypatch.chdir(REPOSITORY)

    def carry_out(script: str, *words: str | Path) -> str:
        app = importlib.import_module(script).app
        done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    return carry_out


LAYERS = ["64-32", "64-32", "784-1000", "784-1000"]


def test_the_benchmark_prints_a_row_for_each_layer_and_batch() -> None:
    words = ["step", "--rows", "300", "--rounds", "1", "--precision", "32-true"]
    done = forked.carry_out(words, REPOSITORY, program=AS_A_SCRIPT)
    assert done.returncode == 0, done.stderr
    printed = done.stdout
    rows = [
        line.split("|")[1].strip() for line in printed.splitlines() if line.startswith(("| pre", "| fine"))
    ]
    assert rows == [f"{what} {layer}" for layer in LAYERS for what in ("pretrain", "finetune")]


def test_the_benchmark_of_memory_prints_a_row_and_leaves_nothing(
    tmp_path: Path, carry_out: Callable[..., str]
) -> None:
    printed = carry_out("bench", "memory", "--folder", tmp_path, "--rows", "1000")
    row = next(line for line in printed.splitlines() if line.startswith("| 1,000 |"))
    assert 0.05 < float(row.split("|")[4].split()[0]) < 1.5
    assert not list(tmp_path.iterdir())


def test_an_experiment_writes_its_section_and_its_picture(
    tmp_path: Path, carry_out: Callable[..., str]
) -> None:
    folders = ("--docs", tmp_path / "docs", "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    carry_out(
        "reproduce",
        "toy_bits",
        "tracking.wandb=disabled",
        "unroll.epochs=2",
        "report=false",
        *folders,
    )
    text = (tmp_path / "docs" / "experiments.md").read_text()
    assert "<!-- toy_bits -->" in text
    assert (tmp_path / "docs" / "pictures" / "toy_bits.png").stat().st_size > 1000


def test_an_example_compares_with_others_on_the_same_rows(
    tmp_path: Path, data_root: Path, carry_out: Callable[..., str]
) -> None:
    folders = ("--docs", tmp_path / "docs", "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    small = (
        "layers.*.width=8 pretrain.epochs=1 finetune.epochs=1 data.image_size=[4,4] tracking.wandb=disabled"
    )
    carry_out("examples", "cifar10_sample", "--seeds", "1", *small.split(), "report=false", *folders)
    text = (tmp_path / "docs" / "cifar10_sample.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert {"stackae, pretrained", "the same network from scratch", "random forest, 300 trees"} < set(rows)
