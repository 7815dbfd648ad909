"""The temperature of a run's model: what it is fitted to, where it acts, and where there is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from scipy.special import logsumexp, softmax
from stage_runs import Finished, described

import stackae
from stackae.mixture import cross_mixed
from stackae.temperature import fit_temperature

# A head that starts from zero and learns for some steps is far less sure than it is right.
FIT = {
    "epochs": 12,
    "batch_size": 10,
    "lr": 0.03,
    "dropout": 0.0,
    "input_dropout": 0.0,
    "label_smoothing": 0.2,
}
VALIDATIONS: dict[str, Any] = {
    "folds": {"folds": 4},
    "share": {"share": 0.4},
    "beside": "auto",
    "none": "none",
}
WHERE = {
    "folds": ("finetune", "logits-folds"),
    "share": ("length", "logits-val"),
    "beside": ("finetune", "logits-val"),
}


def finished(folder: Path, validation: str, **finetune: Any) -> Finished:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = rng.normal(0, 0.1, (400, 6)) + 0.5 * (np.arange(6) % 3 == y[:, None]) + 0.2
    np.savez(folder / "data.npz", x=x.clip(0, 1).astype(np.float32), y=y)
    data = {"source": str(folder / "data.npz"), "labels": 60}
    if validation == "beside":
        data["labels_for_validation"] = "all"
    fit = FIT | {"validation": VALIDATIONS[validation]} | finetune
    compare = {"probe": False, "baselines": "none", "scratch": False}
    return Finished(described(folder, data=data, finetune=fit, compare=compare), folder)


@pytest.fixture(scope="module", params=WHERE)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Finished]:
    return request.param, finished(tmp_path_factory.mktemp(request.param), request.param)


def judged(run: Finished) -> np.ndarray:
    """The classes of the rows that validate."""
    assert run.plan.labels is not None
    y = np.concatenate([run.array("data", f"labels-{part}") for part in ("train", "val")])
    return y[run.plan.labels.judged]


def nll(logits: np.ndarray, y: np.ndarray) -> float:
    logits = logits.astype(np.float64)
    return float((logsumexp(logits, axis=1) - logits[np.arange(len(y)), y]).mean())


def test_it_is_fitted_to_the_rows_that_were_not_learnt_from(run: tuple[str, Finished]) -> None:
    name, done = run
    logits, y = done.array(*WHERE[name]), judged(done)
    told = done.results.calibration
    assert told is not None

    assert told["rows"] == len(y) == len(logits)
    assert told["temperature"] == pytest.approx(fit_temperature(logits, y))
    assert told["temperature"] < 0.9
    assert done.results.classifier is not None
    assert told["val"]["before"]["nll"] == pytest.approx(nll(logits, y), rel=1e-5)
    assert told["val"]["before"]["nll"] == pytest.approx(done.results.classifier["val"]["nll"], rel=1e-5)
    assert told["val"]["after"]["nll"] < told["val"]["before"]["nll"]
    # Each row at a temperature that it had no part in, which cannot be better than the one of all.
    assert told["val"]["after"]["nll"] > nll(logits / told["temperature"], y) - 1e-3


def test_the_model_divides_its_logits_by_it_and_predicts_the_same(run: tuple[str, Finished]) -> None:
    _, done = run
    told, model = done.results.calibration, stackae.load(done.run)
    assert told is not None
    with np.load(done.run.parent / "data.npz") as data:
        rows = data["x"][done.plan.split.test]
    logits, y = done.array("finetune", "logits-test"), done.array("data", "labels-test")

    assert model.temperature == told["temperature"]
    found = model.predict_proba(rows)
    np.testing.assert_allclose(found, softmax(logits / told["temperature"], axis=1), atol=1e-5)
    np.testing.assert_array_equal(found.argmax(1), logits.argmax(1))
    assert done.results.classifier is not None
    assert float((found.argmax(1) == y).mean()) == pytest.approx(done.results.classifier["test"]["accuracy"])
    assert told["test"]["after"]["nll"] == pytest.approx(nll(np.log(found), y), rel=1e-4)
    assert told["test"]["after"]["nll"] < told["test"]["before"]["nll"]
    assert told["test"]["after"]["ece"] < told["test"]["before"]["ece"]
    judgement, reasons = model.judge(rows)
    np.testing.assert_allclose(judgement, found, atol=1e-6)
    assert set(reasons) == {"reconstruction"}


def test_where_classes_are_balanced_rows_of_rare_ones_count_for_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [40, 10, 10])
    x = rng.random((60, 6)) + 0.1 * (np.arange(6) % 3 == y[:, None])
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), y=y)
    fit = FIT | {"balance": "weights", "validation": {"folds": 3}}
    compare = {"probe": False, "baselines": "none", "scratch": False}
    data = {"source": str(tmp_path / "data.npz"), "split": {"val": 6, "test": 6}}
    done = Finished(described(tmp_path, data=data, finetune=fit, compare=compare), tmp_path)

    told, logits, y = done.results.calibration, done.array("finetune", "logits-folds"), judged(done)
    weight = 1 / np.bincount(y)[y]
    assert told is not None
    assert told["temperature"] == pytest.approx(fit_temperature(logits, y, weight), rel=1e-5)
    assert told["temperature"] != pytest.approx(fit_temperature(logits, y), rel=0.01)


def test_where_no_row_validates_or_none_is_wanted_there_is_none(tmp_path: Path) -> None:
    for number, (validation, temperature) in enumerate((("none", "auto"), ("folds", "none"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = finished(folder, validation, temperature=temperature)
        assert done.results.calibration is None
        assert stackae.load(done.run).temperature == 1.0


def test_a_temperature_that_would_not_help_rows_that_it_was_not_fitted_to_is_1(tmp_path: Path) -> None:
    # Classes that have nothing to do with the rows: what a fold is taught fits no other.
    described(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    np.savez(tmp_path / "data.npz", x=np.full((90, 6), 0.5, np.float32), y=rng.permutation(y))
    fit = {"epochs": 1, "batch_size": 90, "lr": 1e-9, "validation": {"folds": 3}}
    compare = {"probe": False, "baselines": "none", "scratch": False}
    data = {"source": str(tmp_path / "data.npz"), "labels": 30}
    done = Finished(described(tmp_path, data=data, finetune=fit, compare=compare), tmp_path)

    told = done.results.calibration
    assert told is not None
    assert told["temperature"] == 1.0
    assert told["val"]["after"] == told["val"]["before"]
    assert told["test"]["after"] == told["test"]["before"]


def test_of_a_mean_with_a_baseline_it_is_the_mean_that_is_tempered(tmp_path: Path) -> None:
    folder = tmp_path / "mean"
    folder.mkdir()
    done = finished(folder, "folds", blend="extra_trees")
    told, model = done.results.calibration, stackae.load(done.run)
    assert told is not None
    assert done.results.blend is not None

    use, tiny = done.plan.labels, np.finfo(np.float32).tiny
    assert use is not None
    assert use.fold is not None
    trees = np.log(np.maximum(done.array("baselines", "probabilities-val-extra_trees").astype(float), tiny))
    network, part = done.array("finetune", "logits-folds"), use.fold[use.judged]
    mean = np.log(np.maximum(cross_mixed([network, trees], judged(done), part), tiny))
    assert told["temperature"] in (1.0, pytest.approx(fit_temperature(mean, judged(done))))
    test = done.array("blend", "logits-test")
    assert told["test"]["before"]["nll"] == pytest.approx(done.results.blend["test"]["nll"], rel=1e-5)
    with np.load(folder / "data.npz") as data:
        found = model.predict_proba(data["x"][done.plan.split.test])
    np.testing.assert_allclose(found, softmax(test / told["temperature"], axis=1), atol=2e-5)


def test_a_run_without_it_trains_nothing_anew_and_its_page_is_another(tmp_path: Path, cli: Cli) -> None:
    done = finished(tmp_path, "folds")
    shutil.copy(done.run / "config.yaml", tmp_path / "own.yaml")
    words = ["run", "own.yaml", "report=true", "tracking.wandb=disabled", "--store", "store", "--out", "run"]
    results, pages, shares = [], [], []
    for more in ([], ["finetune.temperature=none"]):
        printed = cli([*words, *more], tmp_path)
        assert printed.returncode == 0, printed.stderr
        results.append(json.loads((tmp_path / "run/results.json").read_text()))
        pages.append((tmp_path / "run/report.html").read_text())
        shares.append(stackae.load(tmp_path / "run").predict_proba(np.load(tmp_path / "data.npz")["x"]))

    assert all(stage["reused"] for stage in results[1]["stages"])
    assert results[1]["calibration"] is None
    figures = results[0]["calibration"]["test"]
    told = f"on the test rows ECE from {figures['before']['ece']:.3f} to {figures['after']['ece']:.3f}"
    assert [told in page for page in pages] == [True, False]
    np.testing.assert_array_equal(shares[0].argmax(1), shares[1].argmax(1))
    assert np.abs(shares[0] - shares[1]).max() > 0.05
