"""The data module: the rows of a run, in batches of an order of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

import stackae
from stackae.config import DataConfig
from stackae.data_module import StackDataModule
from stackae.errors import DataError

CONFIG = """\
data: {source: digits, labels: 200}
layers: [{width: 4}]
pretrain: {epochs: 1}
finetune: null
compare: {probe: false}
report: false
tracking: {wandb: disabled}
"""
DIGITS = DataConfig.model_validate({"source": "digits", "labels": 200})


def test_it_has_the_very_rows_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(CONFIG)
    stackae.run(tmp_path / "small.yaml", out=tmp_path / "run", store=tmp_path / "store")
    (folder,) = (tmp_path / "store").glob("data-*/")
    module = StackDataModule(DIGITS)
    for part in ("train", "val", "test"):
        x, y = module.rows(part)
        np.testing.assert_array_equal(x, np.load(folder / f"features-{part}.npy"))
        known = y >= 0
        np.testing.assert_array_equal(y[known], np.load(folder / f"labels-{part}.npy")[known])
        assert int(known.sum()) == (200 if part == "train" else len(x))
    assert module.classes == tuple("0123456789")
    assert module.shape == (8, 8)


def test_training_rows_come_in_an_order_of_seed_and_epoch_and_all_of_them() -> None:
    def epoch(seed: int, number: int) -> torch.Tensor:
        loader = StackDataModule(DIGITS, seed=seed, batch_size=64).train_dataloader()
        loader.sampler.set_epoch(number)
        batches = [x for x, _ in loader]
        assert [len(x) for x in batches[:-1]] == [64] * (len(loader) - 1)
        return torch.cat(batches)

    first = epoch(0, 0)
    assert torch.equal(first, epoch(0, 0))
    assert not torch.equal(first, epoch(0, 1))
    sums = StackDataModule(DIGITS).rows("train")[0].flatten(1).sum(1)
    assert torch.equal(first.flatten(1).sum(1).sort().values, sums.sort().values)


def test_lightning_sets_the_epoch() -> None:
    seen: list[float] = []

    class Looks(pl.LightningModule):
        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
            if batch_idx == 0:
                seen.append(batch[0].sum().item())

        def configure_optimizers(self) -> None:
            return None

    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(Looks(), datamodule=StackDataModule(DIGITS, batch_size=64))
    assert len(set(seen)) == 2


def test_labelled_rows_alone_if_wanted() -> None:
    module = StackDataModule(DIGITS, labelled=True)
    assert len(module.rows("train")[0]) == 200
    assert all((module.rows(part)[1] >= 0).all() for part in ("train", "val", "test"))


def test_a_source_that_is_missing_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        StackDataModule(DataConfig.model_validate({"source": "nowhere.csv", "target": "y"})).setup()
