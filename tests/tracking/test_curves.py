"""The label curve in trackers: what `stackae curve` logs, read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from faults.forked import carry_out
from test_wandb import offline_runs, read_back

from stackae.tracking.tracker import make_tracker

pytestmark = pytest.mark.usefixtures("own_wandb")

TINY = """\
data: {source: digits}
layers: [{width: 12}]
pretrain: {epochs: 1}
finetune: {epochs: 2}
compare: {baselines: [svm]}
tracking: {wandb: offline}
"""


def test_a_curve_is_a_plot_in_a_run_of_its_own_and_once_only(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    out = tmp_path / "runs/tiny-curve"
    for _ in range(2):
        done = carry_out(["curve", "tiny.yaml", "--labels", "50,200", "--seeds", "2"], tmp_path)
        assert done.returncode == 0, done.stderr

    (file,) = offline_runs(out)
    records = read_back(file)
    (run,) = records["run"]
    assert (run["run_group"], run["job_type"]) == ("tiny-curve", "curve")
    assert run["config"]["update"]["layers"][0]["width"] == 12
    (path,) = (out / "wandb").rglob("label_curve_table_*.table.json")
    table = json.loads(path.read_text())
    places = [table["columns"].index(name) for name in ("lineKey", "step", "lineVal")]
    cells = ([row[place] for place in places] for row in table["data"])
    found = {(line, labels): error for line, labels, error in cells}
    with (out / "curve.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    lines = ["pretrained", "scratch", "logistic", "baseline", "svm"]
    assert {line for line, _ in found} >= set(lines)
    for line in lines:
        for labels in (50, 200):
            errors = [float(row[f"{line}_error"]) for row in rows if row["labels"] == str(labels)]
            assert found[line, labels] == pytest.approx(sum(errors) / 2)


def test_a_curve_is_figures_whose_step_is_the_number_of_labels(tmp_path: Path) -> None:
    warnings: list[str] = []
    tracker = make_tracker(
        "disabled",
        project="p",
        entity=None,
        group="g",
        folder=tmp_path,
        warn=warnings.append,
        loggers=("csv",),
    )
    tracker.curve({}, {"pretrained": {50: 0.25, 100: 0.125}, "baseline": {100: 0.5}})
    assert warnings == []
    with (tmp_path / "csv/run/metrics.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["step"], row["pretrained_error"], row["baseline_error"]) for row in rows] == [
        ("50", "0.25", ""),
        ("100", "0.125", "0.5"),
    ]
