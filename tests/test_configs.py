"""Every config that is shipped loads, can be planned as it is, and can be carried out in a small form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import REPOSITORY, Cli

from stackae.config import Config
from stackae.config_file import dump_config, load_config

CONFIGS = sorted(path for path in (REPOSITORY / "configs").glob("*.yaml") if path.name != "sweep.yaml")
NEED_FILES = {"mnist", "fashion_mnist"}
SMALL = ["layers.*.width=32", "layers.*.epochs=1", "tracking.wandb=disabled", "compare.baselines=none"]
# Trees and what is mixed with take longer than all else here, and have tests of their own.
QUICK = ["finetune.epochs=1", "finetune.blend=none", "finetune.input_scale=none"]
FEW_ROWS = ["data.split.train=300", "data.split.val=100", "data.split.test=100"]


def traits(config: Config) -> set[object]:
    """What decides which figures a report has, and of what they are drawn."""
    first, last = config.layers[0], config.layers[-1]
    return {
        ("file", config.data.source.endswith(".npz")),
        ("first", first.unit, first.corruption is None),
        ("plane", last.width == 2),
        ("unroll", config.unroll.epochs > 0),
        ("finetune", config.finetune is not None),
        ("scratch", config.compare.scratch),
        ("probe", config.compare.probe),
        ("kind", first.kind in ("variational", "rbm")),
    }


def drawn() -> set[Path]:
    """Configs whose reports are drawn, which takes longer than the run: those with a trait that is new."""
    seen, chosen = set[object](), set[Path]()
    for path in CONFIGS:
        if new := traits(load_config(path)) - seen:
            seen |= new
            chosen.add(path)
    return chosen


DRAWN = drawn()
pytestmark = pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])


def with_data(path: Path, request: pytest.FixtureRequest) -> Config:
    """The config, or a skipped test where its data are not at hand."""
    config = load_config(path)
    if config.data.source in NEED_FILES or needs_folder(config):
        request.getfixturevalue("data_root")
    return config


def needs_folder(config: Config) -> bool:
    """Whether its files are found by the environment variable."""
    return config.data.source.startswith("$STACKAE_DATA/")


def fewer_rows(config: Config) -> list[str]:
    """Overrides that learn from the test file, which is smaller, where there are many rows."""
    packed = config.data.source.endswith(".gz")
    return [f"data.source={config.data.test}", "data.test=null"] if packed else []


def test_loads_under_its_own_name_and_reads_back_as_it_was(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    (tmp_path / "again.yaml").write_text(dump_config(config))

    assert config.name == path.stem
    assert load_config(tmp_path / "again.yaml") == config


def test_can_be_planned(path: Path, request: pytest.FixtureRequest, tmp_path: Path, cli: Cli) -> None:
    config = with_data(path, request)

    # Sources that are files are named from the repository's root.
    done = cli(["plan", path, *fewer_rows(config), "--store", tmp_path / "store"], REPOSITORY)

    assert done.returncode == 0, done.stderr
    stages = [line.split()[0] for line in done.stdout.splitlines()[2:]]
    assert stages[: len(config.layers)] == [f"pretrain-{n + 1}" for n in range(len(config.layers))]
    assert not list(tmp_path.iterdir())


def test_can_be_carried_out(path: Path, request: pytest.FixtureRequest, tmp_path: Path, cli: Cli) -> None:
    config = with_data(path, request)
    small = [*SMALL, *fewer_rows(config)]
    if not config.data.source.endswith(".npz"):
        small += [*FEW_ROWS, "data.labels=100"]
    if config.finetune:
        small += QUICK
        if config.finetune.semi_supervised:
            # The control with labels alone has a length of its own.
            small.append("compare.scratch=false")
    if config.unroll.epochs:
        small.append("unroll.epochs=1")
    if path not in DRAWN:
        small.append("report=false")

    done = cli(["run", path, *small, "--out", tmp_path / "run", "--store", tmp_path / "store"], REPOSITORY)

    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (tmp_path / "run" / "report.html").exists() == (path in DRAWN)
    assert (results["classifier"] is None) == (config.finetune is None)
    assert ("unroll" in [stage["stage"] for stage in results["stages"]]) == (config.unroll.epochs > 0)
