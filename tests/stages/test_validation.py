"""Folds, a hold-out with a refit, and neither: who learnt from which rows, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, logsumexp, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stage_runs import Finished, described
from torch import nn

import stackae
from stackae.stages.finetune import class_weights

# Where classes are alike in number, Adam makes steps of a gradient that is nothing but rounding.
FIT = {"epochs": 4, "batch_size": 100, "optimizer": "sgd", "lr": 0.2, "batch_norm": False}
FOLDS = 3


def finished(folder: Path, validation: Any, *, labels: Any = 30, **changes: Any) -> Finished:
    """A run with few labels, those of the validation rows not among them, in `folder`."""
    described(folder)  # writes the data
    data = {"source": str(folder / "data.npz"), "labels": labels}
    fit = FIT | changes.pop("finetune", {}) | {"validation": validation}
    return Finished(described(folder, data=data, finetune=fit, **changes), folder)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.mktemp("folded"), {"folds": FOLDS}, compare={"probe": True})


@pytest.fixture(scope="module")
def refitted(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.mktemp("refitted"), {"share": 0.3}, compare={"probe": True}, seed=3)


def inputs(run: Finished) -> tuple[np.ndarray, np.ndarray]:
    """The rows of training and validation and their classes, in turn."""
    parts = ("train", "val")
    x = np.concatenate([run.array("data", f"features-{part}") for part in parts]).astype(np.float64)
    return x, np.concatenate([run.array("data", f"labels-{part}") for part in parts])


def logits(run: Finished, stage: str, x: np.ndarray, member: int | None = None) -> np.ndarray:
    """What a network of a finished stage, by its weights, says of rows."""
    within = "" if member is None else f"members.{member}."
    weights = {name: w.astype(np.float64) for name, w in run.weights(stage).items()}
    for depth, function in enumerate((expit, lambda a: np.maximum(a, 0))):
        name = f"{within}encoder.layers.{depth}.1"
        x = function(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])
    found: np.ndarray = x @ weights[f"{within}head.weight"].T + weights[f"{within}head.bias"]
    return found


def trained_by_hand(run: Finished, rows: np.ndarray, epochs: int) -> np.ndarray:
    """What a network says of all rows, trained from the pretrained weights on some by plain PyTorch.

    One batch an epoch, stochastic gradient descent with momentum, a cosine over four epochs.
    """
    x, y = (torch.from_numpy(part) for part in inputs(run))
    network = nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    network.double()
    with torch.no_grad():
        for place, number in ((0, 1), (2, 2)):
            start = run.weights(f"pretrain-{number}")
            network[place].weight.copy_(torch.from_numpy(start["encoder.1.weight"]))
            network[place].bias.copy_(torch.from_numpy(start["encoder.1.bias"]))
        network[4].weight.zero_()
        network[4].bias.zero_()
    chosen = torch.from_numpy(rows)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.2, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x[chosen]), y[chosen]).backward()
        optimizer.step()
        schedule.step()
    found: np.ndarray = network(x).detach().numpy()
    return found


# ---- folds


@pytest.mark.parametrize("stage", ["finetune", "scratch"])
def test_each_row_is_judged_by_the_network_that_left_it_out(folded: Finished, stage: str) -> None:
    use = folded.plan.labels
    assert use is not None
    assert use.fold is not None
    x, y = inputs(folded)
    rows = np.flatnonzero(use.learn)
    assert len(rows) == 30
    expected = np.stack([logits(folded, stage, x[[row]], use.fold[row])[0] for row in rows])
    found = folded.array(stage, "logits-folds")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    val = folded.entries[stage].metrics["val"]
    assert val["accuracy"] == pytest.approx((expected.argmax(1) == y[rows]).mean())
    assert val["nll"] == pytest.approx(-log_softmax(expected, 1)[np.arange(30), y[rows]].mean(), rel=1e-4)
    # They differ, so the test would see another network's.
    assert not np.allclose(found, logits(folded, stage, x[rows], 0), atol=1e-3)


@pytest.mark.parametrize("stage", ["finetune", "scratch"])
def test_the_networks_probabilities_are_averaged(folded: Finished, stage: str) -> None:
    x = folded.array("data", "features-test").astype(np.float64)
    each = np.stack([log_softmax(logits(folded, stage, x, member), 1) for member in range(FOLDS)])
    expected = logsumexp(each, 0) - np.log(FOLDS)
    np.testing.assert_allclose(folded.array(stage, "logits-test"), expected, atol=1e-5)


def test_each_network_is_the_one_that_would_be_trained_on_its_own_rows_alone(folded: Finished) -> None:
    use = folded.plan.labels
    assert use is not None
    assert use.fold is not None
    x, _ = inputs(folded)
    for member in range(FOLDS):
        expected = trained_by_hand(folded, use.learn & (use.fold != member), 4)
        np.testing.assert_allclose(logits(folded, "finetune", x, member), expected, atol=1e-4)


def test_folds_from_scratch_start_from_other_weights_each(tmp_path: Path) -> None:
    still = finished(tmp_path, {"folds": 2}, finetune={"lr": 1e-30})
    tuned, control = still.weights("finetune"), still.weights("scratch")
    name = "encoder.layers.0.1.weight"
    pretrained = still.weights("pretrain-1")["encoder.1.weight"]
    for member in range(2):
        np.testing.assert_array_equal(tuned[f"members.{member}.{name}"], pretrained)
    assert not np.array_equal(control[f"members.0.{name}"], control[f"members.1.{name}"])


def test_a_runs_model_averages_as_the_run_did(folded: Finished) -> None:
    model = stackae.load(folded.run)
    with np.load(folded.run.parent / "data.npz") as data:
        rows = data["x"][folded.plan.split.test]
    probabilities = model.predict_proba(rows)
    expected = softmax(folded.array("finetune", "logits-test") / model.temperature, axis=1)
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert folded.results.data["folds"] == FOLDS
    assert folded.results.data["labelled"] == 30


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_folds_balance_classes_too(balance: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(600) % 20 == 0).astype(int)
    x = rng.normal(size=(600, 6)) + 1.5 * y[:, None] * (np.arange(6) < 2)
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), y=y)
    found = {}
    for name in ("none", balance):
        fit = {"epochs": 8, "batch_size": 50, "lr": 0.02, "optimizer": "adamw", "balance": name}
        run = finished(tmp_path, "auto", labels="all", finetune=fit, compare={"scratch": False})
        assert run.results.data["folds"] == 5
        assert run.results.classifier is not None
        found[name] = run.results.classifier["val"]["per_class_recall"]
    assert found[balance][1] > found["none"][1] + 0.2


# ---- a hold-out, and a refit


@pytest.mark.parametrize(("length", "stage"), [("length", "finetune"), ("scratch-length", "scratch")])
def test_the_length_found_is_the_length_of_the_refit(refitted: Finished, length: str, stage: str) -> None:
    first, second = refitted.entries[length].metrics, refitted.entries[stage].metrics
    assert first["epochs"] == 4
    assert second["epochs"] == first["kept_epoch"]
    assert second["val"] == first["val"]
    assert refitted.results.data["held_out"] == 9
    rows = refitted.plan.labels
    assert rows is not None
    _, y = inputs(refitted)
    judged = refitted.array(length, "logits-val")
    assert len(judged) == 9
    assert first["val"]["accuracy"] == pytest.approx((judged.argmax(1) == y[rows.validates]).mean())


def test_the_refit_learns_from_all_under_the_schedule_of_the_whole_length(refitted: Finished) -> None:
    use = refitted.plan.labels
    assert use is not None
    kept = refitted.entries["length"].metrics["kept_epoch"]
    assert kept > 1
    first, second = (trained_by_hand(refitted, rows, kept) for rows in (use.first, use.learn))
    np.testing.assert_allclose(refitted.array("length", "logits-val"), first[use.validates], atol=1e-4)
    np.testing.assert_allclose(logits(refitted, "finetune", inputs(refitted)[0]), second, atol=1e-4)
    assert not np.allclose(first, second, atol=1e-3)


def test_of_many_labels_those_of_the_validation_rows_are_learnt_from_in_the_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(1400) % 3
    x = rng.random((1400, 6)) + 0.3 * (np.arange(6) % 3 == y[:, None])
    np.savez(tmp_path / "data.npz", x=x.astype(np.float32), y=y)
    run = finished(
        tmp_path, "auto", labels="all", compare={"scratch": False, "probe": False, "baselines": "none"}
    )
    assert [stage["stage"] for stage in run.results.stages] == [
        "pretrain-1",
        "pretrain-2",
        "length",
        "finetune",
    ]
    assert run.results.data["labelled"] == run.results.data["train"] + run.results.data["val"] == 1120
    assert run.results.data["held_out"] == run.results.data["val"] == 112


# ---- neither


def test_without_validation_the_last_weights_stay_and_nothing_is_said_of_it(tmp_path: Path) -> None:
    run = finished(tmp_path, "none", compare={"probe": True})
    assert run.results.classifier is not None
    assert run.results.classifier["val"] is None
    assert run.results.classifier["test"]["accuracy"] > 0
    metrics = run.entries["finetune"].metrics
    assert (metrics["epochs"], metrics["kept_epoch"]) == (4, 4)
    assert [depth["val"] for depth in run.results.probe] == [None] * 3
    history = (run.run / "metrics" / "finetune.csv").read_text().splitlines()
    assert history[0] == "epoch,train_loss,seconds"


# ---- the probe


def probe_by_hand(
    run: Finished, depth: int, parts: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, float]:
    """The best strength over the parts, each rows to fit to and rows to judge by, and its accuracy there."""
    stage = ["data", "pretrain-1", "pretrain-2"][depth]
    x = np.concatenate([run.array(stage, f"features-{part}") for part in ("train", "val")])
    x, y = x.reshape(len(x), -1), inputs(run)[1]
    best = (0.0, -1.0)
    for strength in (0.001, 0.01, 0.1, 1.0):
        predicted, true = [], []
        for fitted, judged in parts:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))
            predicted += list(model.fit(x[fitted], y[fitted]).predict(x[judged]))
            true += list(y[judged])
        accuracy = accuracy_score(true, predicted)
        if accuracy > best[1]:
            best = (strength, accuracy)
    return best


def test_the_probes_penalty_is_chosen_out_of_fold_and_on_held_out_rows(
    folded: Finished, refitted: Finished
) -> None:
    of_folds, of_share = folded.plan.labels, refitted.plan.labels
    assert of_folds is not None
    assert of_share is not None
    assert of_folds.fold is not None
    numbers = [
        (
            np.flatnonzero((of_folds.fold >= 0) & (of_folds.fold != fold)),
            np.flatnonzero(of_folds.fold == fold),
        )
        for fold in range(FOLDS)
    ]
    held_out = [(np.flatnonzero(of_share.first), np.flatnonzero(of_share.validates))]
    for run, parts in ((folded, numbers), (refitted, held_out)):
        for depth, found in enumerate(run.results.probe):
            strength, accuracy = probe_by_hand(run, depth, parts)
            assert found["C"] == strength
            assert found["val"]["accuracy"] == pytest.approx(accuracy)


def test_the_probe_learns_from_all_labelled_rows(folded: Finished) -> None:
    use = folded.plan.labels
    assert use is not None
    x, y = inputs(folded)
    found = folded.results.probe[0]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=found["C"], max_iter=200, tol=1e-3))
    rows = use.learn
    model.fit(x.reshape(len(x), -1)[rows].astype(np.float32), y[rows])
    test = folded.array("data", "features-test")
    accuracy = model.score(test.reshape(len(test), -1), folded.array("data", "labels-test"))
    assert found["test"]["accuracy"] == pytest.approx(accuracy)


def test_classes_that_no_row_is_left_of_weigh_nothing_badly() -> None:
    assert class_weights(np.array([0, 0, 2, 2])).isfinite().all()
