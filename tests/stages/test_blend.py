"""A model that is averaged with several baselines, one of them on the codes of the pretrained layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from conftest import Cli
from safetensors.numpy import load_file
from stage_runs import Finished, described

import stackae
from stackae.errors import ArtifactError
from stackae.stages import means


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose mean leaves nobody out."""
    folder = tmp_path_factory.mktemp("blend")
    source = described(folder).data.source
    changes = {
        "data": {"source": source, "labels": 30},
        "finetune": {"epochs": 3, "batch_size": 25, "lr": 0.05, "blend": "auto", "temperature": "none"},
        "compare": {"baselines": ["logistic_regression", "svm"], "probe": False, "scratch": False},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(means, "LEAST", 0.0)
        return Finished(described(folder, **changes), folder)


def test_the_stage_has_the_mean_of_all_by_their_shares_and_powers(finished: Finished) -> None:
    told = finished.results.blend
    assert told is not None
    assert {"name": "logistic_regression", "on": "columns and codes"}.items() <= told["partners"][-1].items()
    mixture = finished.entries["blend"].metrics["blend"]
    stages = {"columns": "baselines", "columns and codes": "baselines-codes"}
    every = [np.exp(finished.array("finetune", "logits-test").astype(float))]
    for each in told["partners"]:
        every.append(finished.array(stages[each["on"]], f"probabilities-test-{each['name']}").astype(float))
    raised = [shares**power for shares, power in zip(every, mixture["powers"], strict=True)]
    normal = [shares / shares.sum(1, keepdims=True) for shares in raised]
    expected = sum(share * each for share, each in zip(mixture["shares"], normal, strict=True))
    np.testing.assert_allclose(np.exp(finished.array("blend", "logits-test")), expected, rtol=1e-6)
    assert sum(mixture["shares"]) == pytest.approx(1)
    assert [each["share"] for each in told["partners"]] == mixture["shares"][1:]


def test_another_process_and_an_export_predict_what_the_stage_found(finished: Finished, cli: Cli) -> None:
    folder, rows = finished.run.parent, finished.plan.split.test
    expected = np.exp(finished.array("blend", "logits-test"))
    assert cli(["predict", "run", "data.npz", "-o", "p.csv", "--quiet"], folder).returncode == 0
    found = pd.read_csv(folder / "p.csv")
    columns = [column for column in found if column.startswith("probability_")]
    np.testing.assert_allclose(found[columns].to_numpy()[rows], expected, atol=2e-5)
    done = cli(["export", "run", "--to", "onnx", "-o", "m.onnx"], folder)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "data.npz") as data:
        session = onnxruntime.InferenceSession(folder / "m.onnx")
        _, shares, _ = session.run(None, {session.get_inputs()[0].name: data["x"][rows]})
    np.testing.assert_allclose(shares, expected, atol=1e-4)


def test_it_holds_the_pretrained_layers_and_not_the_fine_tuned_ones(finished: Finished) -> None:
    encoder, held = (
        load_file(finished.run / f"model/{name}.safetensors") for name in ("encoder", "classifier")
    )
    for name, weights in encoder.items():
        np.testing.assert_array_equal(held[f"coder.{name}"], weights)


def test_shares_that_are_not_as_many_are_refused(finished: Finished, tmp_path: Path) -> None:
    for path in (finished.run / "model").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "config.json").read_text()
    start = text.index('"shares": [') + len('"shares": [')
    (tmp_path / "config.json").write_text(text[:start] + "0.5, " + text[start:])
    with pytest.raises(ArtifactError, match="not as many shares") as caught:
        stackae.load(tmp_path)
    assert "\n" not in str(caught.value)
