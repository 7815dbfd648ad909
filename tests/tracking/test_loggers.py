"""MLflow, TensorBoard and CSV: whole runs read back, from a real MLflow server with SQLite, and faults."""

from __future__ import annotations

import csv
import json
import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.forked import carry_out
from sklearn.datasets import load_digits

import stackae
from stackae.tracking import lightning_loggers
from stackae.tracking.tracker import Tracker, make_tracker

TINY = """\
data: {source: digits, labels: 200}
layers: [{width: 12}]
pretrain: {epochs: 2}
finetune: {epochs: 2}
compare: {baselines: none}
"""
# On a busy machine the server of the tests takes long to make its tables.
PATIENT = """\
from stackae.tracking import lightning_loggers
lightning_loggers.STAGE_SECONDS = lightning_loggers.WHOLE_SECONDS = 200.0
from stackae.cli import main
main()
"""
STAGES = ["data", "pretrain-1", "finetune", "scratch", "probe"]


def carried_out(folder: Path, logger: str, env: dict[str, str] | None = None) -> Path:
    (folder / "tiny.yaml").write_text(TINY + f"tracking: {{logger: {logger}, project: mine}}\n")
    done = carry_out(["run", "tiny.yaml"], folder, env, PATIENT)
    assert done.returncode == 0, done.stderr
    said = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert [name for name in said if name != "warning"] == STAGES[1:]
    return folder / "runs/tiny"


