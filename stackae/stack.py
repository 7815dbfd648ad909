"""The deep networks that a stack of units becomes. Plain modules: they know torch alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


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
        """The codes of every depth, from the first layer's to the last's."""
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


class Classifier(nn.Module):
    """The encoder with a softmax head: (rows, *shape) -> logits (rows, classes).

    Dropout acts on the input and after every layer (Srivastava et al. 2014), while training only.
    """

    def __init__(
        self, encoder: Encoder, width: int, classes: int, *, dropout: float, input_dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(width, classes)
        # Zero logits: every class equally likely, whatever the scale of the codes.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.input_dropout = nn.Dropout(input_dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_dropout(x)
        for layer in self.encoder.layers:
            x = self.dropout(layer(x))
        logits: Tensor = self.head(x)
        return logits
