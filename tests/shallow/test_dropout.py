"""Dropout: what is dropped, what the rest becomes, and that nothing happens after training."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import binom

from stackae.shallow.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_values_are_dropped_at_the_rate_and_the_rest_makes_up_for_it(rate: float) -> None:
    torch.manual_seed(0)
    x = torch.rand(300, 1001) + 1
    dropped = Dropout(rate).train()(x)
    kept = dropped != 0
    low, high = binom.ppf([5e-9, 1 - 5e-9], x.numel(), 1 - rate)
    assert low <= int(kept.sum()) <= high
    torch.testing.assert_close(dropped[kept], (x / (1 - rate))[kept])


def test_gradients_reach_what_was_kept_alone() -> None:
    torch.manual_seed(0)
    x = torch.rand(40, 30, requires_grad=True)
    dropped = Dropout(0.4).train()(x)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, (dropped != 0) / 0.6)


def test_the_global_generator_decides() -> None:
    layer, x = Dropout(0.5).train(), torch.ones(20, 20)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_after_training_or_at_a_rate_of_zero() -> None:
    x = torch.rand(9, 9)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x)


def test_values_of_bfloat16_stay_so() -> None:
    assert Dropout(0.5).train()(torch.ones(8, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
