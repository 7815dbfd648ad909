"""Whole runs in W&B: a row per run in its table, pictures, sweeps, the upload of offline logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, Cli
from faults.forked import carry_out
from ruamel.yaml import YAML
from stage_runs import described
from test_wandb import merged, offline_runs, read_back, tracker
from wandb_server import Server, serving

from stackae.config_file import load_config
from stackae.pipeline import run
from stackae.progress import NoProgress
from stackae.store import Store
from stackae.tracking import server as server_patience
from stackae.tracking.predicted import Predicted
from stackae.tracking.summary import headline
from stackae.tracking.tracker import NullTracker, StageLog

pytestmark = pytest.mark.usefixtures("own_wandb")

TINY = """\
data: {source: digits, labels: 200}
layers: [{width: 12}]
pretrain: {epochs: 2}
finetune: {epochs: 2}
report: false
tracking: {wandb: offline, tags: [first, second], notes: on two cores}
"""
STAGES = ["pretrain-1", "finetune", "scratch", "probe"]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a tiny config was carried out, logged offline; not to be changed."""
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "tiny.yaml").write_text(TINY.replace("report: false\n", ""))
    done = carry_out(["run", "tiny.yaml"], folder)
    assert done.returncode == 0, done.stderr
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture(scope="module")
def runs(finished: Path) -> dict[str, dict[str, list[Any]]]:
    """The records of the W&B runs by job type."""
    found = map(read_back, offline_runs(finished / "runs/tiny"))
    return {run["run"][0]["job_type"]: run for run in found}


def test_the_run_as_a_whole_is_a_row_of_figures_and_its_report(
    finished: Path, runs: dict[str, dict[str, list[Any]]]
) -> None:
    results = json.loads((finished / "runs/tiny/results.json").read_text())
    whole = runs["run"]
    summary = merged(whole["summary"])
    assert summary["test_error"] == pytest.approx(results["classifier"]["test"]["error"])
    assert summary["val_error"] == pytest.approx(1 - results["classifier"]["val"]["accuracy"])
    assert summary["scratch_test_error"] == pytest.approx(results["scratch"]["test"]["error"])
    assert summary["gain"] == pytest.approx(results["verdict"]["gain"])
    assert summary["verdict"] == results["verdict"]["text"]
    assert any("report.path" in row["item"] for row in whole["history"])
    pages = list((finished / "runs/tiny/wandb").rglob("*.html"))
    assert [page.read_text() for page in pages] == [(finished / "runs/tiny/report.html").read_text()]
    assert merged([{"update": whole["run"][0]["config"]["update"]}])["layers"][0]["width"] == 12


