"""Small runs whose finished stages are looked into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from stackae.config import Config
from stackae.data.read import read_source
from stackae.pipeline import run
from stackae.plan import Plan, make_plan
from stackae.progress import NoProgress
from stackae.store import Entry, Store
from stackae.tracking.tracker import NullTracker
from stackae.weights import WEIGHTS

WIDTH = 6  # of data and layers alike, so that layers in the wrong order would fit together


# Networks whose weights are what was trained, so that they can be followed by hand.
PLAIN = {"batch_norm": False, "dropout": 0.5, "input_dropout": 0.2}


def described(folder: Path, **changes: Any) -> Config:
    """A config of two plain layers on data that it writes into `folder`, with other sections in `changes`."""
    path = folder / "data.npz"
    if not path.exists():
        rng = np.random.default_rng(0)
        y = np.arange(90) % 3
        x = 0.7 * rng.random((90, WIDTH)) + 0.3 * (np.arange(WIDTH) % 3 == y[:, None])
        np.savez(path, x=x.astype(np.float32), y=y)
    return Config.model_validate(
        {
            "data": {"source": str(path), "labels": 30, "labels_for_validation": "all"},
            "layers": [
                {"width": WIDTH, "activation": "sigmoid", "corruption": {"type": "masking", "rate": 0.6}},
                {"width": WIDTH, "activation": "relu", "corruption": {"type": "masking", "rate": 0.1}},
            ],
            "pretrain": {"epochs": 3, "batch_size": 25, "lr": 0.05},
            "finetune": {"epochs": 3, "batch_size": 25, "lr": 0.05, **PLAIN},
            "compare": {"probe": False},
            "trainer": {"accelerator": "cpu", "precision": "32-true"},
            "report": False,
        }
        | changes
    )


class Finished:
    """The finished stages of a run, which is carried out in `folder`."""

    def __init__(self, config: Config, folder: Path) -> None:
        def fail(line: str) -> None:
            raise AssertionError(line)

        store = Store(folder / "store", fail)
        self.run = folder / "run"
        self.results = run(config, store, NullTracker(), NoProgress(), out=self.run)
        self.plan: Plan = make_plan(config, read_source(config.data))
        self.entries: dict[str, Entry] = {}
        for planned in [self.plan.data, *self.plan.stages]:
            entry = store.open(planned.name, planned.key)
            assert entry is not None
            self.entries[planned.name] = entry

    def array(self, stage: str, name: str) -> np.ndarray:
        return np.load(self.entries[stage].file(f"{name}.npy"))

    def weights(self, stage: str) -> dict[str, np.ndarray]:
        return load_file(self.entries[stage].file(WEIGHTS))


def layer_arrays(weights: dict[str, np.ndarray], within: str = "") -> tuple[np.ndarray, ...]:
    """W, b, V, c of a dense unit in double precision; `within` is what its names begin with."""
    names = ("encoder.1.weight", "encoder.1.bias", "decoder.0.weight", "decoder.0.bias")
    return tuple(weights[within + name].astype(np.float64) for name in names)
