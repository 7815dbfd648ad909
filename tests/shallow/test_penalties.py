"""Penalties against full Jacobians, torch.distributions and hand-made sums."""

import math
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.func import jacrev, vmap

from stackae.shallow.activations import ACTIVATIONS, TopK, top_k
from stackae.shallow.corruptions import Masking
from stackae.shallow.losses import SquaredError
from stackae.shallow.objectives import Reconstruction
from stackae.shallow.penalties import L1, Contractive, GaussianKL, KLSparsity, hutchinson
from stackae.shallow.units import DenseUnit, Trace

UNIT = SimpleNamespace(training=True)
RNG = torch.Generator()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    RNG.manual_seed(0)


def traced(code: Tensor, log_variance: Tensor | None = None) -> Trace:
    return Trace(torch.zeros(len(code), 1), code, code, log_variance)


def jacobian_norm(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The squared Frobenius norm of each row's full Jacobian."""
    jacobian = vmap(jacrev(lambda row: function(row[None])[0]))(x)
    return jacobian.square().flatten(1).sum(1)


class Composed(nn.Module):
    """A unit whose encoder is anything."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def trace(self, x: Tensor, rng: torch.Generator) -> Trace:
        code = self.encoder(x)
        return Trace(x, code, code)


def conv_unit(activation: nn.Module | None = None) -> Composed:
    layers = [
        nn.Conv2d(1, 3, 3, padding=1),
        activation or nn.GELU(),
        nn.MaxPool2d(2),
        nn.Conv2d(3, 2, 3),
        nn.SELU(),
    ]
    return Composed(nn.Sequential(*layers))


# ---- contractive


@pytest.mark.parametrize("connectivity", [1.0, 0.4])
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "leaky_relu", "linear"])
def test_the_closed_form_is_the_jacobian_norm(name: str, connectivity: float) -> None:
    unit = DenseUnit((3, 2), 5, ACTIVATIONS[name], connectivity=connectivity)
    with torch.no_grad():
        unit.linear.bias.normal_()
    x = torch.randn(20, 3, 2)
    exact = 0.7 * jacobian_norm(unit.encoder, x).mean()
    before = RNG.get_state()
    value = Contractive(0.7)(unit, unit.trace(x, RNG), RNG, 0.0)
    assert torch.equal(RNG.get_state(), before)  # no probe was drawn
    torch.testing.assert_close(value, exact)
    wanted = torch.autograd.grad(exact, [unit.linear.weight, unit.linear.bias], allow_unused=True)
    found = torch.autograd.grad(value, [unit.linear.weight, unit.linear.bias], allow_unused=True)
    torch.testing.assert_close(found[0], wanted[0], rtol=1e-4, atol=1e-6)
    zero = torch.zeros_like(unit.linear.bias)
    torch.testing.assert_close(
        *(zero if b is None else b for b in (found[1], wanted[1])), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", ["gelu", "selu", "top_k", "conv"])
def test_probes_are_unbiased_for_any_other_unit(name: str) -> None:
    rows = 20_000
    if name == "conv":
        unit, x = conv_unit(), torch.randn(1, 1, 6, 6)
    else:
        unit, x = DenseUnit((6,), 4, top_k(2) if name == "top_k" else ACTIVATIONS[name]), torch.randn(1, 6)
    exact = 0.7 * jacobian_norm(unit.encoder, x).mean()
    # The same row many times over: each copy gets its own probe.
    copies = x.expand(rows, *x.shape[1:])
    estimates = 0.7 * hutchinson(unit.encoder, copies, RNG)
    assert estimates.std() > 0
    value = Contractive(0.7)(unit, unit.trace(copies, RNG), RNG, 0.0)
    assert abs(value - exact) < 5 * estimates.std() / math.sqrt(rows)
    assert abs(estimates.mean() - exact) < 5 * estimates.std() / math.sqrt(rows)
    parameters = list(unit.encoder.parameters())
    wanted, found = (
        torch.cat(
            [
                torch.zeros(p.numel()) if g is None else g.flatten()
                for p, g in zip(parameters, grads, strict=True)
            ]
        )
        for grads in (torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (exact, value))
    )
    assert wanted.norm() > 0
    assert (found - wanted).norm() < 0.05 * wanted.norm()


def test_one_probe_is_exact_where_the_jacobian_has_one_row() -> None:
    encoder = nn.Sequential(nn.Linear(6, 1), nn.GELU())
    x = torch.randn(10, 6)
    torch.testing.assert_close(hutchinson(encoder, x, RNG), jacobian_norm(encoder, x))


def test_more_probes_vary_less() -> None:
    encoder, x = nn.Sequential(nn.Linear(6, 8), nn.GELU()), torch.randn(1, 6).expand(4000, 6)
    one, nine = hutchinson(encoder, x, RNG), hutchinson(encoder, x, RNG, probes=9)
    assert (one.std() / nine.std()).item() == pytest.approx(3.0, rel=0.15)


def test_probes_come_from_the_generator_alone() -> None:
    encoder, x = nn.Sequential(nn.Linear(6, 8), nn.GELU()), torch.randn(5, 6)
    first, again, other = (hutchinson(encoder, x, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "activation", [nn.GELU(), TopK(20), nn.LeakyReLU()], ids=["gelu", "top_k", "leaky_relu"]
)
def test_it_trains_a_conv_unit_under_bf16_autocast(activation: nn.Module) -> None:
    unit, x = conv_unit(activation), torch.randn(64, 1, 6, 6)
    full = Contractive(1.0)(unit, unit.trace(x, RNG), torch.Generator().manual_seed(3), 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        value = Contractive(1.0)(unit, unit.trace(x, RNG), torch.Generator().manual_seed(3), 0.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(full.item(), rel=0.05)
    value.backward()
    weight = unit.encoder[0].weight
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
    assert weight.grad.norm() > 0


def test_the_closed_form_is_summed_in_float32_under_bf16_autocast() -> None:
    unit, x = DenseUnit((50,), 20, ACTIVATIONS["sigmoid"]), torch.randn(200, 50)
    full = Contractive(1.0)(unit, unit.trace(x, RNG), RNG, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        value = Contractive(1.0)(unit, unit.trace(x, RNG), RNG, 0.0)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(full.item(), rel=0.01)


# ---- sparsity


def bernoulli_kl(rho: float, activity: Tensor) -> Tensor:
    return kl_divergence(Bernoulli(torch.tensor(rho)), Bernoulli(activity)).sum()


@pytest.mark.parametrize("shape", [(30, 8), (30, 2, 2, 2)])
def test_kl_sparsity_is_the_divergence_of_bernoulli_variables(shape: tuple[int, ...]) -> None:
    code = torch.rand(shape)
    value = KLSparsity(8, 0.05, 3.0, running=False)(UNIT, traced(code), RNG, 0.0)
    torch.testing.assert_close(value, 3 * bernoulli_kl(0.05, code.mean(0)), rtol=1e-4, atol=0)


def test_kl_sparsity_vanishes_at_its_target_and_nowhere_else() -> None:
    penalty = KLSparsity(4, 0.2, 1.0, running=False)
    code = torch.full((10, 4), 0.2, requires_grad=True)
    value = penalty(UNIT, traced(code), RNG, 0.0)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert code.grad is not None
    assert code.grad.abs().max() < 1e-5
    assert penalty(UNIT, traced(code + 0.1), RNG, 0.0) > 0.05


def test_the_running_mean_is_followed_and_saved() -> None:
    penalty = KLSparsity(5, 0.1, 2.0, running=True)
    mean = torch.full((5,), 0.1)
    for _ in range(3):
        code = torch.rand(20, 5, requires_grad=True)
        value = penalty(UNIT, traced(code), RNG, 0.0)
        value.backward()
        batch = code.detach().mean(0).requires_grad_()
        blend = 0.9 * mean + 0.1 * batch
        expected = 2 * bernoulli_kl(0.1, blend)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
        (slope,) = torch.autograd.grad(expected, batch)
        assert code.grad is not None
        torch.testing.assert_close(code.grad, (slope / 20).expand(20, 5), rtol=1e-4, atol=1e-7)
        mean = blend.detach()
    other = KLSparsity(5, 0.1, 2.0, running=True)
    other.load_state_dict(penalty.state_dict())
    assert other.running_mean is not None
    torch.testing.assert_close(other.running_mean, mean)
    assert not KLSparsity(5, 0.1, 2.0, running=False).state_dict()


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_kl_sparsity_stays_finite_at_extreme_activities_and_points_back(
    extreme: float, running: bool
) -> None:
    code = torch.full((10, 4), extreme, requires_grad=True)
    value = KLSparsity(4, 0.05, 1.0, running=running)(UNIT, traced(code), RNG, 0.0)
    value.backward()
    assert value.isfinite()
    assert value > 0
    assert code.grad is not None
    assert code.grad.isfinite().all()
    assert ((code.grad < 0) if extreme == 0 else (code.grad > 0)).all()


@pytest.mark.parametrize("bias", [-200.0, -30.0, 30.0, 200.0])
def test_kl_sparsity_gives_finite_weights_gradients_to_saturated_units(bias: float) -> None:
    unit = DenseUnit((6,), 4, ACTIVATIONS["sigmoid"])
    nn.init.constant_(unit.linear.bias, bias)
    KLSparsity(4, 0.05, 1.0, running=False)(unit, unit.trace(torch.rand(9, 6), RNG), RNG, 0.0).backward()
    assert unit.linear.weight.grad is not None
    assert unit.linear.weight.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(2, 4), (2, 2, 2)])
def test_l1_is_the_mean_of_the_rows_sums(shape: tuple[int, ...]) -> None:
    code = torch.tensor([1.0, -2.0, 0.0, 3.0, 0.5, 0.0, -0.5, 1.0]).view(shape)
    assert L1(0.1)(UNIT, traced(code), RNG, 0.0).item() == pytest.approx(0.1 * (6 + 2) / 2)


# ---- the Gaussian code's divergence


def test_gaussian_kl_is_the_divergence_of_normal_variables() -> None:
    mean, log_variance = torch.randn(40, 6), torch.randn(40, 6)
    normal = Normal(mean, torch.exp(log_variance / 2))
    expected = 1.5 * kl_divergence(normal, Normal(0.0, 1.0)).sum(1).mean()
    value = GaussianKL(1.5, warmup=0.0)(UNIT, traced(mean, log_variance), RNG, 0.0)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.0), (1.0, 0.25), (2.5, 0.625), (4.0, 1.0), (9.0, 1.0)])
def test_the_warm_up_raises_the_weight_in_training_alone(epoch: float, share: float) -> None:
    trace = traced(torch.ones(3, 2), torch.zeros(3, 2))  # divergence: 1 nat per row
    penalty = GaussianKL(2.0, warmup=4.0)
    assert penalty(UNIT, trace, RNG, epoch).item() == pytest.approx(2 * share)
    assert penalty(SimpleNamespace(training=False), trace, RNG, epoch).item() == pytest.approx(2)


def test_gaussian_kl_refuses_a_code_without_a_variance() -> None:
    with pytest.raises(AssertionError, match="Gaussian"):
        GaussianKL(1.0, 0.0)(UNIT, traced(torch.zeros(2, 2)), RNG, 0.0)


# ---- within an objective


def test_penalties_are_named_terms_of_an_objective_and_lower_what_they_punish() -> None:
    def trained(penalties: dict[str, nn.Module]) -> tuple[float, float]:
        torch.manual_seed(0)
        rng = torch.Generator().manual_seed(1)
        x = torch.rand(64, 10, generator=rng)
        unit = DenseUnit((10,), 6, ACTIVATIONS["sigmoid"])
        objective = Reconstruction(SquaredError(), Masking(0.2), penalties)
        optimizer = torch.optim.Adam(unit.parameters(), lr=0.02)
        for _ in range(150):
            terms = objective(unit, x, rng, 0.0)
            assert set(terms) == {"reconstruction", *penalties}
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
        return unit.encoder(x).mean().item(), jacobian_norm(unit.encoder, x).mean().item()

    activity, slope = trained({})
    sparse, _ = trained({"kl": KLSparsity(6, 0.05, 3.0, running=False)})
    _, contracted = trained({"contractive": Contractive(0.5)})
    assert abs(sparse - 0.05) < 0.05 < abs(activity - 0.05)
    assert contracted < slope / 2


def test_validation_needs_no_gradients_whatever_the_penalties() -> None:
    penalties = {"kl": KLSparsity(6, 0.05, 3.0, running=True), "l1": L1(0.1), "contractive": Contractive(0.5)}
    unit = DenseUnit((10,), 6, ACTIVATIONS["gelu"]).eval()
    before = penalties["kl"].state_dict()["running_mean"].clone()
    with torch.inference_mode():
        terms = Reconstruction(SquaredError(), None, penalties)(unit, torch.rand(5, 10), RNG, 0.0)
    assert set(terms) == {"reconstruction"}
    assert torch.equal(penalties["kl"].state_dict()["running_mean"], before)