def test_tracking_says_nothing_and_changes_no_weight(finished: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    done = cli(["run", "tiny.yaml", "tracking.wandb=disabled"], tmp_path)
    assert done.returncode == 0, done.stderr
    said = [
        [line.partition(":")[0] for line in text.splitlines()]
        for text in ((finished / "stderr").read_text(), done.stderr)
    ]
    assert said[0] == said[1]
    assert [name for name in said[0] if name != "warning"] == STAGES
    tracked, untracked = (folder / "runs/tiny/model" for folder in (finished, tmp_path))
    names = ["encoder", "decoder", "classifier"]
    for name in (f"{name}.safetensors" for name in names):
        assert (tracked / name).read_bytes() == (untracked / name).read_bytes()


def test_each_stage_and_the_run_as_a_whole_has_a_file_of_its_own(finished: Path) -> None:
    jobs = ["data", *STAGES, "run"]
    files = [file.read_bytes() for file in offline_runs(finished / "runs/tiny")]
    named = [[job for job in jobs if f"tiny-{job}".encode() in file] for file in files]
    assert sorted(named) == sorted([job] for job in jobs)


def test_all_of_a_runs_rows_carry_its_tags_notes_and_group(runs: dict[str, dict[str, list[Any]]]) -> None:
    assert set(runs) == {"data", "pretrain-1", "finetune", "scratch", "probe", "run"}
    for found in runs.values():
        assert sorted(found["run"][0]["tags"]) == ["first", "second"]
        assert found["run"][0]["notes"] == "on two cores"
        assert found["run"][0]["run_group"] == "tiny"


def test_pictures_of_a_layer_are_logged_as_it_learns(
    finished: Path, runs: dict[str, dict[str, list[Any]]]
) -> None:
    rows = [row["item"] for row in runs["pretrain-1"]["history"] if "reconstructions.path" in row["item"]]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all("weights.path" in row for row in rows)
    assert len(list((finished / "runs/tiny/wandb").rglob("*.png"))) == 4


def test_a_second_run_logs_nothing_more(finished: Path, cli: Cli) -> None:
    before = offline_runs(finished / "runs/tiny")
    assert cli(["run", "tiny.yaml"], finished).returncode == 0
    assert offline_runs(finished / "runs/tiny") == before


def test_without_a_classifier_the_row_has_what_there_is() -> None:
    stage = {"seconds": None, "reused": True}
    found = headline(
        {
            "classifier": None,
            "scratch": None,
            "baselines": [
                {
                    "name": "svm",
                    "on": "columns and codes",
                    "val": {"accuracy": 0.75},
                    "test": {"error": 0.5},
                }
            ],
            "blend": {"with": "svm", "test": {"error": 0.125}},
            "verdict": {"gain": None, "baseline": {"val": {"baseline": 0.75}, "test": {"baseline": 0.5}}},
            "probe": [{"depth": 0, "test": {"accuracy": 0.75}}],
            "reconstruction": {"test": {"mse": 0.5}},
            "data": {"labelled": 7},
            "stages": [stage, stage | {"seconds": 1.5, "reused": False}],
        }
    )
    assert found == {
        "svm_codes_val_error": 0.25,
        "svm_codes_test_error": 0.5,
        "baseline_val_error": 0.25,
        "baseline_test_error": 0.5,
        "blend_test_error": 0.125,
        "probe_0_test_error": 0.25,
        "reconstruction_mse": 0.5,
        "labelled": 7,
        "seconds": 1.5,
        "stages_reused": 1,
    }


def test_under_a_sweeps_agent_the_whole_run_alone_is_the_sweeps(
    server: Server, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_SWEEP_ID", "thesweep")
    monkeypatch.setenv("WANDB_RUN_ID", "thetrial")
    (tmp_path / "tiny.yaml").write_text(TINY.replace("wandb: offline", "wandb: online"))

    done = cli(
        ["run", "tiny.yaml", "compare.scratch=false", "compare.probe=false", "compare.baselines=none"],
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    opened = {
        given["jobType"]: given
        for name, given in server.queries
        if name == "UpsertBucket" and given.get("jobType")
    }
    assert set(opened) == {"data", "pretrain-1", "finetune", "run"}
    assert (opened["run"]["name"], opened["run"]["sweep"]) == ("thetrial", "thesweep")
    others = [given for job, given in opened.items() if job != "run"]
    assert all(given["name"] != "thetrial" and not given.get("sweep") for given in others)


def test_a_server_lost_before_the_end_costs_a_warning_and_no_run(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(server_patience, "DOUBT_SECONDS", 1.0)
    monkeypatch.setattr(server_patience, "PROBE_SECONDS", 0.5)
    warnings: list[str] = []
    tracked = tracker("online", tmp_path, warnings)
    with tracked.stage("pretrain-1", {}, []) as log:
        log.logger.log_pictures({"weights": np.zeros((4, 4), np.uint8)}, 1)
        server.stop()
    results = json.loads((Path(__file__).parent / "results_example.json").read_text())
    tracked.conclude({}, results, None, anew=True)
    assert len(warnings) == 1
    (offline,) = map(read_back, offline_runs(tmp_path))
    assert merged(offline["summary"])["gain"] == 0.25


def test_what_was_logged_offline_is_uploaded(
    server: Server, finished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    done = cli(["sync", "runs/tiny"], finished)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6 W&B runs uploaded\n"
    jobs = {
        given["jobType"] for name, given in server.queries if name == "UpsertBucket" and given.get("jobType")
    }
    assert jobs == {"data", "pretrain-1", "finetune", "scratch", "probe", "run"}


def test_without_a_key_or_a_run_sync_is_one_line(finished: Path, cli: Cli, tmp_path: Path) -> None:
    for words, says in (
        (["sync", finished / "runs/tiny"], "no W&B key"),
        (["sync", "nowhere"], "no such folder"),
    ):
        done = cli(words, tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert says in done.stderr


def test_the_shipped_sweep_passes_overrides_that_its_config_takes() -> None:
    sweep = YAML(typ="safe").load(REPOSITORY / "configs/sweep.yaml")
    command = sweep["command"]
    assert command[-1] == "${args_no_hyphens}"
    config = next(word for word in command if word.endswith(".yaml"))
    for key, wanted in sweep["parameters"].items():
        for value in wanted.get("values", [wanted.get("min"), wanted.get("max")]):
            load_config(REPOSITORY / config, [f"{key}={value}"])
    assert sweep["metric"]["name"] == "val_error"


class Noted(NullTracker):
    """Notes the names of the stages, and the figures of the run as a whole."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.figures: dict[str, float] = {}

    def stage(
        self, name: str, config: Mapping[str, Any], parents: Sequence[str], key: str = ""
    ) -> AbstractContextManager[StageLog]:
        self.stages.append(name)
        return super().stage(name, config, parents, key)

    def conclude(
        self,
        config: Mapping[str, Any],
        results: Mapping[str, Any],
        report: Path | None,
        predicted: Predicted | None = None,
        *,
        anew: bool,
    ) -> None:
        assert anew
        self.figures = headline(results)


def test_repetitions_are_told_apart_and_summed_up_by_their_means(tmp_path: Path) -> None:
    config = described(tmp_path, repeats=2, compare={"probe": False, "baselines": ["logistic_regression"]})
    told, store = Noted(), Store(tmp_path / "store", print)
    run(config, store, told, NoProgress(), out=tmp_path / "both")
    labelled = ["finetune", "scratch", "baselines"]
    assert told.stages == [
        *("data", "pretrain-1", "pretrain-2", *labelled),
        *(f"{name}-repeat-1" for name in labelled),
    ]
    alone = []
    for number in (0, 1):
        one = config.model_copy(update={"repeats": 1, "repeat": number})
        results = run(one, store, NullTracker(), NoProgress(), out=tmp_path / f"{number}")
        alone.append(headline(asdict(results)))
    for name in ("test_error", "scratch_test_error", "logistic_regression_test_error", "gain"):
        assert told.figures[name] == pytest.approx((alone[0][name] + alone[1][name]) / 2)
    assert told.figures["p"] != alone[0]["p"]
    # Each stage counts once.
    assert told.figures["seconds"] == pytest.approx(
        sum(manifest_seconds(path) for path in (tmp_path / "store").glob("*/manifest.json"))
    )


def manifest_seconds(path: Path) -> float:
    manifest = json.loads(path.read_text())
    return 0.0 if manifest["stage"] == "data" else float(manifest["metrics"]["seconds"])
