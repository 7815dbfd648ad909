"""Restricted Boltzmann machines so small that all their states can be enumerated."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.losses import LOSSES
from stackae.shallow.rbm import ContrastiveDivergence, UnitType, free_energy
from stackae.shallow.units import DenseUnit

VISIBLE, HIDDEN = 3, 2
Gradient = tuple[Tensor, Tensor, Tensor]
"""With respect to W (hidden, visible), the hidden bias c and the visible bias b."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_unit(
    shape: tuple[int, ...] = (VISIBLE,), width: int = HIDDEN, scale: float = 1.0, connectivity: float = 1.0
) -> DenseUnit:
    torch.manual_seed(3)
    unit = DenseUnit(shape, width, ACTIVATIONS["sigmoid"], tied=True, connectivity=connectivity)
    for parameter in unit.parameters():
        nn.init.normal_(parameter, std=scale)
    return unit


def divergence(
    *,
    steps: int = 1,
    visible: UnitType = "binary",
    hidden: UnitType = "binary",
    persistent: bool = False,
    batch_size: int = 4,
    shape: tuple[int, ...] = (VISIBLE,),
) -> ContrastiveDivergence:
    loss = LOSSES["bernoulli" if visible == "binary" else "squared_error"]
    return ContrastiveDivergence(
        steps=steps,
        loss=loss,
        visible=visible,
        hidden=hidden,
        persistent=persistent,
        batch_size=batch_size,
        shape=shape,
    )


def parameters(unit: DenseUnit) -> Gradient:
    return unit.linear.weight.detach(), unit.linear.bias.detach(), unit.decoder[0].bias.detach()


def gradients(unit: DenseUnit, term: Tensor) -> Gradient:
    wanted = (unit.linear.weight, unit.linear.bias, unit.decoder[0].bias)
    return torch.autograd.grad(term, wanted)


