"""The recipe in docs/scale.md does what the command line does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY, Cli
from documents import blocks

RUN = """\
data: {source: shop.parquet, target: label, drop: [id]}
layers: [{width: 6}]
pretrain: {epochs: 2}
finetune: {epochs: 2}
compare: {scratch: false, probe: false, baselines: none}
trainer: {accelerator: cpu}
tracking: {wandb: disabled}
report: false
"""

LOCAL = "import ray; ray.init(num_cpus=4, include_dashboard=False)\n"
"""A cluster of this machine alone, which is to have as many cores as the recipe has steps."""


def rows(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, city = rng.normal(40, 10, count), rng.choice(["Bern", "Ulm", "Graz"], count)
    label = np.where(age + 10 * (city == "Ulm") > 42, "again", "never")
    return pd.DataFrame({"id": np.arange(count), "age": age, "city": city, "label": label})


def test_ray_finds_what_the_command_line_finds(tmp_path: Path, cli: Cli) -> None:
    pytest.importorskip("ray", reason="ray is not installed, so its recipe is not carried out")
    rows(200, 0).to_parquet(tmp_path / "shop.parquet")
    (tmp_path / "shop.yaml").write_text(RUN)
    (tmp_path / "rows").mkdir()
    for shard in range(3):
        some = rows(50, 1 + shard).assign(id=range(50 * shard, 50 * shard + 50))
        if shard == 2:
            some.loc[some.index[0], "city"] = "Rome"
        some.to_parquet(tmp_path / f"rows/{shard}.parquet")
    assert cli(["run", "shop.yaml"], tmp_path).returncode == 0
    predict = ["predict", "runs/shop", "rows", "--keep", "id", "-o", "predicted.parquet"]
    assert cli(predict, tmp_path).returncode == 0
    assert (
        cli(["encode", "runs/shop", "rows", "--keep", "id", "-o", "codes.parquet"], tmp_path).returncode == 0
    )

    (recipe,) = [block.text for block in blocks(REPOSITORY / "docs/scale.md") if block.language == "python"]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"}
    # Its processes would yield to all others, which the other tests are.
    env["RAY_worker_niceness"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", LOCAL + recipe],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr

    found = pd.read_parquet(tmp_path / "found").sort_values("id", ignore_index=True)
    predicted = pd.read_parquet(tmp_path / "predicted.parquet").sort_values("id", ignore_index=True)
    codes = pd.read_parquet(tmp_path / "codes.parquet").sort_values("id", ignore_index=True)
    assert found["id"].tolist() == list(range(150))
    assert found["class"].tolist() == predicted["class"].tolist()
    assert found["unlike_training"].tolist() == predicted["unlike_training"].tolist()
    assert found["unlike_training"][100]
    likeliest = predicted.filter(like="probability_").max(axis=1)
    np.testing.assert_allclose(found["probability"], likeliest, rtol=1e-5)
    names = [f"code_{unit}" for unit in range(1, 7)]
    np.testing.assert_allclose(found[names], codes[names], rtol=1e-5, atol=1e-6)
