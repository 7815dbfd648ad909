"""The stack trained as a whole: what it starts from, what it is, and what starts from it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from stage_runs import WIDTH, Finished, described, layer_arrays

from stackae.build import build_unit, code_shape
from stackae.config import LayerConfig
from stackae.model import load
from stackae.shallow.losses import LOSSES
from stackae.stages.pretrain import _start_at_mean

UNROLL = {"epochs": 3, "batch_size": 25, "lr": 0.05}

# ---- layers that are left to the unrolled training

UNTRAINED: dict[str, dict[str, Any]] = {
    "dense": {"activation": "sigmoid"},
    "tied": {"activation": "sigmoid", "tied": True},
    "thinned out": {"connectivity": 0.5},
    "conv": {"unit": "conv"},
    "pooled and tied conv": {"unit": "conv", "pool": 2, "tied": True},
    "variational": {"kind": "variational"},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", UNTRAINED)
def test_where_its_code_says_nothing_an_untrained_unit_reconstructs_the_mean(name: str, loss: str) -> None:
    shape = (2, 4, 6)
    mean = np.random.default_rng(0).uniform(0.05, 0.95, shape)
    layer = LayerConfig.model_validate({"width": 3} | UNTRAINED[name])
    unit = build_unit(layer, shape, first=True)
    _start_at_mean(unit, LOSSES[loss], mean)
    with torch.no_grad():
        code = torch.zeros(1, *code_shape(layer, shape, first=True))
        (found,) = LOSSES[loss].activation()(unit.decoder(code))
    # A conv unit has one bias for a channel.
    expected = mean if layer.unit == "dense" else np.broadcast_to(mean.mean((1, 2), keepdims=True), shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_without_epochs_a_layer_keeps_its_random_weights_but_for_its_output_bias(tmp_path: Path) -> None:
    fit = {"epochs": 0, "lr": 0.05}
    unroll = UNROLL | {"epochs": 40}
    finished = Finished(described(tmp_path, pretrain=fit, unroll=unroll, finetune=None), tmp_path)
    for below, number in (("data", 1), ("pretrain-1", 2)):
        w, b, v, c = layer_arrays(finished.weights(f"pretrain-{number}"))
        assert w.std() > 0.1
        assert v.std() > 0.1
        assert not b.any()
        mean = finished.array(below, "features-train").mean(0, dtype=np.float64)
        np.testing.assert_allclose(c, logit(mean), rtol=1e-4)
        entry = finished.entries[f"pretrain-{number}"]
        assert entry.metrics["epochs"] == 0
        assert entry.file("metrics.csv").read_text().split() == ["epoch"]
    assert finished.entries["unroll"].metrics["test_mse"] < finished.entries["pretrain-2"].metrics["test_mse"]
    moved = finished.weights("unroll")["units.0.encoder.1.weight"]
    assert not np.array_equal(moved, finished.weights("pretrain-1")["encoder.1.weight"])


# ---- the stack as a whole


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("unrolled")
    tuned = {"epochs": 1, "lr": 1e-30, "optimizer": "sgd", "batch_norm": False}
    return Finished(described(folder, unroll=UNROLL, finetune=tuned, compare={"probe": True}), folder)


def by_hand(weights: dict[str, np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes and the reconstructions of two layers, the upper with a rectifier, under Bernoulli losses."""
    (w1, b1, v1, c1), (w2, b2, v2, c2) = (layer_arrays(weights, f"units.{n}.") for n in (0, 1))
    codes = np.maximum(expit(x @ w1.T + b1) @ w2.T + b2, 0)
    return codes, expit(expit(codes @ v2.T + c2) @ v1.T + c1)


