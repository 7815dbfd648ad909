"""Models of the Hub: fetched by name from a server that does as it does, cached, and used on rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Cli
from faults.forked import carry_out
from hub_server import serving

import stackae
from stackae.errors import ArtifactError
from stackae.model import located

SHOP = """\
data: {source: shop.csv, target: bought, separator: ";", decimal: ",", types: {fee: categorical}}
layers: [{width: 6}]
pretrain: {epochs: 1}
finetune: {epochs: 3, validation: none}
compare: {scratch: false, probe: false, baselines: none}
report: false
tracking: {wandb: disabled}
"""


def shop(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 9, rows).round(1)
    bought = np.where(age > 40, "yes", "no")
    return pd.DataFrame({"age": age, "fee": rng.integers(1, 4, rows), "bought": bought})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A run, its export, and rows that are written as its source is."""
    folder = tmp_path_factory.mktemp("shop")
    shop(200, 0).to_csv(folder / "shop.csv", index=False, sep=";", decimal=",")
    shop(9, 1).drop(columns="bought").to_csv(folder / "new.csv", index=False, sep=";", decimal=",")
    (folder / "shop.yaml").write_text(SHOP)
    for words in (["run", "shop.yaml", "--quiet"], ["export", "runs/shop", "--to", "hf", "-o", "made"]):
        done = cli(words, folder)
        assert done.returncode == 0, done.stderr
    # What a stranger's repository may hold beside a model.
    shutil.copytree(folder / "made", folder / "theirs")
    (folder / "theirs/model.pkl").write_bytes(b"evil")
    (folder / "theirs/setup.py").write_text("raise SystemExit('evil')")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[Any]:
    with serving() as server:
        server.repository = ("me/shop", folder / "theirs")
        yield server


def env(hub: Any, cache: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }


def test_rows_are_predicted_by_a_model_of_the_hub_as_by_its_run(
    folder: Path, hub: Any, tmp_path: Path
) -> None:
    expected = carry_out(["predict", "runs/shop", "new.csv", "-o", "-"], folder)
    for name in ("me/shop", "me/shop@main", "made"):
        found = carry_out(["predict", name, "new.csv", "-o", "-"], folder, env(hub, tmp_path / "cache"))
        assert found.returncode == 0, found.stderr
        assert found.stdout == expected.stdout
    assert len(found.stdout.splitlines()) == 10
    fetched = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}
    assert fetched == {"config.json", "model.safetensors", "preprocessing.skops"}


def test_what_was_fetched_once_is_used_without_the_hub(folder: Path, hub: Any, tmp_path: Path) -> None:
    program = "import stackae; print(stackae.load('me/shop').classes)"
    told = env(hub, tmp_path / "cache")
    assert carry_out([], folder, told, program).stdout == "('no', 'yes')\n"
    offline = carry_out([], folder, {**told, "HF_HUB_OFFLINE": "1"}, program)
    assert offline.stdout == "('no', 'yes')\n", offline.stderr


@pytest.mark.parametrize("name", ["me/none", "me/shop@older"])
def test_what_the_hub_does_not_have_is_one_line(folder: Path, hub: Any, tmp_path: Path, name: str) -> None:
    done = carry_out(["predict", name, "new.csv", "-o", "-"], folder, env(hub, tmp_path / "cache"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{name}: no such folder, ")
    assert "Hugging Face Hub" in line


@pytest.mark.parametrize("name", ["runs/none", "made/none", "a/b/c", "../me", "/me/shop", "shop"])
def test_what_is_a_path_is_not_asked_for(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert located(name) == Path(name)
    with pytest.raises(ArtifactError, match="no model in this folder"):
        stackae.load(name)
