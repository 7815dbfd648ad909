"""Stages side by side end with the bits of stages one after the other, in one display, at one signal."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from faults.forked import carry_out, forked

TINY = """\
data: {source: digits, labels: 200}
layers: [{width: 24, activation: leaky_relu}, {width: 12, activation: leaky_relu}]
pretrain: {epochs: 2}
finetune: {epochs: 4, validation: {share: 0.3}, blend: svm}
compare: {baselines: [svm, logistic_regression]}
tracking: {wandb: disabled}
trainer: {accelerator: cpu, threads: 1}
report: false
"""
STAGES = [
    *("pretrain-1", "pretrain-2", "length", "finetune", "scratch-length", "scratch", "probe"),
    *("baselines", "blend"),
]


def written(folder: Path) -> dict[str, str]:
    """The sha256 of all that stages computed."""
    paths = [path for pattern in ("*.npy", "*.safetensors") for path in folder.glob(f".stackae/*/{pattern}")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    (folder / "tiny.yaml").write_text(TINY)
    done = cli(["run", "tiny.yaml"], folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_stages_side_by_side_end_with_the_same_bits_and_are_reused_afterwards(
    alone: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = carry_out(["run", "tiny.yaml", "--jobs", "3"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path) == written(alone)
    told = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert sorted(told) == sorted(STAGES)
    results = json.loads((tmp_path / "runs/tiny/results.json").read_text())
    assert [stage["stage"] for stage in results["stages"]] == STAGES
    assert not any(stage["reused"] for stage in results["stages"])

    again = carry_out(["run", "tiny.yaml", "--jobs", "2", "--quiet", "--json"], tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert all(stage["reused"] for stage in json.loads(again.stdout)["stages"])


def figures(folder: Path) -> dict[str, Any]:
    """What `results.json` says, but for the seconds that stages took."""
    results: dict[str, Any] = json.loads((folder / "runs/tiny/results.json").read_text())
    for part in (results, *results["repetitions"]):
        for stage in part["stages"]:
            stage["seconds"] = None
    return results


def test_repetitions_side_by_side_end_with_the_same_figures_and_bits(tmp_path: Path) -> None:
    words = ["run", "tiny.yaml", "finetune.blend=none", "compare.baselines=none", "--repeat", "2"]
    told = {}
    for jobs in ("1", "2"):
        folder = tmp_path / jobs
        folder.mkdir()
        (folder / "tiny.yaml").write_text(TINY)
        done = carry_out([*words, "--jobs", jobs], folder)
        assert done.returncode == 0, done.stderr
        told[jobs] = sorted(line.partition(":")[0] for line in done.stderr.splitlines())
    alone, beside = tmp_path / "1", tmp_path / "2"
    assert told["2"] == told["1"]
    assert told["2"].count("pretrain-1") == 1
    assert "finetune-repeat-1" in told["2"]
    assert figures(beside) == figures(alone)
    assert len(figures(beside)["repetitions"]) == 2
    assert written(beside) == written(alone)
    models = [sorted(folder.glob("runs/tiny/model/*.safetensors")) for folder in (alone, beside)]
    assert models[0]
    assert [path.name for path in models[0]] == [path.name for path in models[1]]
    for one, other in zip(*models, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_signal_stops_all_at_safe_points_and_what_is_kept_is_said(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    long = ["pretrain.epochs=5000", "finetune.epochs=5000", "trainer.autosave=0"]
    with forked(["run", "tiny.yaml", *long, "--jobs", "2"], tmp_path) as process:
        while len(list(tmp_path.glob(".stackae/*/checkpoint.ckpt"))) < 2:
            assert not process.ended(), process.printed()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGTERM)
        code = process.wait(60)
        _, said = process.printed()
    assert code == 128 + signal.SIGTERM
    last = said.splitlines()[-1]
    place = r"up to (?:epoch \d+, batch \d+|the end of epoch \d+)"
    assert re.search(rf"kept: data, .* {place}, and .* {place}\. To go on: stackae run .* --jobs 2$", last), (
        said
    )
    assert "pretrain-1 up to" in last
    assert "scratch-length up to" in last


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for a process of Linux")
def test_a_terminals_interrupt_while_libraries_are_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "stackae", "run", "tiny.yaml", "--jobs", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not _imports(process.pid):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        # As a terminal does: all of its group hear of it.
        os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines() == [
        "interrupted; nothing was finished yet. To start again: stackae run tiny.yaml --jobs 2"
    ]


def _imports(pid: int) -> bool:
    """Whether the process that jobs are forked from, a child of a process, has begun to import torch."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(
        "forkserver" in Path(f"/proc/{child}/cmdline").read_text()
        and "libtorch_cpu" in Path(f"/proc/{child}/maps").read_text()
        for child in children
    )


def test_a_stage_that_fails_ends_the_run_in_its_line(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = carry_out(["run", "tiny.yaml", "layers.1.lr=1e30", "--jobs", "2"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("pretrain-2: ")
    assert "Traceback" not in done.stderr


def test_a_curve_obtains_what_its_runs_share_once(tmp_path: Path) -> None:
    fewer = ["finetune.blend=none", "compare.baselines=none"]
    words = ["curve", "tiny.yaml", *fewer, "--labels", "40", "--seeds", "2", "--quiet"]
    found = []
    for jobs in ("1", "2"):
        folder = tmp_path / jobs
        folder.mkdir()
        (folder / "tiny.yaml").write_text(TINY)
        done = carry_out([*words, "--jobs", jobs], folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        found.append((written(folder), (folder / "runs/tiny-curve/curve.csv").read_text()))
    assert found[0] == found[1]


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_number_of_jobs_that_is_none_is_refused(jobs: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = cli(["run", "tiny.yaml", "--jobs", jobs], tmp_path)
    assert done.returncode == 2
    assert f"'{jobs}' is no number of jobs" in done.stderr