def test_it_is_trained_to_reconstruct_the_data_through_all_layers(finished: Finished) -> None:
    """The last validation in training, the features and the finished weights agree, by hand."""
    metrics, weights = finished.entries["unroll"].metrics, finished.weights("unroll")
    x = {split: finished.array("data", f"features-{split}").astype(np.float64) for split in ("val", "test")}
    _, guess = by_hand(weights, x["val"])
    loss = -(x["val"] * np.log(guess) + (1 - x["val"]) * np.log(1 - guess)).sum(1).mean()
    assert metrics["val_reconstruction"] == pytest.approx(loss, rel=1e-4)
    mean = finished.array("data", "features-train").mean(0, dtype=np.float64)
    ratio = ((guess - x["val"]) ** 2).sum() / ((x["val"] - mean) ** 2).sum()
    assert metrics["reconstruction_ratio"] == pytest.approx(ratio, rel=1e-4)

    codes, guess = by_hand(weights, x["test"])
    np.testing.assert_allclose(finished.array("unroll", "features-test"), codes, atol=1e-5)
    assert metrics["test_mse"] == pytest.approx(((guess - x["test"]) ** 2).mean(), rel=1e-4)
    assert metrics["test_sse_per_row"] == pytest.approx(((guess - x["test"]) ** 2).sum(1).mean(), rel=1e-4)
    assert metrics["test_mse"] < finished.entries["pretrain-2"].metrics["test_mse"]
    assert finished.results.reconstruction["test"]["mse"] == metrics["test_mse"]


def test_it_starts_from_the_pretrained_weights_and_trains_them_all(
    finished: Finished, tmp_path: Path
) -> None:
    folder = Path(finished.plan.config.data.source).parent
    still = {"epochs": 1, "lr": 1e-30, "optimizer": "sgd"}
    config = described(folder, unroll=still, finetune=None)
    start, moved = Finished(config, tmp_path).weights("unroll"), finished.weights("unroll")
    for number in (1, 2):
        for name, pretrained in finished.weights(f"pretrain-{number}").items():
            np.testing.assert_array_equal(start[f"units.{number - 1}.{name}"], pretrained)
            assert not np.array_equal(moved[f"units.{number - 1}.{name}"], pretrained)


def test_fine_tuning_starts_from_the_unrolled_weights_and_the_control_does_not(finished: Finished) -> None:
    tuned, control, unrolled = (finished.weights(stage) for stage in ("finetune", "scratch", "unroll"))
    for number in (0, 1):
        for part in ("weight", "bias"):
            name = f"encoder.layers.{number}.1.{part}"
            wanted = unrolled[f"units.{number}.encoder.1.{part}"]
            np.testing.assert_array_equal(tuned[name], wanted)
            assert not np.array_equal(control[name], wanted)


# ---- the saved model

RUNS: dict[str, list[dict[str, Any]]] = {
    "dense": [{"activation": "sigmoid"}, {"activation": "relu"}, {"width": 4}],
    "tied": [{"activation": "tanh", "tied": True}, {"tied": True}],
    "thinned out": [{"connectivity": 0.5}, {"connectivity": 0.5, "tied": True}],
    "conv": [{"unit": "conv", "width": 2, "pool": 2}, {"unit": "conv", "stride": 2}, {"kind": "plain"}],
    "tied conv": [{"unit": "conv", "width": 2, "tied": True, "pool": 4}, {"kind": "k_sparse", "k": 2}],
    "variational": [{"activation": "relu"}, {"kind": "variational", "width": 3}],
    "boltzmann": [{"kind": "rbm"}, {"kind": "rbm", "activation": "linear", "width": 3}],
}


@pytest.mark.parametrize("epochs", [0, 1], ids=["stacked", "unrolled"])
@pytest.mark.parametrize("name", RUNS)
def test_a_saved_model_encodes_and_reconstructs_what_the_run_says(
    name: str, epochs: int, tmp_path: Path
) -> None:
    config = described(
        tmp_path,
        layers=[{"width": WIDTH} | layer for layer in RUNS[name]],
        pretrain={"epochs": 1, "batch_size": 25},
        unroll=UNROLL | {"epochs": epochs},
        finetune=None,
    )
    finished = Finished(config, tmp_path)
    last = "unroll" if epochs else f"pretrain-{len(RUNS[name])}"
    model, x = load(finished.run), finished.array("data", "features-test")
    metrics = finished.entries[last].metrics
    assert math.isfinite(metrics["test_mse"])
    assert np.square(model.reconstruct(x) - x).mean() == pytest.approx(metrics["test_mse"], rel=1e-4)
    codes = finished.array(last, "features-test")
    np.testing.assert_allclose(model.encode(x), codes, atol=1e-5)
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(x), atol=1e-5)
    if name == "variational":
        drawn = model.sample(4, seed=1)
        assert drawn.shape == (4, *x.shape[1:])
        assert np.array_equal(drawn, model.sample(4, seed=1))
