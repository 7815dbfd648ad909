"""Tasks against optimiser steps and schedules by hand, and stages against their finished files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from scipy.special import expit
from scipy.stats import binom
from torch import nn

from stackae import stages
from stackae.config import Config, FinetuneConfig, FitConfig, LayerConfig, PretrainConfig
from stackae.data.batches import Batch
from stackae.data.sources import read_source
from stackae.kinds import build
from stackae.pipeline import run
from stackae.plan import Plan, make_plan
from stackae.progress import NoProgress
from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.corruptions import Gaussian, Masking
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Encoder
from stackae.store import Entry, Store
from stackae.tasks import FinetuneTask, PretrainTask, optimizer
from stackae.tracking.tracker import NullTracker

# ---- schedules


def rates(fit: FitConfig, steps: int, lrs: tuple[float, ...] = (0.5,)) -> np.ndarray:
    """The learning rate of each part's weights at each of `steps` steps, (steps, parts)."""
    parts: list[tuple[nn.Module, float]] = [(nn.Linear(2, 2, bias=False), lr) for lr in lrs]
    made = optimizer(fit, parts, steps)
    used = made["optimizer"] if isinstance(made, dict) else made
    schedule = made["lr_scheduler"]["scheduler"] if isinstance(made, dict) else None
    if isinstance(made, dict):
        assert made["lr_scheduler"]["interval"] == "step"
    found = []
    for _ in range(steps):
        found.append([group["lr"] for group in used.param_groups])
        for group in used.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        used.step()
        if schedule is not None:
            schedule.step()
    return np.array(found)


def test_constant_stays() -> None:
    np.testing.assert_allclose(rates(FitConfig(epochs=2), 10)[:, 0], 0.5)


def test_constant_after_warm_up() -> None:
    found = rates(FitConfig(epochs=5, warmup=2), 20)[:, 0]  # two of five epochs are 8 of 20 steps
    t = np.arange(20)
    np.testing.assert_allclose(found, 0.5 * np.minimum(1, (t + 1) / 9), rtol=1e-6)


def test_cosine_falls_to_nothing() -> None:
    found = rates(FitConfig(epochs=5, schedule="cosine"), 20)[:, 0]
    np.testing.assert_allclose(found, 0.25 * (1 + np.cos(math.pi * np.arange(20) / 20)), rtol=1e-6)


@pytest.mark.parametrize("warmup", [0.25, 1.5, 2])
def test_cosine_after_warm_up(warmup: float) -> None:
    found = rates(FitConfig(epochs=5, schedule="cosine", warmup=warmup), 20)[:, 0]
    rise, t = round(4 * warmup), np.arange(20)
    fall = 0.25 * (1 + np.cos(math.pi * (t - rise) / (20 - rise)))
    np.testing.assert_allclose(found, np.where(t < rise, 0.5 * (t + 1) / (rise + 1), fall), rtol=1e-6)


