"""Clean values estimated from noisy ones and from an estimate above, unit by unit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Combinator(nn.Module):
    """Estimates clean values from noisy ones and from the estimate above, for each unit by itself.

    Noisy z (rows, units) and u (rows, units) give (z - m(u)) v(u) + m(u), where m and v each are a sigmoid
    and a line of u, with five numbers for every unit (Rasmus et al. 2015, equation 2).
    """

    def __init__(self, units: int) -> None:
        super().__init__()
        start = torch.zeros(10, units)
        start[1] = start[6] = 1.0
        # Flat, as biases are: weight decay is not for it.
        self.numbers = nn.Parameter(start.flatten())

    def forward(self, z: Tensor, u: Tensor) -> Tensor:
        estimate: Tensor = _Combine.apply(z, u, self.numbers.view(10, -1))  # type: ignore[no-untyped-call]
        return estimate


class _Combine(torch.autograd.Function):
    """The estimate with its derivatives written out, which takes half the passes over the values."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, u: Tensor, a: Tensor) -> Tensor:
        bend_m = torch.addcmul(a[2], u, a[1]).sigmoid_()
        bend_v = torch.addcmul(a[7], u, a[6]).sigmoid_()
        m = torch.addcmul(a[4], u, a[3]).addcmul_(bend_m, a[0])
        v = torch.addcmul(a[9], u, a[8]).addcmul_(bend_v, a[5])
        away = z - m
        ctx.save_for_backward(u, a, bend_m, bend_v, v, away)
        return torch.addcmul(m, away, v)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (by_estimate,) = gradients
        u, a, bend_m, bend_v, v, away = ctx.saved_tensors
        by_z = by_estimate * v
        by_m, by_v = by_estimate - by_z, by_estimate * away
        of_a = torch.empty_like(a)
        by_u = by_m * a[3]
        for first, by, bend in ((0, by_m, bend_m), (5, by_v, bend_v)):
            torch.sum(by * bend, 0, out=of_a[first])
            # Of what is inside the sigmoid.
            inside = (bend - bend.square()).mul_(by).mul_(a[first])
            torch.sum(inside * u, 0, out=of_a[first + 1])
            torch.sum(inside, 0, out=of_a[first + 2])
            torch.sum(by * u, 0, out=of_a[first + 3])
            torch.sum(by, 0, out=of_a[first + 4])
            by_u.addcmul_(inside, a[first + 1])
        return by_z, by_u.addcmul_(by_v, a[8]), of_a