def epochs_of(run: Path, stage: str, name: str) -> list[float]:
    with (run / f"metrics/{stage}.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


# ---- files


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return carried_out(tmp_path_factory.mktemp("filed"), "[csv, tensorboard]")


def test_csv_has_a_folder_per_stage_with_its_epochs_and_its_end(filed: Path) -> None:
    assert {folder.name for folder in (filed / "csv").iterdir()} == {*STAGES, "run"}
    with (filed / "csv/pretrain-1/metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in ("train_loss", "val_reconstruction"):
        found = [float(row[name]) for row in rows if row["epoch"]]
        assert found == epochs_of(filed, "pretrain-1", name)
    assert [int(row["step"]) for row in rows if row["epoch"]] == [1, 2]
    results = json.loads((filed / "results.json").read_text())
    with (filed / "csv/finetune/metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert float(last["test_accuracy"]) == pytest.approx(results["classifier"]["test"]["accuracy"])
    with (filed / "csv/run/metrics.csv").open() as file:
        (whole,) = csv.DictReader(file)
    assert float(whole["gain"]) == pytest.approx(results["verdict"]["gain"])
    assert not (filed / "wandb").exists()


def test_tensorboard_has_a_folder_per_stage(filed: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert {folder.name for folder in (filed / "tensorboard").iterdir()} == {*STAGES, "run"}
    events = accumulator.EventAccumulator(str(filed / "tensorboard/pretrain-1"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("val_reconstruction")[:2]]
    expected = epochs_of(filed, "pretrain-1", "val_reconstruction")
    assert found == [(number, pytest.approx(value, rel=1e-6)) for number, value in enumerate(expected, 1)]


# ---- MLflow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server on the loopback device, with a store in SQLite."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("_MLFLOW_SERVER_FILE_STORE", f"sqlite:///{folder / 'store.db'}")
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_DESTINATION", str(folder / "artifacts"))
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        patch.setenv("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        from mlflow.server import app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        running = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()
        mlflow.set_tracking_uri(None)


def test_mlflow_has_a_run_with_a_nested_one_per_stage_and_the_model(server: str, tmp_path: Path) -> None:
    import mlflow

    run = carried_out(tmp_path, "mlflow", {"MLFLOW_TRACKING_URI": server})

    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name("mine")
    found = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    assert set(found) == {*STAGES, "tiny"}
    whole = found.pop("tiny")
    results = json.loads((run / "results.json").read_text())
    assert whole.data.metrics["gain"] == pytest.approx(results["verdict"]["gain"])
    assert whole.data.params["layers/0/width"] == "12"
    assert [file.path for file in client.list_artifacts(whole.info.run_id)] == ["report.html"]
    assert {each.info.status for each in (whole, *found.values())} == {"FINISHED"}
    assert {each.data.tags["mlflow.parentRunId"] for each in found.values()} == {whole.info.run_id}
    history = client.get_metric_history(found["pretrain-1"].info.run_id, "val_reconstruction")
    expected = epochs_of(run, "pretrain-1", "val_reconstruction")
    assert [point.value for point in history[:2]] == pytest.approx(expected)
    assert [point.step for point in history[:2]] == [1, 2]
    (logged,) = client.search_logged_models([experiment.experiment_id])
    mlflow.set_tracking_uri(server)
    rows = load_digits().images[:20]
    predicted = mlflow.pyfunc.load_model(logged.model_uri).predict(rows)
    np.testing.assert_array_equal(predicted, stackae.load(run).predict(rows))


def test_processes_log_to_one_run_of_mlflow_and_what_was_stopped_goes_on_in_it(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setattr(lightning_loggers, "STAGE_SECONDS", 200.0)
    monkeypatch.setattr(lightning_loggers, "WHOLE_SECONDS", 200.0)
    warnings: list[str] = []

    def process(stage: str) -> Tracker:
        tracked = tracker("mlflow", tmp_path, warnings, project="shared")
        with tracked.stage(stage, {"epochs": 1}, []):
            pass
        return tracked

    process("pretrain-1")
    process("finetune").curve({}, {"pretrained": {50: 0.25}})  # ends the run as a whole
    process("scratch")

    assert warnings == []
    client = mlflow.MlflowClient(server)
    experiment = client.get_experiment_by_name("shared")
    found = client.search_runs([experiment.experiment_id])
    first, second = (
        next(each.data.tags.get("mlflow.parentRunId") for each in found if each.info.run_name == name)
        for name in ("finetune", "scratch")
    )
    stages = {each.info.run_name: each.data.tags.get("mlflow.parentRunId") for each in found}
    assert stages["pretrain-1"] == first
    assert second != first
    whole = client.get_run(first)
    assert (whole.info.status, whole.data.metrics) == ("FINISHED", {"pretrained_error": 0.25})


# ---- faults


def tracker(kind: Any, folder: Path, warnings: list[str], project: str = "p") -> Tracker:
    return make_tracker(
        "disabled",
        project=project,
        entity=None,
        group="g",
        folder=folder,
        warn=warnings.append,
        loggers=(kind,),
    )


def log_stages(tracked: Tracker, folder: Path) -> None:
    for name in ("pretrain-1", "pretrain-2"):
        with tracked.stage(name, {"epochs": 1}, []) as log:
            for logger in log.logger:
                logger.log_metrics({"epoch": 1, "val_loss": 0.5})
            log.finish({"metrics": {"val_loss": 0.5}}, folder)
    tracked.conclude({}, {}, None, anew=True)


@pytest.mark.parametrize("kind", ["csv", "tensorboard"])
def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("in the way")
    warnings: list[str] = []
    log_stages(tracker(kind, tmp_path / "file", warnings), tmp_path)
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{kind}: logging pretrain-1 failed")
    assert warnings[0].endswith(f"the run goes on without {kind}")


@pytest.mark.parametrize("state", ["silent", "dead"])
def test_a_server_that_does_not_answer_costs_one_warning_and_a_bounded_wait(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setattr(lightning_loggers, "STAGE_SECONDS", 0.5)
    warnings: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if state == "dead":
            listening.close()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        log_stages(tracker("mlflow", tmp_path, warnings), tmp_path)
    assert len(warnings) == 1
    assert "the run goes on without mlflow" in warnings[0]


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    warnings: list[str] = []
    log_stages(tracker("mlflow", tmp_path, warnings), tmp_path)
    (warning,) = warnings
    assert "pip install 'stackae[mlflow]'" in warning


def test_an_exception_in_a_stage_passes_and_is_logged_as_a_failure(tmp_path: Path) -> None:
    warnings: list[str] = []
    tracked = tracker("csv", tmp_path, warnings)

    def fail() -> None:
        with tracked.stage("pretrain-1", {}, []) as log:
            log.logger[0].log_metrics({"epoch": 1, "val_loss": 0.5})
            raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        fail()
    assert "0.5" in (tmp_path / "csv/pretrain-1/metrics.csv").read_text()
    assert warnings == []
