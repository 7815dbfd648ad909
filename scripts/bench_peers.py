"""Epochs of pretraining by published packages, where they are installed, for `bench.py peers`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO

import torch
from bench_step import MASKING, Case, Epoch


def peers(case: Case) -> Mapping[str, Epoch]:
    """Returns an epoch of each that is installed, of one layer on the same rows."""
    found = {}
    for name, make in (("clustpy", _clustpy), ("pyod", _pyod)):
        try:
            found[name] = make(case)
        except ImportError as missing:
            print(f"{name} is left out: {missing}", file=sys.stderr)
    return found


def _clustpy(case: Case) -> Epoch:
    """Layerwise training of its stacked autoencoder, with masking noise."""
    module = importlib.import_module("clustpy.deep.neural_networks.stacked_autoencoder")
    network = module.StackedAutoencoder([case.inputs, case.units], activation_fn=torch.nn.ReLU)
    rows = case.tensor("train")

    def masked(x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand_like(x) >= MASKING)

    def epoch() -> None:
        with redirect_stderr(StringIO()):
            network.layerwise_training(1, batch_size=case.batch, data=rows, corruption_fn=masked)

    return epoch


def _pyod(case: Case) -> Epoch:
    """The training of its autoencoder, with one hidden layer and dropout at its ends."""
    kind = importlib.import_module("pyod.models.auto_encoder").AutoEncoder
    dataset = importlib.import_module("pyod.utils.torch_utility").TorchDataset
    rows = case.tensor("train").numpy()
    detector = kind(
        preprocessing=False,
        epoch_num=1,
        batch_size=case.batch,
        hidden_neuron_list=[case.units],
        batch_norm=False,
        dropout_rate=MASKING,
        verbose=0,
    )
    detector.fit(rows[: 2 * case.batch])
    detector.model.train()
    loader = torch.utils.data.DataLoader(dataset(X=rows, y=None), batch_size=case.batch, shuffle=True)
    return lambda: detector.train(loader)
