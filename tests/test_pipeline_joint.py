"""Learning from rows without labels through the whole main path: what is left is a plain model."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import Cli
from safetensors.numpy import load_file
from sklearn.datasets import load_digits

import stackae
from stackae.errors import ConfigError

METHODS = {
    "ladder": "{type: ladder, weights: [100, 1, 0.1]}",
    "consistency": "{type: consistency, epsilon: 0.2}",
    "reconstruction": "{type: reconstruction, weight: 10}",
}
CONFIG = """
data: {source: digits, labels: {per_class: 4}}
layers: [{width: 80}, {width: 40}]
pretrain: {epochs: 4}
finetune: {epochs: 8, validation: none}
compare: {probe: false, baselines: none}
report: false
tracking: {wandb: disabled}
"""


def carried_out(folder: Path, *words: str) -> Any:
    path = folder / "joint.yaml"
    path.write_text(CONFIG)
    return stackae.run(path, [*words], out=folder / "run", store=folder / "store")


@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns_and_leaves_a_plain_model(method: str, tmp_path: Path) -> None:
    # Of the methods nothing but the first fit differs; one of them has controls.
    controlled = method == "ladder"
    words = f"finetune.semi_supervised={METHODS[method]}"
    results = carried_out(tmp_path, words, f"compare.scratch={str(controlled).lower()}")
    by_stage = {stage["stage"]: stage for stage in results.stages}

    history = list(csv.DictReader((tmp_path / "run" / "metrics" / "finetune.csv").open()))
    assert [set(row) >= {"cross_entropy", "unlabelled"} for row in history] == [True] * 8
    for row in history:
        total = float(row["cross_entropy"]) + float(row["unlabelled"])
        assert float(row["train_loss"]) == pytest.approx(total, rel=1e-3)
    if controlled:
        alone = (tmp_path / "run" / "metrics" / "labels-alone.csv").read_text()
        assert "unlabelled" not in alone
        assert by_stage["labels-alone"]["epochs"] > 8
        assert results.labels_alone["test"] != results.scratch["test"]
        assert results.scratch["test"]["accuracy"] > 0.6
    assert results.classifier["test"]["accuracy"] > 0.6

    names = set(load_file(tmp_path / "run" / "model" / "classifier.safetensors"))
    assert names == {
        *(f"encoder.layers.{number}.1.{kind}" for number in (0, 1) for kind in ("weight", "bias")),
        *("head.weight", "head.bias", "shortcut.weight"),
    }
    with (tmp_path / "run" / "test-predictions.csv").open() as file:
        predicted = {int(row["row"]): row["pretrained"] for row in csv.DictReader(file)}
    rows = load_digits().data.astype(np.float32)
    model = stackae.load(tmp_path / "run")
    assert [str(each) for each in model.predict(rows[[*predicted]])] == list(predicted.values())


def test_its_export_predicts_the_same(tmp_path: Path, cli: Cli) -> None:
    carried_out(tmp_path, f"finetune.semi_supervised={METHODS['ladder']}", "compare.scratch=false")
    done = cli(["export", "run", "--to", "onnx", "-o", "out.onnx"], tmp_path)
    assert done.returncode == 0, done.stderr
    rows = load_digits().images.astype(np.float32)[:300]
    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    (given,) = session.get_inputs()
    (shares,) = session.run(["probabilities"], {given.name: rows})
    expected = stackae.load(tmp_path / "run").predict_proba(rows)
    np.testing.assert_allclose(shares, expected, atol=1e-4)


def test_each_fold_learns_without_its_own_labels(tmp_path: Path) -> None:
    results = carried_out(
        tmp_path,
        f"finetune.semi_supervised={METHODS['ladder']}",
        "finetune.validation={folds: 2}",
        "compare.scratch=false",
    )
    assert results.data["folds"] == 2
    # Out of fold it is judged by what it has not learnt, and right more often than chance.
    assert 0.4 < results.classifier["val"]["accuracy"] < 1.0


def test_without_the_control_from_scratch_there_is_no_other(tmp_path: Path) -> None:
    results = carried_out(tmp_path, f"finetune.semi_supervised={METHODS['ladder']}", "compare.scratch=false")
    assert (results.scratch, results.labels_alone) == (None, None)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["labels_alone"] is None


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["finetune.semi_supervised={type: ladder}", "layers.0.unit=conv"], "is for dense layers"),
        (["finetune.semi_supervised={type: ladder}", "finetune.batch_norm=false"], "batch_norm: true"),
        (["finetune.semi_supervised={type: consistency}", "finetune.freeze_encoder=true"], "freeze_encoder"),
        (["finetune.semi_supervised={type: ladder, weights: [1, 1, 1, 1, 1]}"], "5 weights for 4 levels"),
    ],
)
def test_what_does_not_go_together_is_said(words: list[str], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=told):
        carried_out(tmp_path, *words)
