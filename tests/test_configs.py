"""Every config that is shipped loads, can be planned as it is, and can be carried out in a small form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli

from stackae.config import Config
from stackae.config_file import dump_config, load_config

CONFIGS = sorted((REPOSITORY / "configs").glob("*.yaml"))
NEED_FILES = {"mnist", "fashion_mnist"}
SMALL = [
    "layers.*.width=12",
    "layers.*.epochs=1",
    "data.labels=100",
    "data.split.train=300",
    "data.split.val=100",
    "data.split.test=100",
    "tracking.wandb=disabled",
]

pytestmark = pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])


def with_data(path: Path, request: pytest.FixtureRequest) -> Config:
    """The config, or a skipped test where its data are not at hand."""
    config = load_config(path)
    if config.data.source in NEED_FILES:
        request.getfixturevalue("data_root")
    return config


def test_loads_under_its_own_name_and_reads_back_as_it_was(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    (tmp_path / "again.yaml").write_text(dump_config(config))

    assert config.name == path.stem
    assert load_config(tmp_path / "again.yaml") == config


def test_can_be_planned(path: Path, request: pytest.FixtureRequest, tmp_path: Path, cli: Cli) -> None:
    config = with_data(path, request)

    done = cli(["plan", path], tmp_path)

    assert done.returncode == 0, done.stderr
    stages = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert stages[: len(config.layers)] == [f"pretrain-{n + 1}" for n in range(len(config.layers))]
    assert not list(tmp_path.iterdir())


def test_can_be_carried_out(path: Path, request: pytest.FixtureRequest, tmp_path: Path, cli: Cli) -> None:
    config = with_data(path, request)
    small = [*SMALL, "finetune.epochs=1"] if config.finetune else SMALL

    done = cli(["run", path, *small], tmp_path)

    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "runs" / path.stem / "results.json").read_text())
    assert (results["data"]["train"], results["data"]["labelled"]) == (300, 100)
    assert (results["classifier"] is None) == (config.finetune is None)
