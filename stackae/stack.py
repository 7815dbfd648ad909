"""The deep networks that a stack of units becomes. Plain modules: they know torch alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stackae.shallow.dropout import Dropout
from stackae.shallow.units import Trace, Unit


class Encoder(nn.Module):
    """The units' encoders one after the other, shared by identity: (rows, *shape) -> (rows, width)."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def depths(self, x: Tensor) -> list[Tensor]:
        """Return the codes of every depth, from the first layer's to the last's."""
        codes = []
        for layer in self.layers:
            x = layer(x)
            codes.append(x)
        return codes


class Decoder(nn.Module):
    """The units' decoders from the last to the first: (rows, width) -> (rows, *shape).

    `layers` are given in the units' order, each with its output activation, so that layer k's output
    is a reconstruction of layer k's input.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(reversed(layers))

    def forward(self, code: Tensor) -> Tensor:
        for layer in self.layers:
            code = layer(code)
        return code


class Unrolled(nn.Module):
    """A stack of units mirrored into one deep autoencoder, which is itself a unit.

    `between[k]` turns the output of unit k+1's decoder into a reconstruction of unit k's code; the first
    unit's decoder ends the network and returns what the loss takes (Hinton & Salakhutdinov 2006).
    """

    def __init__(self, units: Sequence[Unit], between: Sequence[nn.Module]) -> None:
        super().__init__()
        assert len(between) == len(units) - 1
        self.units = nn.ModuleList(units)  # type: ignore[arg-type]  # units are modules
        self.between = nn.ModuleList(between)
        # The same units once more, with their methods' types.
        self._units = tuple(units)

    @property
    def encoder(self) -> Encoder:
        return Encoder([unit.encoder for unit in self._units])

    @property
    def decoder(self) -> Decoder:
        lowest, *upper = [unit.decoder for unit in self._units]
        activated = [nn.Sequential(*pair) for pair in zip(upper, self.between, strict=True)]
        return Decoder([lowest, *activated])

    def trace(self, x: Tensor, rng: torch.Generator) -> Trace:
        *lower, last = self._units
        code = x
        for unit in lower:
            code = unit.encoder(code)
        return last.trace(code, rng)._replace(x=x)


class Classifier(nn.Module):
    """The encoder with a softmax head: (rows, *shape) -> logits (rows, classes).

    Dropout acts on the input and after every layer (Srivastava et al. 2014), while training only. A
    `shortcut` from the input adds to the logits, so that narrow layers need not carry what a linear
    classifier sees; it is for rows of so many `inputs`, 0: there is none. `entry` may change the input while
    training, and `top` the logits.
    """

    def __init__(
        self,
        encoder: Encoder,
        code: tuple[int, ...],
        classes: int,
        *,
        dropout: float,
        input_dropout: float,
        inputs: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(math.prod(code), classes)
        # Zero logits: every class equally likely, whatever the scale of the codes.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.shortcut = nn.Linear(inputs, classes, bias=False) if inputs else None
        if self.shortcut is not None:
            nn.init.zeros_(self.shortcut.weight)
        self.entry: nn.Module = nn.Identity()
        self.top: nn.Module = nn.Identity()
        self.input_dropout = Dropout(input_dropout)
        self.dropout = Dropout(dropout)

    @property
    def outer(self) -> nn.ModuleList:
        """What is trained beside the encoder."""
        shortcut = [] if self.shortcut is None else [self.shortcut]
        return nn.ModuleList([self.head, *shortcut, self.top])

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_dropout(self.entry(x))
        code = x
        for layer in self.encoder.layers:
            code = self.dropout(layer(code))
        logits: Tensor = self.top(self.sums(code, x))
        return logits

    def sums(self, code: Tensor, x: Tensor) -> Tensor:
        """Return the weighted sums of the deepest code (rows, *code) and of the input (rows, *shape)."""
        sums: Tensor = self.head(code.flatten(1))
        return sums if self.shortcut is None else sums + self.shortcut(x.flatten(1))
