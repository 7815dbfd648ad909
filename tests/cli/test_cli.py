"""The command line as a user meets it: what a run leaves, prints and reuses, how a stopped one goes on."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, RunCli

import stackae

TINY = """\
name: tiny
data: {source: digits, labels: 300}
layers: [{width: 16}, {width: 8}]
pretrain: {epochs: 2}
finetune: {epochs: 2}
report: false
tracking: {wandb: disabled}
"""
STAGES = ["pretrain-1", "pretrain-2", "finetune", "scratch", "probe"]

# The documented form of results.json: a run's has all of these fields, each of the type it has here.
EXAMPLE: dict[str, Any] = {
    "format": 1,
    "name": "…",
    "seed": 0,
    "data": {"train": 50000, "labelled": 1000, "val": 10000, "test": 10000, "features": 784, "classes": 10},
    "stages": [
        {
            "stage": "pretrain-1",
            "key": "…",
            "reused": False,
            "seconds": 12.3,
            "epochs": 20,
            "metrics": {"val_reconstruction": 61.2},
        }
    ],
    "probe": [{"depth": 0, "test": {"accuracy": 0.87}}],
    "classifier": {
        "val": {"accuracy": 0.96},
        "test": {"accuracy": 0.955, "error": 0.045, "macro_f1": 0.954, "nll": 0.15, "ece": 0.01},
    },
    "scratch": {"val": {"accuracy": 0.93}, "test": {"accuracy": 0.925, "error": 0.075}},
    "verdict": {"gain": 0.030, "ci95": [0.025, 0.035], "p": 1e-9, "text": "Pretraining lowered …"},
    "reconstruction": {"test": {"mse": 0.01, "sse_per_row": 7.8}},
    "environment": {"torch": "…", "device": "…"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder in which the tiny config was carried out; not to be changed. Its output is in two files."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY)
    done = cli(["run", "tiny.yaml"], folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder, to run in once more."""
    return Path(shutil.copytree(finished, tmp_path / "again"))


def results(folder: Path, run: str = "runs/tiny") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / run / "results.json").read_text())
    return found


def reused(folder: Path) -> set[str]:
    return {stage["stage"] for stage in results(folder)["stages"] if stage["reused"]}


def lasting(found: dict[str, Any]) -> dict[str, Any]:
    """The results without what may differ from one run to the next."""
    stages = [{k: v for k, v in s.items() if k not in ("seconds", "reused")} for s in found["stages"]]
    return {k: v for k, v in found.items() if k != "environment"} | {"stages": stages}


def weights(folder: Path) -> dict[str, str]:
    """sha256 of the model's files by name."""
    model = folder / "runs" / "tiny" / "model"
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in model.glob("*.safetensors")}


def assert_like(found: Any, example: Any, place: str) -> None:
    assert type(found) is type(example), f"{place}: {found!r}, where the form has {example!r}"
    if isinstance(example, dict):
        assert example.keys() <= found.keys(), f"{place}: {example.keys() - found.keys()} missing"
        for key, value in example.items():
            assert_like(found[key], value, f"{place}.{key}")
    elif isinstance(example, list):
        assert found, f"{place} is empty"
        for index, item in enumerate(found):
            assert_like(item, example[0], f"{place}[{index}]")


# ---- what a run leaves and prints


def test_results_have_every_documented_field(finished: Path) -> None:
    found = results(finished)
    first, *others = found["stages"]

    assert_like(found | {"stages": [first]}, EXAMPLE, "results")
    for stage in others:
        trained = stage["stage"] != "probe"
        assert_like(stage, {"stage": "", "key": "", "reused": False, "seconds": 1.0, "metrics": {}}, "stages")
        assert stage["epochs"] == (2 if trained else None)
    assert [stage["stage"] for stage in found["stages"]] == STAGES
    assert [at["depth"] for at in found["probe"]] == [0, 1, 2]
    data = found["data"]
    assert (data["labelled"], data["features"], data["classes"]) == (300, 64, 10)
    assert data["train"] + data["val"] + data["test"] == 1797
    assert found["format"] == 1
    assert found["name"] == "tiny"


