"""A classifier's layers that go on reconstructing their input while labels are learnt."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stackae.shallow.corruptions import Corruption
from stackae.shallow.losses import Loss
from stackae.stack import Classifier, Decoder


class Reconstructing(nn.Module):
    """The loss of rows (rows, *shape) that are reconstructed from a classifier's deepest code, per input.

    `weight` times the loss of what the decoder, which is trained along, makes of the code of the corrupted
    rows, divided by the number of inputs.
    """

    def __init__(
        self,
        classifier: Classifier,
        decoder: Decoder,
        loss: Loss,
        corruption: Corruption | None,
        weight: float,
    ) -> None:
        super().__init__()
        # In a tuple, which hides the network from torch: it is a part of what is trained already.
        self._network = (classifier,)
        self.decoder = decoder
        self._loss, self._corruption, self._weight = loss, corruption, weight

    def forward(self, x: Tensor) -> Tensor:
        (classifier,) = self._network
        rng = torch.Generator(x.device).manual_seed(int(torch.randint(2**62, ())))
        seen = x if self._corruption is None else self._corruption(x, rng)
        output = self.decoder(classifier.encoder(classifier.entry(seen))).float()
        return self._weight / math.prod(x.shape[1:]) * self._loss(output, x)
