"""Label-efficiency curves from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from conftest import Cli

TINY = """\
data: {source: digits}
layers: [{width: 12}]
pretrain: {epochs: 1}
finetune: {epochs: 2}
report: false
tracking: {wandb: disabled}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def stages(folder: Path, name: str) -> list[str]:
    return [path.name for path in (folder / ".stackae").glob(f"{name}-*") if path.is_dir()]


def test_a_curve_pretrains_once_and_repeats_the_rest(folder: Path, cli: Cli) -> None:
    done = cli(["curve", "tiny.yaml", "--labels", "200,50", "--seeds", "2"], folder)

    assert done.returncode == 0, done.stderr
    assert len(stages(folder, "data")) == len(stages(folder, "pretrain")) == 1
    assert (
        len(stages(folder, "finetune")) == len(stages(folder, "scratch")) == len(stages(folder, "probe")) == 4
    )
    out = folder / "runs/tiny-curve"
    with (out / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["labels"], row["repeat"]) for row in rows] == [
        ("50", "0"),
        ("50", "1"),
        ("200", "0"),
        ("200", "1"),
    ]
    for row in rows:
        results = json.loads((out / f"tiny-{row['labels']}-labels-{row['repeat']}/results.json").read_text())
        assert results["data"]["labelled"] == int(row["labels"])
        assert float(row["pretrained_error"]) == results["classifier"]["test"]["error"]
        assert float(row["scratch_error"]) == results["scratch"]["test"]["error"]
        assert float(row["logistic_error"]) == pytest.approx(1 - results["probe"][0]["test"]["accuracy"])
    assert (out / "curve.svg").read_text().startswith("<svg")
    _, fifty, two_hundred, verdict, paths = done.stdout.splitlines()
    assert (fifty.split()[0], two_hundred.split()[0]) == ("50", "200")
    assert verdict.startswith("With 50 labels")
    assert "curve.svg" in paths

    again = cli(["curve", "tiny.yaml", "--labels", "50,200", "--seeds", "2"], folder)
    assert again.stdout == done.stdout
    assert len(stages(folder, "finetune")) == 4


def test_repetitions_share_rows_and_pretraining_and_nothing_after(folder: Path, cli: Cli) -> None:
    for repeat in (0, 1):
        words = ["run", "tiny.yaml", "data.labels=50", f"repeat={repeat}", "--out", f"runs/{repeat}"]
        assert cli(words, folder).returncode == 0
    first, second = (json.loads((folder / f"runs/{repeat}/results.json").read_text()) for repeat in (0, 1))
    keys = [{stage["stage"]: stage["key"] for stage in found["stages"]} for found in (first, second)]
    assert {name for name in keys[0] if keys[0][name] == keys[1][name]} == {"pretrain-1"}
    rows = [(folder / f"runs/{repeat}/test-predictions.csv").read_text().splitlines() for repeat in (0, 1)]
    assert [row.split(",")[:2] for row in rows[0]] == [row.split(",")[:2] for row in rows[1]]
    assert rows[0] != rows[1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--labels", "50,many"], "--labels '50,many': 'many' is no number of labels"),
        (["--labels", ""], "--labels ''"),
        (["--labels", "5"], "data.labels: 5 labels asked for, but there are 10 classes"),
        (["compare.scratch=false"], "set finetune, compare.scratch: true"),
        (["finetune=null"], "set finetune, compare.scratch: true"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(folder: Path, cli: Cli, words: list[str], says: str) -> None:
    done = cli(["curve", "tiny.yaml", *words], folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
