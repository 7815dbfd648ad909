"""Data sets and models in W&B: what is logged of them, which is the best, and models used by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from faults.forked import carry_out
from test_wandb import offline_runs, read_back
from wandb_models import Published
from wandb_server import Server, serving

import stackae
from stackae.tracking import wandb_artifacts
from stackae.tracking.predicted import Predicted
from stackae.tracking.tracker import Tracker, make_tracker
from stackae.tracking.wandb_artifacts import calibration, evidence

pytestmark = pytest.mark.usefixtures("own_wandb")

TINY = """\
data: {source: table.csv, target: label}
layers: [{width: 6}]
pretrain: {epochs: 1}
finetune: {epochs: 3, validation: {share: 0.2}}
compare: {scratch: false, probe: false, baselines: none}
report: false
tracking: {wandb: offline, registry: models}
"""
RESULTS = json.loads((Path(__file__).parent / "results_example.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a tiny config was carried out, logged offline; not to be changed."""
    folder = tmp_path_factory.mktemp("tracked")
    rng = np.random.default_rng(0)
    lines = [
        f"{value:.3f};{'b' if value > 0 else 'a'};{'xy'[number % 2]}"
        for number, value in enumerate(rng.normal(size=300))
    ]
    (folder / "table.csv").write_text("\n".join(["size;label;secret", *lines]))
    (folder / "new.csv").write_text("\n".join(["size;secret", "0.5;x", "-0.5;y"]))
    (folder / "tiny.yaml").write_text(TINY)
    done = carry_out(["run", "tiny.yaml"], folder)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def artifacts(finished: Path) -> dict[str, dict[str, Any]]:
    """The artifacts of the offline runs by type, tables and weights of stages aside."""
    found = [
        each for file in offline_runs(finished / "runs/tiny") for each in read_back(file).get("artifact", [])
    ]
    kept = [each for each in found if each["type"] == "dataset" or each["name"] == "tiny"]
    assert len(kept) == 2
    return {each["type"]: each for each in kept}


def test_the_data_are_an_artifact_that_says_what_they_are_and_has_no_row(
    finished: Path, artifacts: dict[str, dict[str, Any]]
) -> None:
    artifact = artifacts["dataset"]
    (file,) = artifact["manifest"]["contents"]
    text = Path(file["local_path"]).read_text()
    said = json.loads(text)
    assert artifact["name"] == f"stage-{said['key']}"
    assert said["rows"] == {"train": 216, "val": 24, "test": 60}
    assert len(said["fingerprint"]) == 64
    columns = [{"name": "size", "type": "numeric"}, {"name": "secret", "type": "categorical"}]
    assert said["schema"]["columns"] == columns
    assert said["schema"]["classes"] == ["a", "b"]
    assert not re.search(r"\d\.\d{3}", text)


def test_pretraining_names_the_data_as_its_parent(
    finished: Path, artifacts: dict[str, dict[str, Any]]
) -> None:
    runs = {run["run"][0]["job_type"]: run for run in map(read_back, offline_runs(finished / "runs/tiny"))}
    (parent,) = runs["pretrain-1"]["run"][0]["config"]["update"]["parents"]
    assert artifacts["dataset"]["name"] == f"stage-{parent}"
    (last,) = runs["run"]["run"][0]["config"]["update"]["parents"]
    assert runs["finetune"]["artifact"][0]["name"] == f"stage-{last}"


def test_the_finished_model_is_one_artifact_with_its_card(
    finished: Path, artifacts: dict[str, dict[str, Any]]
) -> None:
    artifact = artifacts["model"]
    names = {each["path"] for each in artifact["manifest"]["contents"]}
    assert names == {path.name for path in (finished / "runs/tiny/model").iterdir()}
    assert {"README.md", "config.json", "classifier.safetensors", "preprocessing.skops"} <= names
    assert artifact["aliases"] == ["latest"]  # the best is for the server to say
    results = json.loads((finished / "runs/tiny/results.json").read_text())
    figures = json.loads(artifact["metadata"])
    assert figures["val_error"] == pytest.approx(1 - results["classifier"]["val"]["accuracy"])
    warned = [line for line in (finished / "stderr").read_text().splitlines() if "registry" in line]
    assert warned == ["warning: W&B: 'tiny' is not linked to the registry 'models' (that needs the server)"]


