"""Penalties: terms added to the reconstruction loss while a unit trains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from stackae.shallow.divided import batch_mean, drawn
from stackae.shallow.units import DenseUnit, SparseLinear, Trace, Unit

MOMENTUM = 0.9
"""Share of the running mean activity that a batch leaves in place."""


class KLSparsity(nn.Module):
    """beta times the sum over units of KL(rho || mean activity), for codes in (0, 1), in nats.

    Every number of a code (rows, *shape) is a unit; `units` says how many there are. The mean is the
    batch's (Ng 2011, CS294A lecture notes on sparse autoencoders, section 3) or, with `running`, 0.9 times
    the running mean before plus 0.1 times the batch's (after Lee et al. 2008; Hinton 2010, section 11).
    The running mean starts at rho and is a buffer, part of the module's state; the gradient flows through
    the batch's share of it alone, so a given beta then weighs a tenth.
    """

    evaluated = False
    running_mean: Tensor | None

    def __init__(self, units: int, rho: float, beta: float, running: bool) -> None:
        super().__init__()
        self.rho, self.beta = rho, beta
        self.register_buffer("running_mean", torch.full((units,), rho) if running else None)

    def forward(self, unit: Unit, trace: Trace, rng: torch.Generator, epoch: float) -> Tensor:
        mean = batch_mean(trace.code.float().flatten(1))
        if self.running_mean is not None:
            mean = MOMENTUM * self.running_mean + (1 - MOMENTUM) * mean
            self.running_mean.copy_(mean.detach())
        # Drawn a hair towards 1/2, so that logarithms and slopes are finite where all activities are 0
        # or 1. Clamping would do so too, but cut the gradient that brings the unit back.
        mean = 1e-6 + (1 - 2e-6) * mean
        entropy = -self.rho * math.log(self.rho) - (1 - self.rho) * math.log(1 - self.rho)
        cross_entropy = -self.rho * mean.log() - (1 - self.rho) * (1 - mean).log()
        return self.beta * (cross_entropy - entropy).sum()


class L1(nn.Module):
    """alpha times the sum of a row's absolute codes, averaged over the rows."""

    evaluated = False

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, unit: Unit, trace: Trace, rng: torch.Generator, epoch: float) -> Tensor:
        return self.alpha * trace.code.float().abs().sum() / len(trace.code)


class Contractive(nn.Module):
    """weight times the squared Frobenius norm of the features' Jacobian at the input, averaged over rows.

    In closed form for a dense unit whose activation's slope can be read off its code (Rifai et al. 2011,
    section 3: the sum over units j of f'(a_j)^2 times the sum over inputs i of W_ji^2), and for any
    other unit by one random probe per row and step, which is unbiased. The probe needs gradients: it
    fails under `torch.no_grad` and `torch.inference_mode`.
    """

    evaluated = False

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, unit: Unit, trace: Trace, rng: torch.Generator, epoch: float) -> Tensor:
        if isinstance(unit, DenseUnit):
            slope = _slope(unit.activation, trace.code.float())
            if slope is not None:
                linear = unit.linear
                weight = linear.connected() if isinstance(linear, SparseLinear) else linear.weight
                return self.weight * (slope.square().mean(0) * weight.square().sum(1)).sum()
        return self.weight * hutchinson(unit.encoder, trace.x, rng).mean()


class GaussianKL(nn.Module):
    """beta times KL(N(mean, variance) || N(0, I)) of a row's code, in nats, averaged over the rows.

    Kingma & Welling 2014, appendix B. While the unit trains, the weight rises linearly from 0 to beta over
    the first `warmup` epochs (Sønderby et al. 2016, section 2.2); in eval mode it is beta, so that epochs
    compare. For Gaussian units only.
    """

    evaluated = True

    def __init__(self, beta: float, warmup: float) -> None:
        super().__init__()
        self.beta, self.warmup = beta, warmup

    def forward(self, unit: Unit, trace: Trace, rng: torch.Generator, epoch: float) -> Tensor:
        assert trace.log_variance is not None, "only a Gaussian unit's code has a variance"
        rising = unit.training and epoch < self.warmup
        weight = self.beta * epoch / self.warmup if rising else self.beta
        mean, log_variance = trace.mean.float(), trace.log_variance.float()
        # exp(v) - 1 - v by way of expm1, exact where the variance is near 1.
        twice = mean.square() + log_variance.expm1() - log_variance
        return weight * 0.5 * twice.sum() / len(mean)


def hutchinson(
    function: Callable[[Tensor], Tensor], x: Tensor, rng: torch.Generator, probes: int = 1
) -> Tensor:
    """Estimate, for each row of x, the squared Frobenius norm of the Jacobian of `function`.

    (rows, *shape) -> (rows,), in float32. `function` maps each row by itself. Unbiased: the expectation of
    |v' J|^2 is the trace of J J' where v has independent signs (Hutchinson 1990, proposition 1). The result
    is differentiable in the function's parameters, not in x.
    """
    x = x.detach().requires_grad_()
    y = function(x)
    total = torch.zeros(len(x), device=x.device)
    for _ in range(probes):
        signs = drawn(y, lambda rows: torch.randint(0, 2, rows.shape, generator=rng, device=rows.device))
        signs = signs.to(y.dtype).mul_(2).sub_(1)
        (product,) = torch.autograd.grad(y, x, signs, create_graph=True)
        total = total + product.float().square().flatten(1).sum(1)
    return total / probes


def _slope(activation: nn.Module, code: Tensor) -> Tensor | None:
    """Return the activation's derivative where its output is `code`; None where the output is not enough."""
    match activation:
        case nn.Sigmoid():
            return code * (1 - code)
        case nn.Tanh():
            return 1 - code.square()
        case nn.ReLU():
            return (code > 0).to(code.dtype)
        case nn.LeakyReLU(negative_slope=negative):
            return torch.where(code > 0, 1.0, negative)
        case nn.Identity():
            return torch.ones_like(code)
    return None
