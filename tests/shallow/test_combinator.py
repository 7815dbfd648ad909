"""The combinator is what its equation says, and so are its derivatives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from stackae.shallow.combinator import Combinator


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).normal(size=shape)).requires_grad_()


def combinator() -> Combinator:
    made = Combinator(3).double()
    with torch.no_grad():
        made.numbers.copy_(drawn(10, 3).flatten())
    return made


def test_it_is_equation_2() -> None:
    made, z, u = combinator(), drawn(5, 3), drawn(5, 3, 1)[:, :, 0]
    a = made.numbers.detach().numpy().reshape(10, 3)
    noisy, above = z.detach().numpy(), u.detach().numpy()

    def bent(first: int) -> np.ndarray:
        sigmoid = 1 / (1 + np.exp(-(a[first + 1] * above + a[first + 2])))
        return a[first] * sigmoid + a[first + 3] * above + a[first + 4]

    mean, share = bent(0), bent(5)
    np.testing.assert_allclose(made(z, u).detach(), (noisy - mean) * share + mean, rtol=1e-12)


def test_its_derivatives_are_those_of_differences() -> None:
    made = combinator()

    def of_numbers(z: Tensor, u: Tensor, numbers: Tensor) -> Tensor:
        return torch.func.functional_call(made, {"numbers": numbers}, (z, u))

    assert torch.autograd.gradcheck(
        of_numbers, (drawn(5, 3), drawn(5, 3, 1)[:, :, 0].detach().requires_grad_(), drawn(30))
    )  # type: ignore[no-untyped-call]


def test_it_starts_at_nothing_and_learns() -> None:
    made, z, u = Combinator(3), drawn(5, 3).float(), drawn(5, 3, 1)[:, :, 0].float()
    estimate = made(z, u)
    assert not estimate.any()
    (estimate - 1).square().sum().backward()
    assert made.numbers.grad is not None
    assert made.numbers.grad.abs().max() > 0