def test_a_runs_folder_has_the_config_the_results_and_a_model_that_loads(finished: Path) -> None:
    run = finished / "runs" / "tiny"

    assert {path.name for path in run.iterdir()} >= {"config.yaml", "results.json", "model"}
    assert {path.name for path in (run / "model").iterdir()} == {
        "encoder.safetensors",
        "decoder.safetensors",
        "classifier.safetensors",
        "config.json",
        "README.md",
    }
    assert len(stackae.load(run).classes) == 10


def test_away_from_a_terminal_each_stage_is_one_plain_line(finished: Path) -> None:
    table, progress = (finished / "stdout").read_text(), (finished / "stderr").read_text()
    header, *rows = table.splitlines()

    assert "\x1b" not in table + progress
    assert "…" not in table + progress
    assert header.split() == ["stage", "epochs", "seconds", "figures"]
    assert [row.split()[0] for row in rows[: len(STAGES)]] == STAGES
    assert rows[len(STAGES)] == results(finished)["verdict"]["text"]
    assert rows[len(STAGES) + 1 :] == [
        "Baselines left out: all of them (would take more than a fifth of the run). "
        "Those that compare.baselines lists are fitted to the columns all the same.",
        "Results in runs/tiny/results.json, model in runs/tiny/model.",
    ]
    assert [line.partition(":")[0] for line in progress.splitlines()] == STAGES


def test_the_table_shows_the_figures_of_the_results(finished: Path) -> None:
    found = results(finished)
    rows = {row.split()[0]: row for row in (finished / "stdout").read_text().splitlines()}

    assert f"{found['stages'][0]['metrics']['reconstruction_ratio']:.3f}" in rows["pretrain-1"]
    assert f"test {found['classifier']['test']['accuracy']:.2%}" in rows["finetune"]
    assert f"test {found['scratch']['test']['accuracy']:.2%}" in rows["scratch"]
    for at in found["probe"]:
        assert f"{at['test']['accuracy']:.2%}" in rows["probe"]


def test_quiet_prints_nothing(again: Path, cli: Cli) -> None:
    done = cli(["run", "tiny.yaml", "finetune.epochs=1", "--quiet"], again)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert reused(again) == {"pretrain-1", "pretrain-2", "probe"}


# ---- what is trained again


def test_a_second_run_trains_nothing_and_does_without_lightning(again: Path, run_cli: RunCli) -> None:
    first = results(again)
    store = {path: path.stat().st_mtime_ns for path in (again / ".stackae").rglob("*.*") if path.is_file()}

    done = run_cli(["run", "tiny.yaml"], again, env={"PYTHONPROFILEIMPORTTIME": "1"})

    imports, lines = set[str](), []
    for line in done.stderr.splitlines():
        if line.startswith("import time:"):
            imports.add(line.rpartition("|")[2].strip())
        else:
            lines.append(line)
    assert done.returncode == 0, lines
    assert lines == ["data: reused", *(f"{stage}: reused" for stage in STAGES)]
    assert reused(again) == set(STAGES)
    assert lasting(results(again)) == lasting(first)
    files = [path for path in store if path.suffix != ".lock"]
    assert all(path.stat().st_mtime_ns == store[path] for path in files)
    assert "torch" in imports
    assert not imports & {"pytorch_lightning", "torchmetrics", "wandb", "sklearn.linear_model"}


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("layers.1.width=9", {"pretrain-1"}),
        ("data.labels=all", {"pretrain-1", "pretrain-2"}),
        ("finetune.dropout=0.4", {"pretrain-1", "pretrain-2", "probe"}),
        ("finetune.encoder_lr_scale=0.5", {"pretrain-1", "pretrain-2", "scratch", "probe"}),
        ("seed=1", set()),
    ],
)
def test_a_change_retrains_what_it_touches_and_no_more(
    again: Path, cli: Cli, change: str, kept: set[str]
) -> None:
    done = cli(["run", "tiny.yaml", change], again)

    assert done.returncode == 0, done.stderr
    assert reused(again) == kept


def test_fresh_trains_everything_to_the_same_bits(again: Path, finished: Path, cli: Cli) -> None:
    manifests = list((again / ".stackae").glob("*/manifest.json"))
    before = {path: path.stat().st_mtime_ns for path in manifests}

    done = cli(["run", "tiny.yaml", "--fresh"], again)

    assert done.returncode == 0, done.stderr
    assert reused(again) == set()
    assert all(path.stat().st_mtime_ns > before[path] for path in manifests)
    assert weights(again) == weights(finished)
    assert lasting(results(again)) == lasting(results(finished))


