"""A verdict over repetitions: each is the run that `repeat` names, and the evidence is over all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from faults.forked import carry_out
from scipy.stats import ttest_rel

TINY = """\
data: {source: digits, labels: 80}
layers: [{width: 12}]
pretrain: {epochs: 1}
finetune: {epochs: 12}
compare: {baselines: [logistic_regression, svm]}
report: false
tracking: {wandb: disabled}
"""
LABELLED = ["finetune", "scratch", "probe", "baselines"]
# The command line, but for the third repetition's control, which kills the process.
KILLED = """
import os, signal
from stackae import stage_runner
from stackae.cli import main

scratch = stage_runner.WORK["scratch"]

def deadly(context, plan, entries):
    if plan.config.repeat == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return scratch(context, plan, entries)

stage_runner.WORK["scratch"] = deadly
main()
"""


def results_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """Three repetitions in `runs/tiny`; each by itself, with another store, in `runs/0`, `1` and `2`."""
    made = tmp_path_factory.mktemp("repeated")
    (made / "tiny.yaml").write_text(TINY)
    done = cli(["run", "tiny.yaml", "--repeat", "3"], made)
    assert done.returncode == 0, done.stderr
    (made / "stdout").write_text(done.stdout)
    (made / "stderr").write_text(done.stderr)
    for number in range(3):
        words = ["run", "tiny.yaml", f"repeat={number}", "--out", f"runs/{number}", "--store", "apart"]
        assert cli(words, made).returncode == 0
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_each_repetition_is_the_run_that_its_number_names(folder: Path) -> None:
    found = results_of(folder / "runs/tiny")
    assert [each["repeat"] for each in found["repetitions"]] == [0, 1, 2]
    for number, each in enumerate(found["repetitions"]):
        alone = results_of(folder / f"runs/{number}")
        assert alone["repetitions"] == []
        for name in ("classifier", "scratch"):
            for split in ("val", "test"):
                assert each[name][split].items() <= alone[name][split].items()
        assert each["probe"] == alone["probe"]
        assert [one["test"]["error"] for one in each["baselines"]] == [
            one["test"]["error"] for one in alone["baselines"]
        ]
        assert (each["gain"], each["ci95"], each["p"]) == tuple(
            alone["verdict"][name] for name in ("gain", "ci95", "p")
        )
        keys = {stage["stage"]: stage["key"] for stage in alone["stages"]}
        assert {stage["stage"]: stage["key"] for stage in each["stages"]} == {
            name: keys[name] for name in LABELLED
        }


def test_the_run_keeps_the_first_repetition(folder: Path) -> None:
    first, alone = folder / "runs/tiny", folder / "runs/0"
    for path in [*(alone / "model").glob("*.safetensors"), alone / "test-predictions.csv"]:
        assert (first / path.relative_to(alone)).read_bytes() == path.read_bytes()
    found, other = results_of(first), results_of(alone)
    for name in ("data", "probe", "classifier", "scratch", "baselines", "reconstruction"):
        assert found[name] == other[name]


def test_the_verdict_is_the_paired_t_test_of_the_repetitions(folder: Path) -> None:
    alone = [results_of(folder / f"runs/{number}") for number in range(3)]
    ours, control = ([run[name]["test"]["accuracy"] for run in alone] for name in ("classifier", "scratch"))
    expected = ttest_rel(ours, control)
    verdict = results_of(folder / "runs/tiny")["verdict"]
    assert verdict["gain"] == pytest.approx(np.mean(ours) - np.mean(control))
    assert verdict["ci95"] == pytest.approx(list(expected.confidence_interval(0.95)), rel=1e-4)
    assert verdict["p"] == pytest.approx(expected.pvalue, rel=1e-4)
    assert "over 3 repetitions" in verdict["text"]
    vals = {
        (name, on): np.mean(
            [one["val"]["accuracy"] for run in alone for one in run["baselines"]
             if (one["name"], one["on"]) == (name, on)]
        )
        for name, on in {(one["name"], one["on"]) for one in alone[0]["baselines"]}
    }  # fmt: skip
    best = verdict["baseline"]
    assert best["val"]["baseline"] == pytest.approx(max(vals.values()))
    assert vals[best["name"], best["on"]] == max(vals.values())
    assert best["val"]["stack"] == pytest.approx(np.mean([r["classifier"]["val"]["accuracy"] for r in alone]))


def test_what_is_printed_names_the_repetitions(folder: Path) -> None:
    said = [line.partition(":")[0] for line in (folder / "stderr").read_text().splitlines()]
    others = [f"{stage}-repeat-{number}" for number in (1, 2) for stage in LABELLED]
    assert [name for name in said if name != "warning"] == ["pretrain-1", *LABELLED, *others]
    lines = (folder / "stdout").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("repetition"))
    errors = [results_of(folder / f"runs/{number}")["classifier"]["test"]["error"] for number in range(3)]
    shown = [line.split()[:2] for line in lines[start + 1 : start + 5]]
    assert shown == [
        *([str(number), f"{100 * error:.2f}"] for number, error in enumerate(errors)),
        ["mean", f"{100 * np.mean(errors):.2f}"],
    ]
    assert results_of(folder / "runs/tiny")["verdict"]["text"] in lines


def test_all_stages_are_found_again_and_more_repetitions_go_on(copy: Path, cli: Cli) -> None:
    done = cli(["run", "tiny.yaml", "repeats=4", "--out", "runs/four"], copy)
    assert done.returncode == 0, done.stderr
    found = results_of(copy / "runs/four")
    assert all(stage["reused"] for stage in found["stages"])
    reused = [[stage["reused"] for stage in each["stages"]] for each in found["repetitions"]]
    assert reused == [[True] * 4, [True] * 4, [True] * 4, [False] * 4]
    assert found["repetitions"][1]["gain"] == results_of(copy / "runs/tiny")["repetitions"][1]["gain"]

    planned = cli(["plan", "tiny.yaml", "repeats=5"], copy)
    rows = {line.split()[0]: line.split()[-1] for line in planned.stdout.splitlines()}
    assert "; 5 repetitions; " in planned.stdout
    assert (rows["finetune-repeat-3"], rows["finetune-repeat-4"]) == ("reuse", "train")


def test_a_run_killed_in_its_third_repetition_goes_on_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ["run", "tiny.yaml", "--repeat", "3"]
    assert carry_out(words, tmp_path, program=KILLED).returncode == -9
    assert not (tmp_path / "runs/tiny/results.json").exists()

    done = carry_out(words, tmp_path)
    assert done.returncode == 0, done.stderr
    reused = [line.partition(":")[0] for line in done.stderr.splitlines() if line.endswith(": reused")]
    others = [f"{stage}-repeat-1" for stage in LABELLED]
    assert reused == ["data", "pretrain-1", *LABELLED, *others, "finetune-repeat-2"]
    found, expected = results_of(tmp_path / "runs/tiny"), results_of(folder / "runs/tiny")
    assert found["verdict"] == expected["verdict"]
    for one, other in zip(found["repetitions"], expected["repetitions"], strict=True):
        assert one | {"stages": []} == other | {"stages": []}


def test_anew_pretrains_once(copy: Path, cli: Cli) -> None:
    done = cli(["run", "tiny.yaml", "--repeat", "2", "--fresh", "compare.baselines=none"], copy)
    assert done.returncode == 0, done.stderr
    said = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert said.count("pretrain-1") == 1
    assert "finetune-repeat-1" in said
    assert "reused" not in done.stderr


def test_gc_keeps_what_the_repetitions_need(copy: Path, cli: Cli) -> None:
    done = cli(["gc", "--keep-runs", "runs/tiny"], copy)
    assert done.returncode == 0, done.stderr
    again = cli(["run", "tiny.yaml", "--repeat", "3"], copy)
    assert [line for line in again.stderr.splitlines() if "reused" not in line] == []


def test_the_report_shows_them_and_is_drawn_anew_where_they_change(copy: Path, cli: Cli) -> None:
    for repeats in (3, 2):
        done = cli(["run", "tiny.yaml", f"repeats={repeats}", "report=true"], copy)
        assert done.returncode == 0, done.stderr
        page = (copy / "runs/tiny/report.html").read_text()
        assert "<h2>Repetitions</h2>" in page
        assert f"mean of {repeats} repetitions" in page
        assert "paired t-test" in page
        assert results_of(copy / "runs/tiny")["verdict"]["text"] in page
    (copy / "runs/tiny/report.html").unlink()
    assert cli(["report", "runs/tiny"], copy).returncode == 0
    assert (copy / "runs/tiny/report.html").read_text() == page


def test_compared_are_the_means(copy: Path, cli: Cli) -> None:
    done = cli(["compare", "runs/tiny", "runs/0"], copy)
    assert done.returncode == 0, done.stderr
    mean = np.mean([results_of(copy / f"runs/{n}")["classifier"]["test"]["error"] for n in range(3)])
    assert f" {100 * mean:.2f} % " in done.stdout.splitlines()[1]
    assert "tiny: means of 3 repetitions" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["finetune=null", "--repeat", "5"], "repeats: 5 asks for repetitions of fine-tuning"),
        (["repeats=0"], "repeats"),
    ],
)
def test_what_cannot_be_repeated_is_one_line(folder: Path, cli: Cli, words: list[str], says: str) -> None:
    done = cli(["run", "tiny.yaml", *words, "--out", "runs/none"], folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
