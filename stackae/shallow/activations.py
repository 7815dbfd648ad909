"""Activations by name, each with the range of its outputs and the initialisation that fits it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Activation:
    """An encoder's non-linearity and what follows from it.

    `init` fills the weight (outputs, inputs) that feeds it, in place. `low` and `high` bound its outputs.
    """

    make: Callable[[], nn.Module]
    init: Callable[[Tensor], Tensor]
    low: float
    high: float


def _he(slope: float) -> Callable[[Tensor], Tensor]:
    """Return an initialisation that keeps the variance through a rectifier with this negative slope.

    He et al. 2015, equation 14.
    """
    return lambda weight: nn.init.kaiming_uniform_(weight, a=slope, nonlinearity="leaky_relu")


def _glorot(gain: float) -> Callable[[Tensor], Tensor]:
    """Return the initialisation of Glorot & Bengio 2010, equation 16, times a gain."""
    return lambda weight: nn.init.xavier_uniform_(weight, gain=gain)


def _lecun(weight: Tensor) -> Tensor:
    """Fill with LeCun normal values, as self-normalisation assumes (Klambauer et al. 2017, section 3)."""
    return nn.init.kaiming_normal_(weight, nonlinearity="linear")


ACTIVATIONS: dict[str, Activation] = {
    "relu": Activation(nn.ReLU, _he(0.0), 0.0, math.inf),
    # A sigmoid's slope at 0 is 1/4, hence four times the gain (Glorot & Bengio 2010, section 4.2.1).
    "sigmoid": Activation(nn.Sigmoid, _glorot(4.0), 0.0, 1.0),
    "tanh": Activation(nn.Tanh, _glorot(1.0), -1.0, 1.0),
    "gelu": Activation(nn.GELU, _he(0.0), -0.17, math.inf),
    "selu": Activation(nn.SELU, _lecun, -1.7581, math.inf),
    "leaky_relu": Activation(nn.LeakyReLU, _he(0.01), -math.inf, math.inf),
    "linear": Activation(nn.Identity, _glorot(1.0), -math.inf, math.inf),
}


class TopK(nn.Module):
    """Keeps the k largest pre-activations of each row and sets the others to zero.

    (rows, *shape) -> (rows, *shape), the code's dimensions all together; k is at most their product.
    Gradients flow through what is kept alone (Makhzani & Frey 2013, k-sparse autoencoders, section 2.1).
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        # Chosen by index and not by a threshold, so that ties leave k and not more.
        largest = flat.topk(self.k, dim=1, sorted=False).indices
        mask = torch.zeros_like(flat, dtype=torch.bool).scatter(1, largest, True)
        return torch.where(mask, flat, 0.0).view_as(x)


def top_k(k: int) -> Activation:
    """Return the activation that keeps the k largest of a row's pre-activations, as they are."""
    return Activation(lambda: TopK(k), _glorot(1.0), -math.inf, math.inf)
