"""The Gaussian unit against the moments and gradients of the normal distribution it stands for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from stackae.shallow.activations import ACTIVATIONS
from stackae.shallow.gaussian import LOG_VARIANCE_RANGE, GaussianUnit

ROWS = 100_000
SHAPE, WIDTH = (2, 3), 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_unit(connectivity: float = 1.0) -> GaussianUnit:
    """A unit whose log-variance differs from code to code, as after some training."""
    torch.manual_seed(0)
    unit = GaussianUnit(SHAPE, WIDTH, ACTIVATIONS["linear"], connectivity=connectivity)
    nn.init.normal_(unit.log_variance[1].weight, std=0.4)
    nn.init.normal_(unit.log_variance[1].bias, std=0.4)
    return unit


def same_rows() -> torch.Tensor:
    return torch.rand(SHAPE, generator=seeded(1)).expand(ROWS, *SHAPE)


def test_codes_are_normal_with_the_traced_mean_and_variance() -> None:
    unit = make_unit()
    with torch.no_grad():
        trace = unit.trace(same_rows(), seeded())
    assert trace.log_variance is not None
    z = (trace.code - trace.mean) / torch.exp(trace.log_variance / 2)
    # Five standard errors: of a mean 1/√n, of a second moment √2/√n, of a fourth √96/√n.
    error = 5 / math.sqrt(ROWS)
    torch.testing.assert_close(z.mean(0), torch.zeros(WIDTH), atol=error, rtol=0)
    torch.testing.assert_close(z.T @ z / ROWS, torch.eye(WIDTH), atol=math.sqrt(2) * error, rtol=0)
    torch.testing.assert_close(
        z.pow(4).mean(0), torch.full((WIDTH,), 3.0), atol=math.sqrt(96) * error, rtol=0
    )
    assert trace.log_variance[0].unique().numel() == WIDTH


def test_mean_and_log_variance_are_linear_in_the_flattened_input() -> None:
    unit = make_unit()
    x = torch.rand(5, *SHAPE, generator=seeded())
    trace = unit.trace(x, seeded())
    v, mean, spread = x.reshape(5, 6), unit.encoder[1], unit.log_variance[1]
    torch.testing.assert_close(trace.mean, v @ mean.weight.T + mean.bias)
    torch.testing.assert_close(trace.log_variance, v @ spread.weight.T + spread.bias)
    assert unit.decoder(trace.code).shape == x.shape


def test_gradients_flow_through_the_sample() -> None:
    # E z² = μ² + σ², so its gradient is 2μ with respect to μ and σ² with respect to log σ².
    unit = make_unit()
    trace = unit.trace(same_rows(), seeded())
    assert trace.log_variance is not None
    trace.code.square().sum(1).mean().backward()
    mean, variance = trace.mean[0].detach(), trace.log_variance[0].detach().exp()
    error = 5 * 2 * variance.sqrt().max().item() / math.sqrt(ROWS)
    torch.testing.assert_close(unit.encoder[1].bias.grad, 2 * mean, atol=error, rtol=0)
    # Per row the gradient is σz(μ + σz), whose variance is σ²(μ² + 2σ²).
    spread = (variance * (mean.square() + 2 * variance)).sqrt().max().item()
    error = 5 * spread / math.sqrt(ROWS)
    torch.testing.assert_close(unit.log_variance[1].bias.grad, variance, atol=error, rtol=0)


def test_in_eval_mode_the_code_is_the_mean_and_nothing_is_drawn() -> None:
    unit = make_unit().eval()
    x = torch.rand(5, *SHAPE, generator=seeded())
    rng = seeded()
    trace = unit.trace(x, rng)
    assert torch.equal(trace.code, trace.mean)
    assert torch.equal(trace.mean, unit.encoder(x))
    assert trace.log_variance is not None
    assert torch.equal(rng.get_state(), seeded().get_state())


def test_samples_come_from_the_generator_alone() -> None:
    unit = make_unit()
    x = torch.rand(5, *SHAPE, generator=seeded())
    codes = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(codes))
        codes.append(unit.trace(x, seeded(seed)).code)
    assert torch.equal(codes[0], codes[1])
    assert not torch.equal(codes[0], codes[2])


def test_the_variance_starts_at_1_for_every_input() -> None:
    unit = GaussianUnit(SHAPE, WIDTH, ACTIVATIONS["linear"])
    trace = unit.trace(100 * torch.rand(5, *SHAPE, generator=seeded()), seeded())
    assert torch.equal(trace.log_variance, torch.zeros(5, WIDTH))


@pytest.mark.parametrize("connectivity", [1.0, 0.5])
def test_a_first_step_reaches_every_parameter(connectivity: float) -> None:
    torch.manual_seed(0)
    unit = GaussianUnit(SHAPE, WIDTH, ACTIVATIONS["linear"], connectivity=connectivity)
    x = torch.rand(20, *SHAPE, generator=seeded())
    (unit.decoder(unit.trace(x, seeded()).code) - x).square().sum().backward()
    for name, parameter in unit.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_connectivity_thins_out_all_three_weight_matrices() -> None:
    unit = GaussianUnit((20, 10), 50, ACTIVATIONS["linear"], connectivity=0.3)
    for layer in (unit.encoder[1], unit.log_variance[1], unit.decoder[0]):
        assert layer.mask.mean().item() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(("bias", "bound"), [(1e4, LOG_VARIANCE_RANGE[1]), (-1e4, LOG_VARIANCE_RANGE[0])])
def test_extreme_log_variances_are_clamped(bias: float, bound: float) -> None:
    unit = make_unit()
    nn.init.constant_(unit.log_variance[1].bias, bias)
    trace = unit.trace(torch.rand(5, *SHAPE, generator=seeded()), seeded())
    assert torch.equal(trace.log_variance, torch.full((5, WIDTH), bound))
    assert trace.code.isfinite().all()


def test_under_bf16_the_log_variance_and_the_sample_are_float32() -> None:
    unit = make_unit()
    x = torch.rand(5, *SHAPE, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        trace = unit.trace(x, seeded())
    assert trace.log_variance is not None
    assert trace.mean.dtype == torch.bfloat16
    assert trace.log_variance.dtype == trace.code.dtype == torch.float32
    exact = unit.trace(x, seeded())
    torch.testing.assert_close(trace.code, exact.code, atol=0.05, rtol=0)