def test_the_run_has_its_test_predictions_confusion_and_calibration(finished: Path) -> None:
    def table(name: str) -> dict[str, Any]:
        (path,) = (finished / "runs/tiny/wandb").rglob(f"{name}_*.table.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    results = json.loads((finished / "runs/tiny/results.json").read_text())
    rows = table("test_predictions")
    assert rows["columns"] == ["row", "class", "predicted", "confidence", "right"]
    assert len(rows["data"]) == 60
    right = sum(row[-1] for row in rows["data"]) / 60
    assert right == pytest.approx(results["classifier"]["test"]["accuracy"])
    counts = {(true, found): count for true, found, count in table("confusion_table")["data"]}
    expected = results["classifier"]["test"]["confusion"]
    assert [[counts[true, found] for found in "ab"] for true in "ab"] == expected
    assert sum(row[2] for row in table("calibration_table")["data"]) == 60


def test_calibration_is_the_accuracy_within_each_bin() -> None:
    chances = np.array([[0.95, 0.05], [0.92, 0.08], [0.3, 0.7], [0.0, 1.0]])
    found = calibration(Predicted(np.arange(4), np.array([0, 1, 1, 1]), ("a", "b"), chances))
    assert np.array(found) == pytest.approx(np.array([[0.7, 1.0, 1], [2.87 / 3, 2 / 3, 3]]))


def test_of_many_rows_a_sample_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_artifacts, "TABLE_ROWS", 7)
    predicted = Predicted(
        np.arange(100, 150), np.zeros(50, np.int64), ("a", "b"), np.eye(2)[np.zeros(50, int)]
    )
    found = evidence(predicted)
    rows = [row[0] for row in found["test_predictions"].data]
    assert len(set(rows)) == 7
    assert rows == sorted(rows)
    assert set(rows) <= set(range(100, 150))


# ---- online


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as running:
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        yield running


def tracker(folder: Path, warnings: list[str], **settings: Any) -> Tracker:
    (folder / "model").mkdir(parents=True, exist_ok=True)
    (folder / "model" / "config.json").write_text("{}")
    return make_tracker(
        "online", project="p", entity=None, group="g", folder=folder, warn=warnings.append, **settings
    )


def logged_aliases(server: Server) -> set[str]:
    (made,) = (
        given["input"]
        for name, given in server.queries
        if name == "CreateArtifact" and given["input"]["artifactCollectionName"] == "g"
    )
    return {each["alias"] for each in made["aliases"]}


@pytest.mark.parametrize(("known", "expected"), [(None, True), (1e9, True), (-1.0, False), (0.0625, True)])
def test_the_model_that_validates_best_is_called_so(
    server: Server, tmp_path: Path, known: float | None, expected: bool
) -> None:
    results = RESULTS | {"classifier": {**RESULTS["classifier"], "val": {"accuracy": 0.9375}}}
    if known is not None:
        server.models.append(Published("g", {"val_error": known}, ["best"]))
    warnings: list[str] = []
    tracker(tmp_path, warnings, registry="models").conclude({}, results, None, anew=True)
    assert logged_aliases(server) == {"latest", *(["best"] if expected else [])}
    (link,) = (given["input"] for name, given in server.queries if name == "LinkArtifact")
    assert (link["projectName"], link["artifactPortfolioName"]) == ("wandb-registry-models", "g")
    assert warnings == []


def test_the_runs_of_a_stage_that_was_stopped_have_one_id(server: Server, tmp_path: Path) -> None:
    def opened(folder: Path, key: str) -> str:
        before, warnings = len(server.queries), list[str]()
        with tracker(folder, warnings).stage("pretrain-1", {}, [], key):
            pass
        assert warnings == []
        ids = {
            given["name"]
            for name, given in server.queries[before:]
            if name == "UpsertBucket" and given["jobType"]
        }
        (found,) = ids
        return str(found)

    first = opened(tmp_path / "here", "1" * 64)
    assert opened(tmp_path / "here", "1" * 64) == first
    assert "RunResumeStatus" in server.operations()
    others = [(tmp_path / "here", "2" * 64), (tmp_path / "there", "1" * 64), (tmp_path / "here", "")]
    assert len({first, *(opened(*each) for each in others), opened(tmp_path / "here", "")}) == 5


def test_a_model_of_wandb_predicts_as_its_run(
    server: Server, finished: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = {path.name: path.read_bytes() for path in (finished / "runs/tiny/model").iterdir()}
    server.models.append(Published("tiny", {}, ["best", "latest"], files))
    found = [
        cli(["predict", run, "new.csv", "-o", "-"], finished) for run in ("runs/tiny", "wandb:e/p/tiny:best")
    ]
    assert [done.returncode for done in found] == [0, 0], found[1].stderr
    assert found[0].stdout == found[1].stdout
    assert stackae.load("wandb:e/p/tiny:latest").classes == ("a", "b")
    refused = cli(["predict", "wandb:e/p/none:best", "new.csv", "-o", "-"], finished)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("wandb:e/p/none:best: W&B did not give this model (")
