"""Units: one shallow autoencoder's parameters, an encoder and a decoder."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.shallow.activations import Activation


class Trace(NamedTuple):
    """How a unit saw a batch: its input x (rows, *shape), the code that is decoded, the features.

    `code` and `mean` are the same but for a Gaussian unit in training, whose code is a sample around
    its mean; `log_variance` is that sample's, None for other units.
    """

    x: Tensor
    code: Tensor
    mean: Tensor
    log_variance: Tensor | None = None


class Unit(Protocol):
    """The interface of a unit to objectives and stacks. The encoder's output is the layer's features."""

    training: bool

    @property
    def encoder(self) -> nn.Module: ...
    @property
    def decoder(self) -> nn.Module: ...
    def trace(self, x: Tensor, rng: torch.Generator) -> Trace: ...


class SparseLinear(nn.Linear):
    """A linear layer of which a fixed random share of the weights exists; which ones is saved with it."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, connectivity: float) -> None:
        super().__init__(inputs, outputs)
        self.register_buffer("mask", (torch.rand(outputs, inputs) < connectivity).to(self.weight.dtype))

    def connected(self) -> Tensor:
        """Return the weight (outputs, inputs), zero where there is no connection."""
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.connected(), self.bias)


class TiedLinear(nn.Module):
    """The transpose of a linear layer, with a bias of its own: (rows, outputs) -> (rows, inputs).

    Holds the linear layer itself, so that the weight stays shared through copies and moves.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.bias = nn.Parameter(torch.zeros(linear.in_features))

    def forward(self, code: Tensor) -> Tensor:
        weight = self.linear.connected() if isinstance(self.linear, SparseLinear) else self.linear.weight
        return F.linear(code, weight.t(), self.bias)

    @torch.no_grad()
    def untied(self) -> nn.Linear:
        """Return a layer with weights of its own that does the same."""
        tied = self.linear
        own = nn.Linear(tied.out_features, tied.in_features)
        if isinstance(tied, SparseLinear):
            own = SparseLinear(tied.out_features, tied.in_features, 1.0)
            own.mask.copy_(tied.mask.t())
        own.weight.copy_(tied.weight.t())
        own.bias.copy_(self.bias)
        return own


class DenseUnit(nn.Module):
    """A dense autoencoder: code = activation(W x + b), output = V code + c.

    Inputs of any shape (rows, *shape) are flattened. The decoder returns what the loss takes (logits
    for the Bernoulli loss, values for the squared error), so no output activation is applied here.
    With `connectivity` below 1 only that share of W's weights, and of V's, exists.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        width: int,
        activation: Activation,
        *,
        tied: bool = False,
        connectivity: float = 1.0,
    ) -> None:
        super().__init__()
        self.linear = connect(math.prod(shape), width, activation, connectivity)
        self.activation = activation.make()
        self.encoder = nn.Sequential(nn.Flatten(), self.linear, self.activation)
        output = TiedLinear(self.linear) if tied else connect(width, math.prod(shape), None, connectivity)
        self.decoder = nn.Sequential(output, unflatten(shape))

    @property
    def output_bias(self) -> Tensor:
        """The bias of the decoder's output: one per input."""
        output = self.decoder[0]
        assert isinstance(output, nn.Linear | TiedLinear)
        return output.bias

    def trace(self, x: Tensor, rng: torch.Generator) -> Trace:
        code = self.encoder(x)
        return Trace(x, code, code)


def unflatten(shape: tuple[int, ...]) -> nn.Module:
    """Build the module that gives flat rows a shape; where they are to stay flat it costs next to nothing."""
    return nn.Identity() if len(shape) == 1 else nn.Unflatten(1, shape)


def connect(inputs: int, outputs: int, activation: Activation | None, connectivity: float = 1.0) -> nn.Linear:
    """Build a linear layer, initialised for the activation it feeds (None: no activation), biases zero."""
    linear = (
        nn.Linear(inputs, outputs) if connectivity == 1.0 else SparseLinear(inputs, outputs, connectivity)
    )
    if activation is None:
        nn.init.xavier_uniform_(linear.weight)
    else:
        activation.init(linear.weight)
    # A unit with fewer inputs gets larger weights, so that its variance is what the initialisation intends.
    with torch.no_grad():
        linear.weight /= math.sqrt(connectivity)
    nn.init.zeros_(linear.bias)
    return linear