def states(units: int) -> Tensor:
    """All binary states: (2**units, units)."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)))


def energy(unit: DenseUnit, v: Tensor, h: Tensor, visible: UnitType, hidden: UnitType) -> Tensor:
    """E(v, h) of every pair of rows: (rows of v, rows of h)."""
    w, c, b = parameters(unit)
    own = ((v - b) ** 2).sum(1) / 2 if visible == "gaussian" else -v @ b
    other = -h @ c + ((h**2).sum(1) / 2 if hidden == "gaussian" else 0)
    return own[:, None] + other[None, :] - v @ w.T @ h.T


def log_likelihood(unit: DenseUnit, data: Tensor) -> float:
    """Mean log-probability of binary rows, with the partition function enumerated."""
    v, h = states(data[0].numel()), states(unit.linear.out_features)
    joint = -energy(unit, torch.cat([v, data.flatten(1)]), h, "binary", "binary")
    return (joint[len(v) :].logsumexp(1) - joint[: len(v)].logsumexp((0, 1))).mean().item()


def statistics(unit: DenseUnit, v: Tensor, weight: Tensor) -> Gradient:
    """The weighted sums of h vᵀ, h and v over visible states, h being the mean hidden state."""
    w, c, _ = parameters(unit)
    h = 1 / (1 + torch.exp(-(v @ w.T + c)))
    return torch.einsum("n,nh,nv->hv", weight, h, v), weight @ h, weight @ v


def minus(left: Gradient, right: Gradient) -> Gradient:
    return left[0] - right[0], left[1] - right[1], left[2] - right[2]


def uniform(data: Tensor) -> Tensor:
    return torch.full((len(data),), 1 / len(data))


def likelihood_gradient(unit: DenseUnit, data: Tensor) -> Gradient:
    """Of the mean negative log-likelihood: ⟨v h⟩ under the model minus ⟨v h⟩ under the data."""
    v, h = states(VISIBLE), states(HIDDEN)
    probability = torch.softmax(-energy(unit, v, h, "binary", "binary").flatten(), 0).view(len(v), len(h))
    model = (torch.einsum("nm,nv,mh->hv", probability, v, h), probability.sum(0) @ h, probability.sum(1) @ v)
    return minus(model, statistics(unit, data, uniform(data)))


def expected_cd_gradient(unit: DenseUnit, data: Tensor, steps: int, *, last_sampled: bool) -> Gradient:
    """The expectation over every hidden and visible state that the chain can go through."""
    v, h = states(VISIBLE), states(HIDDEN)
    pairs = energy(unit, v, h, "binary", "binary")
    up, down = torch.softmax(-pairs, 1), torch.softmax(-pairs, 0).T  # p(h | v), p(v | h)
    start = torch.tensor([[float(torch.equal(row, state)) for state in v] for row in data]).mean(0)
    hidden = start @ torch.linalg.matrix_power(up @ down, steps - 1) @ up
    model = statistics(unit, v, hidden @ down) if last_sampled else statistics(unit, down @ v, hidden)
    return minus(model, statistics(unit, data, uniform(data)))


DATA = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_free_energy_sums_over_all_hidden_states(visible: UnitType) -> None:
    unit = make_unit()
    v = torch.rand(6, VISIBLE, generator=seeded()) if visible == "binary" else torch.randn(6, VISIBLE)
    expected = -(-energy(unit, v, states(HIDDEN), visible, "binary")).logsumexp(1)
    torch.testing.assert_close(free_energy(unit, v, visible, "binary"), expected)


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
def test_free_energy_integrates_over_gaussian_hidden_units(visible: UnitType) -> None:
    unit = make_unit().double()
    v = torch.rand(6, VISIBLE, generator=seeded()).double()
    axis = torch.linspace(-15, 15, 301, dtype=torch.double)
    grid = torch.cartesian_prod(axis, axis)
    cell = (axis[1] - axis[0]) ** HIDDEN
    integral = (-energy(unit, v, grid, visible, "gaussian")).exp().sum(1) * cell
    expected = -integral.log() + HIDDEN / 2 * math.log(2 * math.pi)
    torch.testing.assert_close(free_energy(unit, v, visible, "gaussian"), expected)


def test_free_energy_leaves_out_weights_that_do_not_exist() -> None:
    unit = make_unit(connectivity=0.5)
    assert 0 < unit.linear.mask.sum() < unit.linear.mask.numel()
    actual = free_energy(unit, DATA, "binary", "binary")
    with torch.no_grad():
        unit.linear.weight *= unit.linear.mask
    expected = -(-energy(unit, DATA, states(HIDDEN), "binary", "binary")).logsumexp(1)
    torch.testing.assert_close(actual, expected)


def test_free_energy_keeps_its_precision_under_autocast() -> None:
    unit = make_unit()
    expected = free_energy(unit, DATA, "binary", "binary")
    with torch.autocast("cpu", torch.bfloat16):
        assert unit.linear(DATA).dtype == torch.bfloat16
        assert torch.equal(free_energy(unit, DATA, "binary", "binary"), expected)


def test_free_energies_of_data_and_model_give_the_likelihood_gradient() -> None:
    unit = make_unit()
    v = states(VISIBLE)
    model = torch.softmax((-energy(unit, v, states(HIDDEN), "binary", "binary")).logsumexp(1), 0)
    term = free_energy(unit, DATA, "binary", "binary").mean() - model @ free_energy(
        unit, v, "binary", "binary"
    )
    torch.testing.assert_close(gradients(unit, term), likelihood_gradient(unit, DATA))


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_gradient_is_the_expectation_over_all_gibbs_chains(persistent: bool, steps: int) -> None:
    unit = make_unit()
    repeats = 100_000
    rows = DATA.repeat(repeats, 1)
    # Persistent chains are at the data in their first step.
    objective = divergence(steps=steps, persistent=persistent, batch_size=len(rows))
    term = objective(unit, rows, seeded(), 0.0)["contrastive_divergence"]
    actual = gradients(unit, term)
    # Every entry lies in [0, 1] for each row, so its standard deviation is at most 1/2; five standard errors.
    tolerance = 5 * 0.5 / math.sqrt(len(rows))
    expected = expected_cd_gradient(unit, DATA, steps, last_sampled=persistent)
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)
    # The other rule for the last reconstruction is told apart, and so is the other number of steps.
    for others in (
        expected_cd_gradient(unit, DATA, steps, last_sampled=not persistent),
        expected_cd_gradient(unit, DATA, 3 - steps, last_sampled=persistent),
    ):
        assert max((a - b).abs().max().item() for a, b in zip(expected, others, strict=True)) > 2 * tolerance
    exact = likelihood_gradient(unit, DATA)
    assert sum((a * b).sum().item() for a, b in zip(actual, exact, strict=True)) > 0


def test_gaussian_chains_have_the_moments_of_one_gibbs_step() -> None:
    # h ~ N(Wv + c, 1) and v' ~ N(Wᵀh + b, 1) together: mean Wᵀ(Wv + c) + b, covariance WᵀW + 1.
    unit = make_unit(scale=0.7)
    w, c, b = parameters(unit)
    rows = 200_000
    v = torch.tensor([0.5, -1.0, 2.0])
    objective = divergence(visible="gaussian", hidden="gaussian", persistent=True, batch_size=rows)
    objective(unit, v.expand(rows, VISIBLE), seeded(), 0.0)
    covariance = w.T @ w + torch.eye(VISIBLE)
    scale = covariance.diagonal().max().item()
    torch.testing.assert_close(
        objective.chains.mean(0), (w @ v + c) @ w + b, atol=5 * math.sqrt(scale / rows), rtol=0
    )
    torch.testing.assert_close(
        objective.chains.T.cov(), covariance, atol=5 * scale * math.sqrt(2 / rows), rtol=0
    )


def test_last_gaussian_reconstruction_is_free_of_noise() -> None:
    # Hidden units that are certain leave nothing to chance: v' = Wᵀh + b with h = (1, 0).
    unit = make_unit()
    with torch.no_grad():
        unit.linear.bias.copy_(torch.tensor([100.0, -100.0]))
    w, _, b = parameters(unit)
    x = torch.randn(4, VISIBLE, generator=seeded())
    term = divergence(visible="gaussian")(unit, x, seeded(), 0.0)["contrastive_divergence"]
    last = (w[0] + b).expand(4, VISIBLE)
    data, model = (free_energy(unit, rows, "gaussian", "binary").mean() for rows in (x, last))
    torch.testing.assert_close(term, data - model)


@pytest.mark.parametrize(("steps", "persistent"), [(1, False), (5, True)])
def test_training_raises_the_exact_likelihood(steps: int, persistent: bool) -> None:
    bars = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]])
    data = bars.float().view(6, 2, 2).repeat(20, 1, 1)
    unit = make_unit((2, 2), 6, scale=0.1)
    objective = divergence(steps=steps, persistent=persistent, batch_size=len(data), shape=(2, 2))
    optimizer = torch.optim.Adam(unit.parameters(), 0.02)
    rng = seeded()
    before = log_likelihood(unit, data)
    for _ in range(400):
        optimizer.zero_grad()
        objective(unit, data, rng, 0.0)["contrastive_divergence"].backward()
        optimizer.step()
    # Independent pixels score −4 log 2 = −2.77 at best, a perfect model −log 6 = −1.79.
    assert before < -2.7
    assert log_likelihood(unit, data) > -2.3


def copier() -> DenseUnit:
    """A machine whose Gibbs chain stands still: every hidden unit copies its visible one, and back."""
    unit = make_unit((VISIBLE,), VISIBLE)
    with torch.no_grad():
        unit.linear.weight.copy_(200 * torch.eye(VISIBLE))
        unit.linear.bias.fill_(-100)
        unit.decoder[0].bias.fill_(-100)
    return unit


def test_chains_go_on_from_where_they_were() -> None:
    unit, objective = copier(), divergence(persistent=True)
    objective(unit, DATA, seeded(), 0.0)
    assert torch.equal(objective.chains, DATA)
    term = objective(unit, 1 - DATA, seeded(), 0.0)["contrastive_divergence"]
    assert torch.equal(objective.chains, DATA)
    data, model = (free_energy(unit, rows, "binary", "binary").mean() for rows in (1 - DATA, DATA))
    torch.testing.assert_close(term, data - model)


def test_short_batches_start_and_move_the_first_chains_only() -> None:
    unit, objective = copier(), divergence(persistent=True)
    objective(unit, DATA[:2], seeded(), 0.0)
    objective(unit, 1 - DATA, seeded(), 0.0)
    started = torch.cat([DATA[:2], 1 - DATA[2:]])
    assert torch.equal(objective.chains, started)
    with torch.no_grad():  # from now on every unit is off, whatever the other side says
        unit.linear.bias.fill_(-1000)
        unit.decoder[0].bias.fill_(-1000)
    objective(unit, DATA[:3], seeded(), 0.0)
    assert torch.equal(objective.chains, torch.cat([torch.zeros(3, VISIBLE), started[3:]]))


def test_more_rows_than_chains_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"a batch of 4 rows.*is 3"):
        divergence(persistent=True, batch_size=3)(make_unit(), DATA, seeded(), 0.0)


def test_a_loaded_copy_continues_the_chains() -> None:
    # Wide enough that chains with the same noise but different starts do not meet.
    unit = make_unit((30,), 20)
    objective, copy, fresh = (divergence(persistent=True, shape=(30,)) for _ in range(3))
    x = torch.rand(4, 30, generator=seeded())
    rng = seeded(1)
    for _ in range(3):
        objective(unit, x, rng, 0.0)
    copy.load_state_dict(objective.state_dict())
    results = []
    for each in (objective, copy, fresh):
        own = torch.Generator()
        own.set_state(rng.get_state())
        for _ in range(3):
            term = each(unit, x, own, 0.0)["contrastive_divergence"]
        results.append((term, each.chains))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    assert not torch.equal(results[0][1], results[2][1])


def test_without_persistence_there_is_no_state() -> None:
    assert not divergence().state_dict()


@pytest.mark.parametrize("persistent", [False, True])
def test_in_eval_mode_it_scores_the_mean_field_reconstruction(persistent: bool) -> None:
    unit, objective = make_unit().eval(), divergence(persistent=persistent)
    w, c, b = parameters(unit)
    x = torch.rand(4, VISIBLE, generator=seeded())
    rng = seeded()
    with torch.inference_mode():
        terms = objective(unit, x, rng, 0.0)
    p = torch.sigmoid(torch.sigmoid(x @ w.T + c) @ w + b)
    cross_entropy = -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
    expected = {
        "reconstruction": cross_entropy,
        "free_energy": -(-energy(unit, x, states(HIDDEN), "binary", "binary")).logsumexp(1).mean(),
    }
    torch.testing.assert_close(terms, expected)
    assert torch.equal(rng.get_state(), seeded().get_state())
    if persistent:
        assert not objective.started.any()


@pytest.mark.parametrize("visible", ["binary", "gaussian"])
@pytest.mark.parametrize("hidden", ["binary", "gaussian"])
def test_gradients_reach_every_parameter_under_bf16(visible: UnitType, hidden: UnitType) -> None:
    unit = make_unit((3, 5), 8, scale=0.2)
    x = torch.rand(20, 3, 5, generator=seeded())
    objective = divergence(visible=visible, hidden=hidden, steps=2, shape=(3, 5))
    with torch.autocast("cpu", torch.bfloat16):
        terms = objective(unit, x, seeded(), 0.0)
    assert set(terms) == {"contrastive_divergence"}
    terms["contrastive_divergence"].backward()
    for name, parameter in unit.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        assert parameter.grad.isfinite().all(), name


def test_a_unit_with_two_weight_matrices_is_refused() -> None:
    unit = DenseUnit((VISIBLE,), HIDDEN, ACTIVATIONS["sigmoid"])
    with pytest.raises(TypeError, match="tied=True"):
        divergence()(unit, DATA, seeded(), 0.0)