def test_a_warm_up_longer_than_the_fit_only_rises() -> None:
    found = rates(FitConfig(epochs=2, schedule="cosine", warmup=9), 6)[:, 0]
    assert (np.diff(found) > 0).all()
    assert found[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_one_cycle_rises_for_three_tenths_and_falls_for_the_rest(name: str) -> None:
    """Cosine from lr / 25 up to lr, then down to lr / 250,000 (Smith & Topin 2018, as PyTorch has it)."""
    steps = 30
    found = rates(FitConfig.model_validate({"schedule": "one_cycle", "optimizer": name}), steps)[:, 0]

    def between(start: float, end: float, share: np.ndarray) -> np.ndarray:
        return end + (start - end) / 2 * (1 + np.cos(math.pi * share))

    t, top = np.arange(steps), 0.3 * steps - 1
    rise, fall = between(0.02, 0.5, t / top), between(0.5, 2e-6, (t - top) / (steps - 1 - top))
    np.testing.assert_allclose(found, np.where(t <= top, rise, fall), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_the_shortest_fits_have_schedules_too(schedule: str, steps: int) -> None:
    fit = FitConfig.model_validate({"schedule": schedule, "epochs": 1, "warmup": 0.5})
    assert (rates(fit, steps) > 0).all()


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_each_part_keeps_its_own_rate_throughout(schedule: str) -> None:
    fit = FitConfig.model_validate({"schedule": schedule, "epochs": 5, "warmup": 1})
    found = rates(fit, 20, (0.5, 0.05))
    np.testing.assert_allclose(found[:, 1], found[:, 0] / 10, rtol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_the_configured_momentum_is_the_one_used(schedule: str) -> None:
    fit = FitConfig.model_validate({"schedule": schedule, "optimizer": "sgd", "momentum": 0.3})
    made = optimizer(fit, [(nn.Linear(2, 2), 0.5)], 10)
    used = made["optimizer"] if isinstance(made, dict) else made
    assert [group["momentum"] for group in used.param_groups] == [0.3, 0.3]


# ---- optimiser steps by hand

W, B = np.array([[1.0, -2.0]]), np.array([3.0])
GRADIENTS = [(np.array([[0.5, 0.25]]), np.array([-1.0])), (np.array([[-1.0, 2.0]]), np.array([0.5]))]


def stepped(steps: int, **words: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias after so many steps with the gradients above and learning rate 0.1."""
    linear = nn.Linear(2, 1).double()
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(W))
        linear.bias.copy_(torch.from_numpy(B))
    used = optimizer(FitConfig(**words), [(linear, 0.1)], 10)
    assert isinstance(used, torch.optim.Optimizer)
    for of_weight, of_bias in GRADIENTS[:steps]:
        linear.weight.grad, linear.bias.grad = torch.from_numpy(of_weight), torch.from_numpy(of_bias)
        used.step()
    return linear.weight.detach().numpy(), linear.bias.detach().numpy()


def test_sgd_has_momentum_and_decays_weights_only() -> None:
    weight, bias = stepped(2, optimizer="sgd", momentum=0.8, weight_decay=0.01)
    (w1, b1), (w2, b2) = GRADIENTS
    first = w1 + 0.01 * W
    after = W - 0.1 * first
    np.testing.assert_allclose(weight, after - 0.1 * (0.8 * first + w2 + 0.01 * after), rtol=1e-9)
    np.testing.assert_allclose(bias, B - 0.1 * b1 - 0.1 * (0.8 * b1 + b2), rtol=1e-9)


def test_adamw_decays_the_weights_themselves_and_no_bias() -> None:
    weight, bias = stepped(1, optimizer="adamw", weight_decay=0.01)
    (w1, b1), _ = GRADIENTS
    # In Adam's first step both moments' corrections leave the gradient over its own size.
    np.testing.assert_allclose(weight, W * (1 - 0.1 * 0.01) - 0.1 * w1 / (np.abs(w1) + 1e-8), rtol=1e-9)
    np.testing.assert_allclose(bias, B - 0.1 * b1 / (np.abs(b1) + 1e-8), rtol=1e-9)


def test_adam_adds_the_decay_to_the_weights_gradients_and_to_no_bias() -> None:
    weight, bias = stepped(2, optimizer="adam", weight_decay=0.3)

    def adam(value: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
        m, v = np.zeros_like(value), np.zeros_like(value)
        for t, g in enumerate(gradients, 1):
            g = g + decay * value
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            value = value - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return value

    np.testing.assert_allclose(weight, adam(W, [w for w, _ in GRADIENTS], 0.3), rtol=1e-9)
    np.testing.assert_allclose(bias, adam(B, [b for _, b in GRADIENTS], 0.0), rtol=1e-9)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_without_decay_a_weight_without_gradient_stays(name: str) -> None:
    linear = nn.Linear(2, 1)
    before = linear.weight.detach().clone()
    used = optimizer(FitConfig.model_validate({"optimizer": name}), [(linear, 0.1)], 10)
    assert isinstance(used, torch.optim.Optimizer)
    linear.weight.grad = torch.zeros_like(linear.weight)
    used.step()
    assert torch.equal(linear.weight, before)


def test_every_parameter_is_trained_once_a_tied_one_too_and_a_frozen_one_not() -> None:
    unit = DenseUnit((5,), 3, ACTIVATIONS["relu"], tied=True)
    head = nn.Linear(3, 2)
    head.bias.requires_grad_(False)
    used = optimizer(FitConfig(), [(unit, 0.1), (head, 0.2)], 10)
    assert isinstance(used, torch.optim.Optimizer)
    trained = [p for group in used.param_groups for p in group["params"]]
    assert len(trained) == 4
    assert {id(p) for p in trained} == {id(p) for p in [*unit.parameters(), head.weight]}


# ---- tasks

X = torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(8) % 3


def pretrain_task(*, seed: int = 3, rate: float = 0.5) -> PretrainTask:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    objective = Reconstruction(LOSSES["squared_error"], Masking(rate))
    return PretrainTask(unit, objective, PretrainConfig(), seed=seed, steps=1)


def test_noise_is_keyed_on_seed_epoch_and_batch_and_on_nothing_else() -> None:
    def loss(seed: int, epoch: int, number: int) -> float:
        task = pretrain_task(seed=seed)
        torch.manual_seed(number + 10 * epoch)
        return task.training_step(Batch(X, None, epoch, number), 99).item()

    first = loss(3, 1, 2)
    task = pretrain_task()
    for at in (0, 1, 2):  # whatever was drawn before
        found = task.training_step(Batch(X, None, 1, at), at).item()
    assert found == first
    assert len({first, loss(4, 1, 2), loss(3, 2, 2), loss(3, 1, 3), loss(3, 2, 1)}) == 5


def test_noise_leaves_the_global_generator_alone() -> None:
    task, state = pretrain_task(), torch.get_rng_state()
    task.training_step(Batch(X, None, 0, 0), 0)
    assert torch.equal(torch.get_rng_state(), state)


def test_pretraining_scores_a_clean_reconstruction_and_less_is_better() -> None:
    task = pretrain_task().eval()
    with torch.no_grad():
        task.validation_step(Batch(X, None, 0, 0), 0)
        output = task.unit.decode(task.unit.encode(X))
    means = task.take()
    assert means["reconstruction"] == pytest.approx(((output - X) ** 2).sum(1).mean().item(), rel=1e-5)
    task.validated(means)
    better = list(task.score)
    task.validated({"reconstruction": means["reconstruction"] + 1})
    assert list(task.score) < better


def test_means_are_taken_over_rows_and_begin_anew() -> None:
    task = pretrain_task()
    task.add(3, {"loss": torch.tensor(1.0)})
    task.add(1, {"loss": torch.tensor(5.0)})
    assert task.take() == {"loss": 2.0}
    task.add(2, {"loss": torch.tensor(7.0)})
    assert task.take() == {"loss": 7.0}


def finetune_task(*, dropout: float = 0.0, seed: int = 3, **words: Any) -> FinetuneTask:
    torch.manual_seed(0)
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"], tied=False)
    classifier = Classifier(Encoder([unit.encoder]), 4, 3, dropout=dropout, input_dropout=dropout)
    nn.init.normal_(classifier.head.weight)
    settings = FinetuneConfig.model_validate({"lr": 0.5, "schedule": "constant"} | words)
    return FinetuneTask(classifier, settings, encoder_lr=0.5 * settings.encoder_lr_scale, seed=seed, steps=10)


def test_dropout_is_keyed_on_seed_epoch_and_batch_and_on_nothing_else() -> None:
    def loss(seed: int, epoch: int, number: int, drawn: int) -> float:
        task = finetune_task(dropout=0.5, seed=seed)
        torch.manual_seed(drawn)
        batch = Batch(X, Y, epoch, number)
        task.on_train_batch_start(batch, number)
        return task.training_step(batch, number).item()

    first = loss(3, 1, 2, 0)
    assert loss(3, 1, 2, 1) == first
    assert len({first, loss(4, 1, 2, 0), loss(3, 2, 2, 0), loss(3, 1, 3, 0)}) == 4


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_fine_tuning_trains_by_cross_entropy(smoothing: float) -> None:
    task = finetune_task(label_smoothing=smoothing)
    log_p = task.classifier(X).log_softmax(1).detach().double().numpy()
    target = (1 - smoothing) * np.eye(3)[Y.numpy()] + smoothing / 3
    expected = -(target * log_p).sum(1).mean()
    assert task.training_step(Batch(X, Y, 0, 0), 0).item() == pytest.approx(expected, rel=1e-5)


def test_fine_tuning_is_scored_by_accuracy_and_then_by_likelihood() -> None:
    task = finetune_task(dropout=0.5, label_smoothing=0.3).eval()
    with torch.no_grad():
        for part in (slice(0, 5), slice(5, 8)):
            task.validation_step(Batch(X[part], Y[part], 0, 0), 0)
        log_p = task.classifier(X).log_softmax(1)
    means = task.take()
    assert means["accuracy"] == pytest.approx((log_p.argmax(1) == Y).double().mean().item())
    assert means["nll"] == pytest.approx(-log_p[torch.arange(8), Y].mean().item(), rel=1e-5)

    def score(accuracy: float, nll: float) -> list[float]:
        task.validated({"accuracy": accuracy, "nll": nll})
        return list(task.score)

    assert score(0.9, 5.0) > score(0.8, 0.1) > score(0.8, 0.2)


def test_the_encoder_learns_at_its_own_rate() -> None:
    task = finetune_task(optimizer="sgd", momentum=0.0, encoder_lr_scale=0.25)
    used = task.configure_optimizers()
    assert isinstance(used, torch.optim.Optimizer)
    named = dict(task.classifier.named_parameters())
    before = {name: p.detach().clone() for name, p in named.items()}
    task.training_step(Batch(X, Y, 0, 0), 0).backward()
    used.step()
    for name, parameter in named.items():
        rate = 0.5 if name.startswith("head") else 0.125
        assert parameter.grad is not None
        assert parameter.grad.any()
        torch.testing.assert_close(parameter.detach(), before[name] - rate * parameter.grad)


# ---- kinds


def test_a_kind_has_the_configured_corruption_and_loss() -> None:
    def objective(**words: Any) -> Any:
        return build(LayerConfig.model_validate({"width": 4} | words), (6,), "bernoulli")[1]

    bernoulli = LOSSES["bernoulli"]
    assert objective() == Reconstruction(bernoulli, Masking(0.25))
    assert objective(corruption={"type": "masking", "rate": 0.6}) == Reconstruction(bernoulli, Masking(0.6))
    gaussian = {"type": "gaussian", "sigma": 0.7, "clip": True}
    assert objective(corruption=gaussian) == Reconstruction(bernoulli, Gaussian(0.7, clip=True))
    assert objective(kind="plain") == Reconstruction(bernoulli, None)


def test_a_kind_has_the_configured_unit() -> None:
    layer = LayerConfig(width=4, activation="tanh", tied=True)
    unit, _ = build(layer, (2, 3), "squared_error")
    assert isinstance(unit.encoder[-1], nn.Tanh)
    assert unit.encode(torch.zeros(1, 2, 3)).shape == (1, 4)
    assert unit.decoder[0].linear is unit.encoder[1]


# ---- stages: what was trained, and what lies in the store afterwards

WIDTH = 6  # of data and layers alike, so that layers in the wrong order would fit together


def described(folder: Path, **changes: Any) -> Config:
    path = folder / "data.npz"
    if not path.exists():
        rng = np.random.default_rng(0)
        y = np.arange(90) % 3
        x = 0.7 * rng.random((90, WIDTH)) + 0.3 * (np.arange(WIDTH) % 3 == y[:, None])
        np.savez(path, x=x.astype(np.float32), y=y)
    return Config.model_validate(
        {
            "data": {"source": str(path), "labels": 30},
            "layers": [
                {"width": WIDTH, "activation": "sigmoid", "corruption": {"type": "masking", "rate": 0.6}},
                {"width": WIDTH, "activation": "relu", "corruption": {"type": "masking", "rate": 0.1}},
            ],
            "pretrain": {"epochs": 3, "batch_size": 25, "lr": 0.05},
            "finetune": {"epochs": 3, "batch_size": 25, "lr": 0.05},
            "compare": {"probe": False},
            "trainer": {"accelerator": "cpu", "precision": "32-true"},
        }
        | changes
    )


class Finished:
    """The finished stages of a run."""

    def __init__(self, config: Config, folder: Path) -> None:
        def fail(line: str) -> None:
            raise AssertionError(line)

        store = Store(folder / "store", fail)
        run(config, store, NullTracker(), NoProgress(), out=folder / "run")
        self.plan: Plan = make_plan(config, read_source(config.data))
        self.entries: dict[str, Entry] = {}
        for planned in [self.plan.data, *self.plan.stages]:
            entry = store.open(planned.name, planned.key)
            assert entry is not None
            self.entries[planned.name] = entry

    def array(self, stage: str, name: str) -> np.ndarray:
        return np.load(self.entries[stage].file(f"{name}.npy"))

    def weights(self, stage: str) -> dict[str, np.ndarray]:
        return load_file(self.entries[stage].file(stages.WEIGHTS))


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


def layer_arrays(weights: dict[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    """W, b, V, c in double precision."""
    names = ("encoder.1.weight", "encoder.1.bias", "decoder.0.weight", "decoder.0.bias")
    return tuple(weights[name].astype(np.float64) for name in names)


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
    config = described(tmp_path, finetune={"epochs": 1, "lr": 1e-30, "optimizer": "sgd"})
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
    words = {"epochs": 3, "batch_size": 25, "lr": 0.05, "freeze_encoder": True, "weight_decay": 0.1}
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
    words = {"epochs": 3, "batch_size": 25, "lr": 0.05, "encoder_lr_scale": 1e-25}
    scaled = Finished(described(Path(path).parent, finetune=words), tmp_path)
    tuned = scaled.weights("finetune")
    for number in (1, 2):
        pretrained = scaled.weights(f"pretrain-{number}")["encoder.1.weight"]
        np.testing.assert_array_equal(tuned[f"encoder.layers.{number - 1}.1.weight"], pretrained)
    plain, control = finished.weights("scratch"), scaled.weights("scratch")
    for name in plain:
        np.testing.assert_array_equal(control[name], plain[name])


def test_only_labelled_rows_are_fine_tuned_on(tmp_path: Path) -> None:
    config = described(tmp_path, finetune={"epochs": 2, "input_dropout": 0.0, "dropout": 0.0})
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
    unit = stages.load_unit(finished.entries["pretrain-1"], finished.plan.layers[0])
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
