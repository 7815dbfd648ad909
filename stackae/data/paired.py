"""Batches of labelled rows, each with a batch of rows whose labels are not looked at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from stackae.data.batches import Batch, Batches


class Paired:
    """Batches of labelled rows with others beside them; an epoch goes once through the others.

    The labelled batches follow each other over the ends of epochs, each time in a new order, as often as they
    are needed. Where it stands depends on the epoch and on the position within it alone.
    """

    def __init__(self, labelled: Batches, others: Batches) -> None:
        self._labelled, self._others = labelled, others
        self._epoch = 0
        self.state_dict, self.load_state_dict = others.state_dict, others.load_state_dict

    def __len__(self) -> int:
        return len(self._others)

    @property
    def batch_size(self) -> int:
        """Labelled rows per batch, at most."""
        return self._labelled.batch_size

    @property
    def rows(self) -> int:
        """Number of rows that an epoch goes through."""
        return self._others.rows

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the labelled rows, in no random order."""
        return self._labelled.numbers

    def head(self, rows: int) -> Batch:
        """Return the first labelled rows, in no random order, with others beside them."""
        beside = self._others.head(self._others.batch_size)
        return self._labelled.head(rows)._replace(beside=beside.x)

    def held(self, device: torch.device, most: int) -> Paired:
        """Return the same batches of rows on a device, those that together take no more bytes than `most`."""
        return Paired(self._labelled.held(device, most // 2), self._others.held(device, most // 2))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, on which the order of the rows depends."""
        self._epoch = epoch
        self._others.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        labelled: Iterator[Batch] | None = None
        for others in self._others:
            if labelled is None:
                labelled = self._endless(self._epoch * len(self) + others.number)
            yield next(labelled)._replace(epoch=others.epoch, number=others.number, beside=others.x)

    def _endless(self, step: int) -> Iterator[Batch]:
        """Yield labelled batches from that of a step on, counted over all epochs."""
        epoch, position = divmod(step, len(self._labelled))
        while True:
            self._labelled.set_epoch(epoch)
            self._labelled.load_state_dict({"position": position})
            yield from self._labelled
            epoch, position = epoch + 1, 0


TrainingBatches = Batches | Paired
"""What a fit goes through, an epoch at a time."""
