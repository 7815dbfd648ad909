"""The reference of a run's results names what a run has written, and nothing else."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, Cli
from documents import Section, named, sections

# Layers with every term that a loss can have, a table, whose preprocessing is fitted, and every stage.
EVERYTHING = """
data: {source: rows.csv, target: label}
repeats: 2
layers:
  - {kind: sparse, width: 6, penalties: [{type: kl}, {type: l1}, {type: contractive}]}
  - {kind: rbm, width: 5}
  - {kind: variational, width: 4}
pretrain: {epochs: 1}
unroll: {epochs: 1}
finetune: {epochs: 1, patience: 9, validation: {share: 0.2}, blend: svm, semi_supervised: {type: ladder}}
compare: {baselines: [extra_trees, logistic_regression, svm, boosting, label_spreading]}
tracking: {wandb: disabled}
"""
SECTIONS = {section.title: section for section in sections(REPOSITORY / "docs" / "results.md")}
TITLES = list(SECTIONS)
IN_JSON = TITLES[TITLES.index("`results.json`") : TITLES.index("`metrics/<stage>.csv`")]
# Nothing is tracked here; tests/tracking sees to it.
NOT_HERE = {"wandb/"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """The folder of a run that did everything."""
    folder = tmp_path_factory.mktemp("everything")
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"a": rng.random(120), "b": rng.choice([*"xyz"], 120), "label": [*"pqr"] * 40})
    rows.to_csv(folder / "rows.csv", index=False)
    (folder / "all.yaml").write_text(EVERYTHING)
    done = cli(["run", "all.yaml"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "all"


def paths(value: Any, place: str = "") -> Iterator[str]:
    """The places of all plain values: keys after dots, entries of lists as `[]`."""
    match value:
        case dict():
            for name, each in value.items():
                yield from paths(each, f"{place}.{name}" if place else name)
        case []:
            yield place
        case list():
            for each in value:
                yield from paths(each, f"{place}[]")
        case _:
            yield place


def documented() -> set[str]:
    """The places that the page names: below `results.json` itself, or below what a heading names."""
    found: set[str] = set()
    for title in IN_JSON:
        own = [""] if title == "`results.json`" else [f"{name}." for name in title.strip("`").split("`, `")]
        found |= {f"{place}{name}" for place, name in product(own, named(SECTIONS[title].text))}
    return found


def columns(section: Section) -> set[str]:
    return set(named(section.text))


def header(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def test_every_field_of_the_results_is_documented_and_every_documented_one_is_there(run: Path) -> None:
    found = set(paths(json.loads((run / "results.json").read_text())))

    # What has fields of its own is named once more where it may be null.
    within = {name for name in documented() if any(place.startswith(f"{name}.") for place in found)}
    assert within == {
        "classifier",
        "scratch",
        "labels_alone",
        "blend",
        "calibration",
        "importance",
        "verdict",
        "verdict.baseline",
    }
    assert documented() - within == found


def test_what_may_be_null_is_said_to_be(run: Path, cli: Cli) -> None:
    again = run.parent.parent
    words = ["run", "all.yaml", "finetune=null", "repeats=1", "--out", "none", "--quiet"]
    assert cli(words, again).returncode == 0

    results = json.loads((again / "none" / "results.json").read_text())
    assert {name for name, value in results.items() if value is None} == {
        *("classifier", "scratch", "labels_alone", "blend", "calibration", "importance", "verdict")
    }
    assert header(again / "none" / "test-predictions.csv") == ["row", "class"]
    assert not (again / "none" / "model" / "classifier.safetensors").exists()


def test_every_column_is_documented(run: Path) -> None:
    metrics = {name for path in (run / "metrics").iterdir() for name in header(path)}

    assert columns(SECTIONS["`metrics/<stage>.csv`"]) == metrics
    assert columns(SECTIONS["`test-predictions.csv`"]) == set(header(run / "test-predictions.csv"))


def test_every_file_of_the_folder_is_documented(run: Path) -> None:
    told = {name.replace("<stage>", "*") for name in columns(SECTIONS["Results"])} - NOT_HERE
    there = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]

    assert [name for name in there if not any(fnmatch(name, pattern) for pattern in told)] == []
    assert [pattern for pattern in told if not any(fnmatch(name, pattern) for name in there)] == []
