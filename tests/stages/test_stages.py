"""Stages against their finished files: what was trained, on what, and what lies in the store afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import binom
from stage_runs import PLAIN, WIDTH, Finished, described, layer_arrays
from torch import nn

from stackae.data.read import read_source
from stackae.plan import make_plan
from stackae.stages.finished import load_units


@contextmanager
def first_inputs() -> Iterator[list[np.ndarray]]:
    """The inputs of every linear layer that reads the input of a network in training."""
    seen: list[np.ndarray] = []

    def keep(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, nn.Flatten) and torch.is_grad_enabled():
            seen.append(given[0].detach().numpy().copy())

    hook = nn.modules.module.register_module_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


ACTIVATED: list[Callable[[np.ndarray], np.ndarray]] = [expit, lambda a: np.maximum(a, 0)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("stages")
    return Finished(described(folder), folder)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_features_are_clean_codes_with_activation_and_bias(finished: Finished, split: str) -> None:
    x = finished.array("data", f"features-{split}").astype(np.float64)
    for number, function in enumerate(ACTIVATED, 1):
        w, b, _, _ = layer_arrays(finished.weights(f"pretrain-{number}"))
        assert b.any()
        x = function(x @ w.T + b)
        np.testing.assert_allclose(finished.array(f"pretrain-{number}", f"features-{split}"), x, atol=1e-5)


def test_a_layer_is_trained_through_the_activation_that_its_features_have(finished: Finished) -> None:
    """The last validation in training and the finished weights, by hand, agree on the clean loss."""
    x = finished.array("data", "features-val").astype(np.float64)
    assert [layer.loss for layer in finished.plan.layers] == ["bernoulli", "bernoulli"]
    for number, function in enumerate(ACTIVATED, 1):
        w, b, v, c = layer_arrays(finished.weights(f"pretrain-{number}"))
        code = function(x @ w.T + b)
        guess = expit(code @ v.T + c)
        loss = -(x * np.log(guess) + (1 - x) * np.log(1 - guess)).sum(1).mean()
        metrics = finished.entries[f"pretrain-{number}"].metrics
        assert metrics["val_reconstruction"] == pytest.approx(loss, rel=1e-4)
        train = finished.array("data" if number == 1 else "pretrain-1", "features-train")
        ratio = ((guess - x) ** 2).sum() / ((x - train.mean(0, dtype=np.float64)) ** 2).sum()
        assert metrics["reconstruction_ratio"] == pytest.approx(ratio, rel=1e-4)
        x = code


def test_the_whole_stack_reconstructs_the_data(finished: Finished) -> None:
    x = finished.array("data", "features-test").astype(np.float64)
    guess = finished.array("pretrain-2", "features-test").astype(np.float64)
    for number in (2, 1):
        _, _, v, c = layer_arrays(finished.weights(f"pretrain-{number}"))
        guess = expit(guess @ v.T + c)
    metrics = finished.entries["pretrain-2"].metrics
    assert metrics["test_sse_per_row"] == pytest.approx(((guess - x) ** 2).sum(1).mean(), rel=1e-4)
    assert metrics["test_mse"] == pytest.approx(((guess - x) ** 2).mean(), rel=1e-4)


def test_logits_are_those_of_the_saved_classifier_without_dropout(finished: Finished) -> None:
    x = finished.array("data", "features-test").astype(np.float64)
    weights = {name: w.astype(np.float64) for name, w in finished.weights("finetune").items()}
    for depth, function in enumerate(ACTIVATED):
        x = function(
            x @ weights[f"encoder.layers.{depth}.1.weight"].T + weights[f"encoder.layers.{depth}.1.bias"]
        )
    logits = x @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(finished.array("finetune", "logits-test"), logits, atol=1e-5)
    y = finished.array("data", "labels-test")
    accuracy = (logits.argmax(1) == y).mean()
    assert finished.entries["finetune"].metrics["test"]["accuracy"] == pytest.approx(accuracy)


def test_pretraining_is_fed_all_training_rows_corrupted_at_the_layers_own_rate(tmp_path: Path) -> None:
    config = described(tmp_path, finetune=None, pretrain={"epochs": 40, "batch_size": 25})
    with first_inputs() as seen:
        finished = Finished(config, tmp_path)
    half = len(seen) // 2
    for fed, stage, rate in ((seen[:half], "data", 0.6), (seen[half:], "pretrain-1", 0.1)):
        clean = finished.array(stage, "features-train")
        values = np.concatenate(fed)
        assert (clean > 0).all()
        assert len(values) == 40 * len(clean)  # the last short batches too
        low, high = binom.ppf([5e-9, 1 - 5e-9], values.size, rate)
        assert low <= (values == 0).sum() <= high
        # What is not masked is a clean value of its own column.
        for column in range(WIDTH):
            left = values[:, column][values[:, column] > 0]
            assert np.isin(left, clean[:, column]).all()


def test_fine_tuning_starts_from_the_pretrained_weights(tmp_path: Path) -> None:
    config = described(tmp_path, finetune={"epochs": 1, "lr": 1e-30, "optimizer": "sgd", **PLAIN})
    finished = Finished(config, tmp_path)
    tuned, control = finished.weights("finetune"), finished.weights("scratch")
    for number in (1, 2):
        for part in ("weight", "bias"):
            pretrained = finished.weights(f"pretrain-{number}")[f"encoder.1.{part}"]
            name = f"encoder.layers.{number - 1}.1.{part}"
            np.testing.assert_array_equal(tuned[name], pretrained)
            assert not np.array_equal(control[name], pretrained)


def encoder_names(weights: dict[str, np.ndarray]) -> list[str]:
    return [name for name in weights if name.startswith("encoder.")]


def test_a_frozen_encoder_stays_to_the_bit_and_the_control_is_not_frozen(
    finished: Finished, tmp_path: Path
) -> None:
    path = finished.plan.config.data.source
    words = {"epochs": 3, "batch_size": 25, "lr": 0.05, "freeze_encoder": True, "weight_decay": 0.1} | PLAIN
    frozen = Finished(described(Path(path).parent, finetune=words), tmp_path)
    tuned = frozen.weights("finetune")
    for number in (1, 2):
        for part in ("weight", "bias"):
            pretrained = frozen.weights(f"pretrain-{number}")[f"encoder.1.{part}"]
            np.testing.assert_array_equal(tuned[f"encoder.layers.{number - 1}.1.{part}"], pretrained)
    assert tuned["head.weight"].any()
    assert tuned["head.bias"].any()

    words |= {"lr": 1e-30, "weight_decay": 0.0}
    (tmp_path / "still").mkdir()
    still = Finished(described(Path(path).parent, finetune=words), tmp_path / "still")
    moved, start = frozen.weights("scratch"), still.weights("scratch")
    assert all(not np.array_equal(moved[name], start[name]) for name in encoder_names(moved))


def test_the_encoders_rate_is_scaled_and_the_controls_is_not(finished: Finished, tmp_path: Path) -> None:
    path = finished.plan.config.data.source
    words = {"epochs": 3, "batch_size": 25, "lr": 0.05, "encoder_lr_scale": 1e-25} | PLAIN
    scaled = Finished(described(Path(path).parent, finetune=words), tmp_path)
    tuned = scaled.weights("finetune")
    for number in (1, 2):
        pretrained = scaled.weights(f"pretrain-{number}")["encoder.1.weight"]
        np.testing.assert_array_equal(tuned[f"encoder.layers.{number - 1}.1.weight"], pretrained)
    plain, control = finished.weights("scratch"), scaled.weights("scratch")
    for name in plain:
        np.testing.assert_array_equal(control[name], plain[name])


def test_only_labelled_rows_are_fine_tuned_on(tmp_path: Path) -> None:
    config = described(tmp_path, finetune={"epochs": 2, "batch_norm": False})
    plan = make_plan(config, read_source(config.data))
    with first_inputs() as seen:
        finished = Finished(config, tmp_path)
    train = finished.array("data", "features-train")
    labelled = {row.tobytes() for row in train[plan.split.labelled]}
    assert len(labelled) == 30
    # Both networks' first layers, two epochs each, in batches of at most 100 rows.
    fed = [batch for batch in seen if len(batch) == 30 and {row.tobytes() for row in batch} == labelled]
    assert len(fed) == 4


def test_tied_weights_stay_tied_through_the_store(tmp_path: Path) -> None:
    layers = [{"width": 4, "tied": True, "activation": "tanh"}]
    config = described(tmp_path, layers=layers, finetune=None)
    finished = Finished(config, tmp_path)
    unit = load_units(finished.plan, finished.entries)[0]
    weights = finished.weights("pretrain-1")
    np.testing.assert_array_equal(weights["encoder.1.weight"], weights["decoder.0.linear.weight"])
    np.testing.assert_array_equal(unit.encoder[1].weight.detach(), weights["encoder.1.weight"])
    assert unit.decoder[0].linear.weight is unit.encoder[1].weight
    assert not unit.training


def test_a_run_is_the_same_whenever_it_is_done_and_another_with_another_seed(
    finished: Finished, tmp_path: Path
) -> None:
    folder = Path(finished.plan.config.data.source).parent
    torch.manual_seed(12345)
    again = Finished(described(folder), tmp_path / "again")
    other = Finished(described(folder, seed=1), tmp_path / "other")
    for stage in ("pretrain-1", "pretrain-2", "finetune", "scratch"):
        mine, theirs = finished.weights(stage), again.weights(stage)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])
            assert not np.array_equal(mine[name], other.weights(stage)[name])


def test_a_layer_whose_inputs_are_all_alike_is_said_to_have_learnt_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", x=np.full((60, 4), 0.5, np.float32), y=np.arange(60) % 3)
    config = described(tmp_path, data={"source": str(tmp_path / "flat.npz")}, finetune=None)
    metrics = Finished(config, tmp_path).entries["pretrain-1"].metrics
    assert metrics["reconstruction_ratio"] == 1
    assert metrics["effective_rank"] == pytest.approx(1, abs=1e-4)


def test_a_layer_that_has_learnt_nothing_is_warned_of(tmp_path: Path) -> None:
    still = {"epochs": 5, "batch_size": 25, "lr": 1e-30}
    config = described(tmp_path, finetune=None, pretrain=still)
    with pytest.warns(UserWarning, match="learnt next to nothing") as warned:
        finished = Finished(config, tmp_path)
    ratio = finished.entries["pretrain-1"].metrics["reconstruction_ratio"]
    lines = [str(one.message) for one in warned]
    assert any(line.startswith(f"pretrain-1: the layer has learnt next to nothing (its error is {ratio:.2f}")
               for line in lines)  # fmt: skip


def test_a_classifier_below_a_logistic_regression_on_its_input_is_warned_of(tmp_path: Path) -> None:
    hindered = {"epochs": 5, "lr": 1e-30, "batch_norm": False}
    config = described(tmp_path, finetune=hindered, compare={"scratch": False, "probe": True})
    with pytest.warns(UserWarning, match="finetune: .* by a logistic regression on the input"):
        Finished(config, tmp_path)


def test_units_that_say_nothing_are_measured_and_warned_about_once_per_layer(tmp_path: Path) -> None:
    config = described(
        tmp_path,
        finetune=None,
        compare={"probe": False, "scratch": False},
        pretrain={"epochs": 3, "batch_size": 25, "lr": 1.0},
    )
    with pytest.warns(UserWarning, match="of the units are") as warned:
        finished = Finished(config, tmp_path)
    below, above = finished.array("pretrain-1", "features-val"), finished.array("pretrain-2", "features-val")
    stuck = ((np.minimum(below, 1 - below) <= 0.01).mean(axis=0) >= 0.95).mean()
    dead = (above == above[0]).all(axis=0).mean()
    assert finished.entries["pretrain-1"].metrics["saturated_units"] == pytest.approx(stuck)
    assert finished.entries["pretrain-2"].metrics["dead_units"] == pytest.approx(dead)
    lines = [str(one.message) for one in warned if str(one.message).startswith("pretrain-")]
    assert [line.partition(";")[0] for line in lines] == [
        f"pretrain-1: {stuck:.0%} of the units are saturated (at a bound of 'sigmoid' for most rows)",
        f"pretrain-2: {dead:.0%} of the units are dead (one code for every row)",
    ]
