"""The cross-entropy of one network, or of several, each on its own rows of a batch."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.committee import Committee
from stackae.data.batches import Batch
from stackae.shallow.divided import dividing
from stackae.shallow.normalisation import Normalisation
from stackae.side_by_side import SideBySide
from stackae.stack import Classifier


def cross_entropy(
    network: Classifier | Committee | SideBySide, batch: Batch, weights: Tensor | None, smoothing: float
) -> tuple[Tensor, float]:
    """Return the sum over the networks of each one's mean over its own rows, and how many there are.

    With the sum each learns as if it were alone.
    """
    if isinstance(network, Classifier):
        return _mean_loss(network, batch, weights, smoothing), 1
    # What is not learnt from is not seen either: it would have a part in the batch's statistics.
    assert batch.fold is not None
    if isinstance(network, SideBySide):
        numbers, present = network.own_rows(batch.fold)
        own = batch.select(numbers)
        losses = _losses(network(own.x, present), own, weights, smoothing) * present
        return (losses.sum(1) / present.sum(1).clamp(min=1)).sum(), len(network)
    means = []
    for number, member in enumerate(network.members):
        own = batch.select((batch.fold != number).nonzero().squeeze(1))
        if batch.part is not None:
            assert batch.whole_fold is not None
            own = own._replace(part=batch.part.among(batch.whole_fold != number))
        means.append(_mean_loss(member, own, weights, smoothing))
    return reduce(torch.add, means), len(means)


def _mean_loss(network: nn.Module, batch: Batch, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of a batch; it is 0 where there are no rows."""
    assert batch.y is not None
    with dividing(batch.part):
        logits = _logits(network, batch).float()
    if weights is None and batch.weight is None and batch.part is None and len(logits):
        return F.cross_entropy(logits, batch.y, label_smoothing=smoothing)
    losses = _losses(logits, batch, weights, smoothing)
    # Divided by the rows, not by their weights as PyTorch does: a batch without a rare class would otherwise
    # count as much as one with it, and the classes would not weigh alike.
    if batch.part is not None:
        return losses.sum() * (batch.part.processes / max(1, batch.part.rows))
    return losses.sum() / max(1, len(losses))


def _logits(network: nn.Module, batch: Batch) -> Tensor:
    """Return the logits of a batch's rows, which are normalised together with those beside them.

    Apart, a network may learn to tell labelled rows by their statistics, and to say the same of all others.
    Not so a ladder's, which alone normalises its logits: what it says of the others it cannot neglect, as it
    denoises them (Rasmus et al. 2015 keep the statistics apart).
    """
    if batch.beside is None or isinstance(network.top, Normalisation):
        logits: Tensor = network(batch.x)
        return logits
    together: Tensor = network(torch.cat([batch.x, batch.beside]))
    return together[: len(batch.x)]


def _losses(logits: Tensor, batch: Batch, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the cross-entropy of each row (*rows, classes), times its weight and that of its class."""
    assert batch.y is not None
    flat, y = logits.float().flatten(0, -2), batch.y.flatten()
    losses = F.cross_entropy(flat, y, label_smoothing=smoothing, reduction="none").view_as(batch.y)
    if weights is not None:
        losses = weights[batch.y] * losses
    return losses if batch.weight is None else batch.weight * losses
