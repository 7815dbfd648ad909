"""A stack trained as a whole by a loop of a few lines, where a text does what no config should offer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from experiments.lab import Run
from stackae.build import AnyUnit, build_loss
from stackae.config_file import load_config
from stackae.data.read import read_source
from stackae.plan import Plan, make_plan, mirrored, stacked
from stackae.stack import Decoder, Encoder
from stackae.store import Entry, Store
from stackae.weights import WEIGHTS, fill, save_weights


class ByHand(nn.Module):
    """A deep autoencoder of a config's layers, and what it makes of rows in the network's units."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @torch.no_grad()
    def encode(self, x: np.ndarray) -> np.ndarray:
        codes: np.ndarray = self.encoder(torch.from_numpy(x.astype(np.float32))).numpy()
        return codes

    @torch.no_grad()
    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        rows: np.ndarray = self.decoder(self.encoder(torch.from_numpy(x.astype(np.float32)))).numpy()
        return rows


def finished(run: Run) -> tuple[Plan, dict[str, Entry]]:
    """The plan of a run, and its finished stages by name."""
    config = load_config(run.folder / "config.yaml")
    plan, store = make_plan(config, read_source(config.data)), Store(run.store, print)
    stages = [plan.data, *plan.stages]
    return plan, {stage.name: entry for stage in stages if (entry := store.open(stage.name, stage.key))}


def train_by_hand(
    run: Run,
    kept: Path,
    given: np.ndarray,
    wanted: np.ndarray,
    *,
    start: Callable[[Sequence[AnyUnit]], None] = lambda units: None,
) -> ByHand:
    """Trains the layers of a run as a whole once more, to make the rows `wanted` of the rows `given`.

    Initial weights, epochs, batches and learning rate are those of the run, with neither corruption nor
    penalties; `start` may change the units' weights before. The weights are left in the file `kept`, and
    where they are there already nothing is trained.
    """
    plan, entries = finished(run)
    layers, settings = plan.layers, plan.config.unroll
    units = [layer.unit() for layer in layers]
    for layer, unit in zip(layers, units, strict=True):
        fill(unit, entries[layer.stage.name].file(WEIGHTS))
    deep = mirrored(layers, units)
    if kept.exists():
        fill(deep, kept)
    else:
        start(units)
        x, y = (torch.from_numpy(rows.astype(np.float32)) for rows in (given, wanted))
        optimizer = torch.optim.Adam(deep.parameters(), lr=settings.lr, fused=True)
        loss, rng = build_loss(layers[0].loss, layers[0].blocks), torch.Generator().manual_seed(0)
        for _ in range(settings.epochs):
            for rows in torch.randperm(len(x), generator=rng).split(settings.batch_size):
                optimizer.zero_grad()
                loss(deep.decoder(deep.encoder(x[rows])), y[rows]).backward()
                optimizer.step()
        save_weights(kept, {"": deep})
    return ByHand(*stacked(layers, units)).eval()
