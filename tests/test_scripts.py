"""The scripts that the documents name start and do their work, in a small form."""

from __future__ import annotations

import importlib
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from faults import forked
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from stackae.machine.hardware import Hardware

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


def test_the_benchmarks_of_encoding_and_of_peers_have_a_row_for_each_layer(
    carry_out: Callable[..., str],
) -> None:
    encoded = carry_out("bench", "encode", "--rows", "500", "--rounds", "1").splitlines()
    assert [line.split("|")[1].strip() for line in encoded[2:]] == ["64-32", "784-1000"]
    printed = carry_out("bench", "peers", "--rows", "300", "--rounds", "1").splitlines()
    ours = [line.split("|")[2].strip() for line in printed if line.startswith("| ours")]
    assert ours == ["64-32", "784-1000"]


def test_the_benchmark_of_predictions_has_a_row_for_each_part(carry_out: Callable[..., str]) -> None:
    printed = carry_out("bench", "predict", "--rows", "200", "--rounds", "1")
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert rows[1:] == [
        "predict, with flags, CSV to CSV",
        "of which checking the file",
        "predict rows in memory, with flags",
        "read once and predict, without flags",
    ]


def test_the_benchmark_of_scale_prints_each_stage_and_leaves_nothing(
    tmp_path: Path, carry_out: Callable[..., str]
) -> None:
    words = ("scale", "--folder", tmp_path, "--rows", "300", "--columns", "20", "--gib", "0.001")
    rows = [line.split("|")[1].strip() for line in carry_out("bench", *words).splitlines() if "|" in line]
    stages = ["data", "pretrain-1", "pretrain-2", "finetune"]
    assert [row for row in rows if row in stages] == stages
    assert {"encode", "predict, with flags", "at random, asked for ahead"} <= set(rows)
    assert not list(tmp_path.iterdir())


def test_the_benchmark_of_a_device_needs_one() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    done = forked.carry_out(["gpu"], REPOSITORY, program=AS_A_SCRIPT)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no CUDA device")
    assert done.stderr.count("\n") == 1


def test_the_benchmark_of_a_device_counts_what_is_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "scripts")
    bench_gpu, bench_step = (importlib.import_module(name) for name in ("bench_gpu", "bench_step"))
    hardware = Hardware("cpu", "auto", "32-true", 1)
    case = bench_step.Case(24, 16, 10, tmp_path, hardware)
    case.write(40)
    meter = bench_step.Rounds({}, time.monotonic)
    with FlopCounterMode(display=False) as counter:
        bench_step.fit_ours(case, 1, meter)
    assert counter.get_total_flops() == 2 * bench_gpu.epoch_flops(24, 16, 40)

    (made,) = bench_gpu.table(hardware, [bench_gpu.Load(24, 16, 10, 40, 2)], 64)
    assert made["steps/s"] == pytest.approx(4 / made["seconds"])
    assert made["flop/s"] == pytest.approx(bench_gpu.epoch_flops(24, 16, 40) / made["seconds"])
    assert made["share"] > 0
    assert "| pretrain 24-16 | 10 |" in capsys.readouterr().out


def test_an_experiment_writes_its_section_and_its_picture(
    tmp_path: Path, carry_out: Callable[..., str]
) -> None:
    folders = ("--docs", tmp_path / "docs", "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    carry_out(
        "reproduce",
        "toy_bits",
        "tracking.wandb=disabled",
        "report=false",
        "--quick",
        *folders,
    )
    # What has learnt for an epoch must not take the place of what is documented.
    assert not (tmp_path / "docs").exists()
    docs = tmp_path / "runs" / "docs"
    text = (docs / "experiments.md").read_text()
    assert "<!-- toy_bits -->" in text
    assert (docs / "pictures" / "toy_bits.png").stat().st_size > 1000
    results = json.loads((tmp_path / "runs" / "toy_bits" / "results.json").read_text())
    assert results["stages"][-1]["epochs"] == 1
    told = json.loads((docs / "experiments.json").read_text())["toy_bits"]
    assert told["seeds"] == [0]
    assert [cell in text for row in told["rows"] for cell in row.values()].count(False) == 0


def test_codes_are_measured_once_and_their_tables_made_of_all_lines(
    tmp_path: Path, data_root: Path, carry_out: Callable[..., str]
) -> None:
    folders = ("--docs", tmp_path, "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    features = importlib.import_module("features")
    classifiers = ("logistic regression", "extra trees")
    cells = itertools.product(features.LABELS, range(3), classifiers, features.FEATURES)
    known = [
        {"set": "adult", "labels": labels, "repetition": at, "classifier": classifier, "features": of}
        | {"width": 1, "rows": 1, "accuracy": 0.5, "strength": None}
        for labels, at, classifier, of in cells
        if (labels, at, classifier, of) != ("10 per class", 2, "extra trees", "columns")
    ]
    log = tmp_path / "features.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in known))

    small = ("--set", "layers.*.width=8", "--set", "pretrain.epochs=1")
    carry_out("features", "adult", *small, *folders)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[:-1] == known
    new = lines[-1]
    assert (new["width"], new["rows"], new["repetition"]) == (108, 20, 2)
    assert 0.5 < new["accuracy"] < 0.9
    found = (1 + new["accuracy"]) / 3
    assert (
        f"| columns | **{found:.2%}** | **50.00%** | **50.00%** |" in (tmp_path / "features.md").read_text()
    )


def test_an_example_compares_with_others_on_the_same_rows(
    tmp_path: Path, data_root: Path, carry_out: Callable[..., str]
) -> None:
    folders = ("--docs", tmp_path / "docs", "--store", tmp_path / "store", "--runs", tmp_path / "runs")
    (tmp_path / "docs").mkdir()
    small = "layers.*.width=8 pretrain.epochs=1 finetune.epochs=1 data.image_size=[4,4]"
    changes = [word for change in small.split() for word in ("--override", change)]
    words = ["cifar10_sample", "--labels", "10", "--repeats", "1", *changes, *folders]
    printed = carry_out("examples", *words)
    assert len(printed.splitlines()) == 1
    text = (tmp_path / "docs" / "few_labels.md").read_text()
    assert "default: 10 labels of each class" in text
    assert "| cifar10_sample (1) |" in text
    assert "extra trees | logistic regression | svm" in text

    assert carry_out("examples", *words) == ""
    lines = (tmp_path / "docs" / "few_labels.jsonl").read_text().splitlines()
    assert [json.loads(line)["repeat"] for line in lines] == [0]
