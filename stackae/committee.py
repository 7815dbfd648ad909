"""Several classifiers whose probabilities are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stackae.stack import Classifier, Encoder


class Committee(nn.Module):
    """Classifiers whose probabilities are averaged: (rows, *shape) -> logits (rows, classes).

    The logits are the logarithms of the mean of the members' probabilities, so that their softmax is that
    mean.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        # The same once more, with their type.
        self._members = tuple(members)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def encoder(self) -> Encoder:
        """The first member's encoder."""
        return self._members[0].encoder

    @property
    def shortcut(self) -> nn.Linear | None:
        """The first member's shortcut, if they have any."""
        return self._members[0].shortcut

    @property
    def parts(self) -> tuple[nn.ModuleList, nn.ModuleList]:
        """The encoders of all members, and what is trained beside them."""
        encoders, heads = zip(*((member.encoder, member.outer) for member in self._members), strict=True)
        return nn.ModuleList(encoders), nn.ModuleList(heads)

    def forward(self, x: Tensor) -> Tensor:
        return self.each(x).log_softmax(2).logsumexp(0) - math.log(len(self))

    def each(self, x: Tensor) -> Tensor:
        """Return the logits of each member: (rows, *shape) -> (members, rows, classes)."""
        return torch.stack([member(x) for member in self._members])


def together(members: Sequence[Classifier]) -> Classifier | Committee:
    """Return the only one of them, or several as a committee."""
    return members[0] if len(members) == 1 else Committee(members)
