"""Corruptions: as often and as strong as configured, drawn from the given generator and no other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, kstest

from stackae.shallow.corruptions import Corruption, Gaussian, Masking

ALL = [Masking(0.4), Gaussian(0.3), Gaussian(0.3, clip=True)]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within(count: int, draws: int, rate: float) -> bool:
    """Whether a count is one that a binomial draw gives with all but a chance of 1 in 10^8."""
    low, high = binom.ppf([5e-9, 1 - 5e-9], draws, rate)
    return bool(low <= count <= high)


@pytest.mark.parametrize("rate", [0.05, 0.25, 0.5, 0.9])
def test_masking_zeroes_the_configured_share_and_leaves_the_rest_alone(rate: float) -> None:
    x = torch.rand(400, 10, 25, generator=seeded(9)) + 0.1
    seen = Masking(rate)(x, seeded())
    zero = seen == 0
    assert within(int(zero.sum()), x.numel(), rate)
    assert torch.equal(seen[~zero], x[~zero])


def test_masking_draws_each_input_on_its_own() -> None:
    zero = (Masking(0.3)(torch.ones(2000, 50), seeded()) == 0).double()
    # Were rows or columns masked together, their shares would spread much wider than a binomial's.
    assert zero.mean(1).var().item() == pytest.approx(0.3 * 0.7 / 50, rel=0.2)
    assert zero.mean(0).var().item() == pytest.approx(0.3 * 0.7 / 2000, rel=0.9)
    both = (zero[:, 0] * zero[:, 1]).sum().item()
    assert within(int(both), 2000, 0.09)


def test_a_rate_of_zero_masks_nothing() -> None:
    x = torch.rand(50, 20, generator=seeded(9))
    assert torch.equal(Masking(0.0)(x, seeded()), x)


@pytest.mark.parametrize("sigma", [0.1, 2.0])
def test_gaussian_noise_is_normal_with_the_configured_spread(sigma: float) -> None:
    x = torch.rand(300, 400, generator=seeded(9), dtype=torch.float64)
    noise = (Gaussian(sigma)(x, seeded()) - x).numpy().ravel()
    n = noise.size
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(n)
    assert abs(noise.std() / sigma - 1) < 5 / math.sqrt(2 * n)
    assert kstest(noise[:5000] / sigma, "norm").pvalue > 1e-6
    # No input's noise says anything about its neighbour's.
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 5 / math.sqrt(n)


def test_clipped_noise_is_the_same_noise_kept_in_the_unit_interval() -> None:
    x = torch.rand(100, 30, generator=seeded(9))
    free, clipped = Gaussian(0.5)(x, seeded()), Gaussian(0.5, clip=True)(x, seeded())
    assert free.min() < 0
    assert free.max() > 1
    np.testing.assert_array_equal(clipped, np.clip(free.numpy(), 0, 1))


@pytest.mark.parametrize("corruption", ALL, ids=repr)
def test_the_generator_alone_decides(corruption: Corruption) -> None:
    x = torch.rand(20, 8, generator=seeded(9))
    before, state = x.clone(), torch.get_rng_state()
    first = corruption(x, seeded(1))
    torch.manual_seed(99)
    assert torch.equal(first, corruption(x, seeded(1)))
    assert not torch.equal(first, corruption(x, seeded(2)))

    rng = seeded(1)
    assert not torch.equal(corruption(x, rng), corruption(x, rng))
    torch.set_rng_state(state)
    corruption(x, seeded(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, before)


@pytest.mark.parametrize("corruption", ALL, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_type_stay(corruption: Corruption, dtype: torch.dtype) -> None:
    seen = corruption(torch.ones(3, 2, 5, dtype=dtype), seeded())
    assert seen.shape == (3, 2, 5)
    assert seen.dtype == dtype
