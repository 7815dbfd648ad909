"""The k-sparse activation keeps the k largest of each row, and gradients flow through them alone."""

import math

import numpy as np
import pytest
import torch

from stackae.shallow.activations import TopK, top_k
from stackae.shallow.units import DenseUnit


@pytest.mark.parametrize("shape", [(30, 12), (30, 3, 4), (30, 3, 2, 2)])
@pytest.mark.parametrize("k", [1, 5, 12])
def test_keeps_the_k_largest_of_each_row(shape: tuple[int, ...], k: int) -> None:
    x = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)) - 1
    )  # so that negative ones are kept too
    code = TopK(k)(x)
    assert code.shape == x.shape
    for row, kept in zip(x.flatten(1).numpy(), code.flatten(1).numpy(), strict=True):
        largest = np.argsort(row)[-k:]
        np.testing.assert_array_equal(kept[largest], row[largest])
        assert np.count_nonzero(kept) == k


def test_ties_leave_k_and_not_more() -> None:
    assert TopK(2)(torch.ones(3, 5)).sum(1).tolist() == [2.0, 2.0, 2.0]


def test_gradients_flow_through_the_kept_alone() -> None:
    x = torch.tensor([[3.0, -1.0, 2.0, 0.5], [-4.0, -3.0, -2.0, -1.0]], requires_grad=True)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    (TopK(2)(x) * weight).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 0.0, 3.0, 0.0], [0.0, 0.0, 3.0, 4.0]]


def test_an_infinite_pre_activation_that_is_not_kept_leaves_no_nan() -> None:
    x = torch.tensor([[1.0, -math.inf, 2.0]], requires_grad=True)
    code = TopK(1)(x)
    code.sum().backward()
    assert code.tolist() == [[0.0, 0.0, 2.0]]
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0, 1.0]]


def test_it_keeps_its_precision() -> None:
    assert TopK(2)(torch.randn(4, 6).bfloat16()).dtype == torch.bfloat16


def test_a_dense_unit_takes_it_as_its_activation() -> None:
    activation = top_k(3)
    unit = DenseUnit((10,), 20, activation)
    code = unit.encoder(torch.randn(8, 10))
    assert (code != 0).sum(1).tolist() == [3] * 8
    assert (activation.low, activation.high) == (-math.inf, math.inf)
    assert unit.linear.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (10 + 20)), rel=0.1)
