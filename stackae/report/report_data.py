"""The facts of a report, gathered once from a run's plan, finished stages, model and results."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stackae.build import build_corruption
from stackae.config_file import dump_config
from stackae.data.features import open_features
from stackae.model import Model
from stackae.pictures import is_image
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.store import Entry

# More points than this hide each other in a map.
MAP_ROWS = 2000
SHOWN_ROWS = 10
HISTOGRAM_ROWS = 2000


@dataclass(frozen=True, eq=False)
class Facts:
    """All that is drawn or told; arrays are of test rows unless they say otherwise.

    `shown`, `corrupted`, `rebuilt`: a few rows (rows, *shape) as the network sees them. `codes_before` and
    `codes_after`: the last layer's codes (rows, width) of `map_rows` before and after fine-tuning.
    """

    results: Mapping[str, Any]
    config: str
    plan: Plan
    histories: Mapping[str, list[dict[str, float]]]
    sizes: Mapping[str, int]
    shown: np.ndarray
    corrupted: np.ndarray | None
    rebuilt: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    map_rows: np.ndarray
    codes_before: np.ndarray
    codes_after: np.ndarray | None
    activity: Mapping[str, np.ndarray]
    logits: Mapping[str, np.ndarray]
    filters: np.ndarray | None
    names: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""
        return self.plan.classes

    @property
    def temperature(self) -> float:
        """By what the model divides the network's logits; 1 where it predicts a mean with a baseline."""
        calibration = self.results.get("calibration")
        return 1.0 if calibration is None or self.results["blend"] else float(calibration["temperature"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.plan.layers[0].shape

    @property
    def is_image(self) -> bool:
        """Whether rows are pictures."""
        return is_image(self.shape)


def gather(plan: Plan, entries: Mapping[str, Entry], model: Model, results: Mapping[str, Any]) -> Facts:
    """Read what a report needs; of features the figures alone, so that memory does not grow with the rows."""
    x_test = open_features(entries["data"].file, "test")
    y_test = np.load(entries["data"].file("labels-test.npy"), allow_pickle=False)
    last = entries[plan.top.name]
    rows = _spread(len(x_test), MAP_ROWS)
    shown = x_test[_of_each_class(y_test, SHOWN_ROWS)]
    histories = {name: _history(entry.folder / "metrics.csv") for name, entry in entries.items()}
    return Facts(
        results=results,
        config=dump_config(plan.config),
        plan=plan,
        histories={name: history for name, history in histories.items() if history},
        sizes={
            name: sum(file["size"] for file in entry.manifest["files"].values())
            for name, entry in entries.items()
        },
        shown=shown,
        corrupted=_corrupted(plan, shown),
        rebuilt=_through(torch.nn.Sequential(model.encoder, model.decoder), shown),
        x_test=x_test,
        y_test=y_test,
        map_rows=rows,
        codes_before=_flat(open_features(last.file, "test")[rows]),
        codes_after=_flat(_through(model.classifier.encoder, x_test[rows])) if model.classifier else None,
        activity={
            layer.stage.name: _flat(_sampled(open_features(entries[layer.stage.name].file, "val")))
            for layer in plan.layers
        },
        logits={
            name: np.load(entries[name].file("logits-test.npy"), allow_pickle=False)
            for name in ("finetune", "scratch")
            if name in entries
        },
        filters=_filters(model),
        names=tuple(plan.preprocessing.names()),
    )


def _spread(rows: int, most: int) -> np.ndarray:
    return np.linspace(0, rows - 1, min(rows, most)).astype(int)


def _of_each_class(y: np.ndarray, count: int) -> np.ndarray:
    """Return the first `count` rows, of each class in turn; the first of all where there are no classes."""
    firsts = [np.flatnonzero(y == label) for label in np.unique(y)]
    turns = [rows[turn] for turn in range(count) for rows in firsts if turn < len(rows)]
    return np.array(turns[:count], dtype=int)


def _sampled(x: np.ndarray) -> np.ndarray:
    return np.asarray(x[_spread(len(x), HISTOGRAM_ROWS)])


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


def _history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _corrupted(plan: Plan, rows: np.ndarray) -> np.ndarray | None:
    corruption = build_corruption(plan.layers[0].config.corruption)
    if corruption is None:
        return None
    rng = torch.Generator().manual_seed(derive(plan.config.seed, "report"))
    noisy: np.ndarray = corruption(torch.from_numpy(np.array(rows)), rng).numpy()
    return noisy


@torch.no_grad()
def _through(module: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    output: np.ndarray = module.eval()(torch.from_numpy(np.array(x))).numpy()
    return output


def _filters(model: Model) -> np.ndarray | None:
    """Return the first layer's weights (units, *input), or its kernels (channels, in, k…) if it is conv."""
    weights = [p for p in model.encoder.layers[0].parameters() if p.ndim > 1]
    return weights[0].detach().numpy().copy() if weights else None