def test_a_run_in_another_folder_gives_the_same_bits(finished: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)

    done = cli(["run", "tiny.yaml", "--store", "kept/stages", "--out", "runs/tiny"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".stackae").exists()
    assert len(list((tmp_path / "kept" / "stages").glob("*/manifest.json"))) == 1 + len(STAGES)
    assert weights(tmp_path) == weights(finished)
    assert lasting(results(tmp_path)) == lasting(results(finished))


def test_the_resolved_config_is_a_config_with_the_same_keys(again: Path, cli: Cli) -> None:
    done = cli(["run", "runs/tiny/config.yaml", "--out", "resolved"], again)

    assert done.returncode == 0, done.stderr
    found = results(again, "resolved")
    assert all(stage["reused"] for stage in found["stages"])
    assert lasting(found) == lasting(results(again))
    assert (again / "resolved/config.yaml").read_text() == (again / "runs/tiny/config.yaml").read_text()


# ---- what a config leaves out


def test_without_finetuning_there_is_no_classifier(again: Path, cli: Cli) -> None:
    done = cli(["run", "tiny.yaml", "finetune=null"], again)

    assert done.returncode == 0, done.stderr
    found = results(again)
    assert [stage["stage"] for stage in found["stages"]] == ["pretrain-1", "pretrain-2", "probe"]
    assert found["classifier"] is found["scratch"] is found["verdict"] is None
    assert found["reconstruction"] == results(again)["reconstruction"]
    assert set(weights(again)) == {"encoder.safetensors", "decoder.safetensors"}


@pytest.mark.parametrize("part", ["scratch", "probe"])
def test_a_control_can_be_left_out(again: Path, cli: Cli, part: str) -> None:
    done = cli(["run", "tiny.yaml", f"compare.{part}=false"], again)

    assert done.returncode == 0, done.stderr
    found = results(again)
    assert [stage["stage"] for stage in found["stages"]] == [stage for stage in STAGES if stage != part]
    assert not found[part]
    assert (found["verdict"] is None) == (part == "scratch")
    assert f"{found['classifier']['test']['error']:.2%}".replace("%", "") in done.stdout


# ---- the other commands


def test_plan_names_every_stage_and_writes_nothing(finished: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)

    new = cli(["plan", "tiny.yaml"], tmp_path)
    old = cli(["plan", "tiny.yaml", "layers.1.width=9", "--store", finished / ".stackae"], tmp_path)

    assert (new.returncode, new.stderr, old.returncode, old.stderr) == (0, "", 0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    rows = [line.split() for line in new.stdout.splitlines()[2:]]
    keys = {stage["stage"]: stage["key"][:12] for stage in results(finished)["stages"]}
    assert [(row[0], row[-2], row[-1]) for row in rows] == [(s, keys[s], "train") for s in STAGES]
    assert [line.split()[-1] for line in old.stdout.splitlines()[2:]] == ["reuse"] + ["train"] * 4


def test_schema_and_version_and_help(tmp_path: Path, cli: Cli) -> None:
    schema, version = cli(["schema"], tmp_path), cli(["--version"], tmp_path)
    help_, bare = cli(["--help"], tmp_path), cli([], tmp_path)

    assert json.loads(schema.stdout)["properties"].keys() >= {"data", "layers", "finetune"}
    assert version.stdout == f"stackae {stackae.__version__}\n"
    assert all(command in help_.stdout for command in ("run", "plan", "schema"))
    assert [done.returncode for done in (schema, version, help_, bare)] == [0, 0, 0, 2]
    assert bare.stderr == help_.stdout


def test_a_loss_that_is_no_number_ends_with_1_and_is_not_kept(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)

    done = cli(["run", "tiny.yaml", "pretrain.lr=1e30"], tmp_path)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pretrain-1" in done.stderr
    assert "learning rate" in done.stderr
    assert [path.parent.name[:4] for path in tmp_path.rglob("manifest.json")] == ["data"]
    assert not (tmp_path / "runs").exists()
