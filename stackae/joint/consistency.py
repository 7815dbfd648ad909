"""Rows that are moved a little keep their prediction: virtual adversarial training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.conditioning import quiet
from stackae.stack import Classifier

PROBE = 1e-2
"""How far a row is moved, as a share of `distance`, to find in which direction its prediction changes."""


class Consistency(nn.Module):
    """How much a classifier's predictions of rows (rows, *shape) change where they change most.

    `weight` times the mean divergence, in nats, of the prediction of a row that is moved by `distance` from
    that of the row itself; the direction is found by one step of the power method (Miyato et al. 2018,
    algorithm 1).
    """

    def __init__(self, classifier: Classifier, distance: float, weight: float) -> None:
        super().__init__()
        # In a tuple, which hides the network from torch: it is a part of what is trained already.
        self._network = (classifier,)
        self._distance, self._weight = distance, weight

    def forward(self, x: Tensor) -> Tensor:
        (classifier,) = self._network
        # Noise would change predictions more than a short move does.
        with quiet(classifier):
            with torch.no_grad():
                own = classifier(x).float().softmax(1)
            move = _of_length(torch.randn_like(x), PROBE * self._distance).requires_grad_()
            (uphill,) = torch.autograd.grad(_divergence(classifier(x + move), own), move)
            moved = x + _of_length(uphill, self._distance)
            return self._weight * _divergence(classifier(moved), own)


def _of_length(moves: Tensor, length: float) -> Tensor:
    """Scale each row's move to a length."""
    return length * F.normalize(moves.flatten(1), dim=1).view_as(moves)


def _divergence(logits: Tensor, own: Tensor) -> Tensor:
    return F.kl_div(logits.float().log_softmax(1), own, reduction="batchmean")
