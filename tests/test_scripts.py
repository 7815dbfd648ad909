"""The scripts that the documents name start and do their work, in a small form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import REPOSITORY


def carry_out(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_benchmark_prints_a_row_for_each_layer_and_batch() -> None:
    printed = carry_out(
        "scripts/bench.py", "step", "--rows", "300", "--rounds", "1", "--precision", "32-true"
    )
    rows = [line for line in printed.splitlines() if line.startswith(("| 64-32", "| 784-1000"))]
    assert len(rows) == 4


def test_the_benchmark_of_memory_prints_a_row_and_leaves_nothing(tmp_path: Path) -> None:
    printed = carry_out("scripts/bench.py", "memory", "--folder", tmp_path, "--rows", "1000")
    row = next(line for line in printed.splitlines() if line.startswith("| 1,000 |"))
    assert 0.05 < float(row.split("|")[4].split()[0]) < 1.5
    assert not list(tmp_path.iterdir())


def test_an_experiment_writes_its_section_and_its_picture(tmp_path: Path) -> None:
    folders = ("--docs", tmp_path / "docs", "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    carry_out(
        "scripts/reproduce.py",
        "toy_bits",
        "tracking.wandb=disabled",
        "unroll.epochs=2",
        "report=false",
        *folders,
    )
    text = (tmp_path / "docs" / "experiments.md").read_text()
    assert "<!-- toy_bits -->" in text
    assert (tmp_path / "docs" / "pictures" / "toy_bits.png").stat().st_size > 1000


def test_an_example_compares_with_others_on_the_same_rows(tmp_path: Path, data_root: Path) -> None:
    folders = ("--docs", tmp_path / "docs", "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    small = (
        "layers.*.width=8 pretrain.epochs=1 finetune.epochs=1 data.image_size=[4,4] tracking.wandb=disabled"
    )
    carry_out(
        "scripts/examples.py", "cifar10_sample", "--seeds", "1", *small.split(), "report=false", *folders
    )
    text = (tmp_path / "docs" / "cifar10_sample.md").read_text()
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert {"stackae, pretrained", "the same network from scratch", "random forest, 300 trees"} < set(rows)
