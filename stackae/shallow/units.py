"""Units: one shallow autoencoder's parameters, an encoder and a decoder."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.shallow.activations import Activation


class TiedLinear(nn.Module):
    """The transpose of a linear layer, with a bias of its own: (rows, outputs) -> (rows, inputs).

    Holds the linear layer itself, so that the weight stays shared through copies and moves.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.bias = nn.Parameter(torch.zeros(linear.in_features))

    def forward(self, code: Tensor) -> Tensor:
        return F.linear(code, self.linear.weight.t(), self.bias)


class DenseUnit(nn.Module):
    """A dense autoencoder: code = activation(W x + b), output = V code + c.

    Inputs of any shape (rows, *shape) are flattened. The decoder returns what the loss takes (logits
    for the Bernoulli loss, values for the squared error), so no output activation is applied here.
    """

    def __init__(self, shape: tuple[int, ...], width: int, activation: Activation, *, tied: bool) -> None:
        super().__init__()
        features = math.prod(shape)
        linear = nn.Linear(features, width)
        activation.init(linear.weight)
        nn.init.zeros_(linear.bias)
        self.encoder = nn.Sequential(nn.Flatten(), linear, activation.make())
        self.decoder = nn.Sequential(_decoder(linear, tied), nn.Unflatten(1, shape))

    def encode(self, x: Tensor) -> Tensor:
        """(rows, *shape) -> (rows, width)."""
        code: Tensor = self.encoder(x)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """(rows, width) -> (rows, *shape), before any output activation."""
        output: Tensor = self.decoder(code)
        return output


def _decoder(linear: nn.Linear, tied: bool) -> nn.Module:
    if tied:
        return TiedLinear(linear)
    decoder = nn.Linear(linear.out_features, linear.in_features)
    # The decoder's outputs feed no activation, whatever the encoder's is.
    nn.init.xavier_uniform_(decoder.weight)
    nn.init.zeros_(decoder.bias)
    return decoder
