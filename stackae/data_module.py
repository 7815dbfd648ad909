"""A source and its split as Lightning's data module, for modules and trainers of one's own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, TensorDataset

from stackae.config import DataConfig
from stackae.data.parts import fill_parts
from stackae.data.read import read_source
from stackae.data.splits import make_split
from stackae.seeds import derive


class StackDataModule(pl.LightningDataModule):
    """Load the rows of a source, divided and preprocessed as a run does it, in batches (x, y) on one device.

    x (rows, *shape) is float32, y (rows,) has the classes' numbers, -1 where a row has no label or training
    may not see it. With `labelled` the rows that have one come alone. Those of training come in an order that
    depends on (seed, epoch) alone. All rows are held in memory. Validation and test rows have all the labels
    that the source has: `data.labels` counts those of training only.
    Raises DataError where the data are missing or damaged, or do not have what the config asks of them.
    """

    def __init__(
        self, data: DataConfig, *, seed: int = 0, batch_size: int = 100, labelled: bool = False
    ) -> None:
        super().__init__()
        self._config, self._seed, self._batch_size, self._labelled = data, seed, batch_size, labelled
        self._parts: dict[str, tuple[Tensor, Tensor]] = {}
        self.classes: tuple[str, ...] = ()
        """The classes' names by number."""
        self.shape: tuple[int, ...] = ()
        """The shape of a row."""

    def setup(self, stage: str | None = None) -> None:
        if self._parts:
            return
        source = read_source(self._config)
        split = make_split(source, self._config, self._seed)
        preprocessing = source.preprocessing(split.train)
        self.classes, self.shape = source.classes, tuple(preprocessing.shape)
        features = {
            name: np.empty((len(rows), *self.shape), np.float32) for name, rows in split.parts.items()
        }
        fill_parts(features, source, split, preprocessing)
        labels = {name: source.labels[rows] for name, rows in split.parts.items()}
        labels["train"] = np.where(split.labelled, labels["train"], -1)
        for name, x in features.items():
            kept = labels[name] >= 0 if self._labelled else slice(None)
            self._parts[name] = torch.from_numpy(x[kept]), torch.from_numpy(labels[name][kept])

    def rows(self, part: str) -> tuple[Tensor, Tensor]:
        """Return x and y of all rows of `train`, `val` or `test`."""
        self.setup()
        return self._parts[part]

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("train", self._seed)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self._loader("test")

    def _loader(self, part: str, seed: int | None = None) -> DataLoader[tuple[Tensor, ...]]:
        x, y = self.rows(part)
        # Whole batches at once: row by row a loader takes many times as long.
        order = _Order(len(x), self._batch_size, seed)
        return DataLoader(TensorDataset(x, y), sampler=order, batch_size=None)


class _Order(Sampler[list[int]]):
    """Batches of row numbers, in an order that depends on (seed, epoch); ascending without a seed."""

    def __init__(self, rows: int, batch_size: int, seed: int | None) -> None:
        self._rows, self._batch_size, self._seed, self._epoch = rows, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-self._rows // self._batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self._rows)
        if self._seed is not None:
            rng = torch.Generator().manual_seed(derive(self._seed, "order", self._epoch))
            order = torch.randperm(self._rows, generator=rng)
        numbers = order.tolist()
        for start in range(0, self._rows, self._batch_size):
            yield numbers[start : start + self._batch_size]
