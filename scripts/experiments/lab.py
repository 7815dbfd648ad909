"""What every experiment needs: to carry out configs, to look into what they left, to say what it found."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import stackae
from stackae.config_file import load_config
from stackae.data.read import read_source
from stackae.data.splits import Split, make_split
from stackae.model import Model
from stackae.results import Results

CONFIGS = Path("configs")


@dataclass(frozen=True)
class Found:
    """What an experiment found, for its section: a table, and text of one paragraph each.

    `why` says where ours is worse, and why; empty where it is not, or where nothing is known.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    why: str = ""


@dataclass(frozen=True, eq=False)
class Run:
    """A config that was carried out: its results, its folder, and the store with its stages."""

    results: Results
    folder: Path
    store: Path

    @cached_property
    def model(self) -> Model:
        return stackae.load(self.folder)

    @cached_property
    def data(self) -> Data:
        config = load_config(self.folder / "config.yaml")
        source = read_source(config.data)
        rows = source.all.take(np.arange(len(source.all)))
        assert isinstance(rows, np.ndarray)
        classes = None if source.y is None else source.labels
        return Data(rows / self.model.scale, classes, make_split(source, config.data, config.seed))

    def stage(self, name: str) -> dict[str, Any]:
        """The results of a stage."""
        return dict(next(stage for stage in self.results.stages if stage["stage"] == name))

    def metric(self, stage: str, name: str) -> float:
        return float(self.stage(stage)["metrics"][name])

    def entry(self, stage: str) -> Path:
        """The folder of a stage in the store."""
        return self.store / f"{stage}-{self.stage(stage)['key'][:16]}"

    def curve(self, stage: str, column: str) -> list[float]:
        """A column of a stage's metrics, one number per epoch."""
        with (self.entry(stage) / "metrics.csv").open() as file:
            return [float(row[column]) for row in csv.DictReader(file)]

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """What the pretrained stack makes of rows in the network's units, [0, 1] for pictures."""
        rows: np.ndarray = self.model.reconstruct(x * self.model.scale) / self.model.scale
        return rows

    def encode(self, x: np.ndarray) -> np.ndarray:
        """The deepest features of rows in the network's units."""
        return self.model.encode(x * self.model.scale)


@dataclass(frozen=True, eq=False)
class Data:
    """All rows of a run's source in the network's units, their classes, and how they are split."""

    rows: np.ndarray
    classes: np.ndarray | None
    split: Split

    @property
    def train(self) -> np.ndarray:
        rows: np.ndarray = self.rows[self.split.train]
        return rows

    @property
    def test(self) -> np.ndarray:
        rows: np.ndarray = self.rows[self.split.test]
        return rows

    @property
    def test_classes(self) -> np.ndarray:
        assert self.classes is not None
        classes: np.ndarray = self.classes[self.split.test]
        return classes

    def one_of_each(self, count: int) -> np.ndarray:
        """The first test row of each of `count` classes."""
        first = [np.flatnonzero(self.test_classes == number)[0] for number in range(count)]
        rows: np.ndarray = self.test[first]
        return rows


@dataclass
class Lab:
    """Carries out configs with the overrides of the command line, and remembers them."""

    overrides: Sequence[str]
    store: Path
    runs: Path
    picture: Path
    seeds: int = 1
    """Over how many seeds, from 0, experiments that take several are carried out."""
    quick: bool = False
    """Whether all that is trained is trained for an epoch."""
    done: list[Run] = field(default_factory=list)

    def carry_out(self, config: str, *overrides: str, name: str | None = None) -> Run:
        """Runs configs/`config`.yaml into the folder `name`, by default the config's own."""
        words = [*overrides, *self.overrides, *(_epoch_each(config) if self.quick else [])]
        folder = self.runs / (name or config)
        print(" ".join(["stackae run", f"configs/{config}.yaml", *words, "--out", str(folder)]), flush=True)
        results = stackae.run(CONFIGS / f"{config}.yaml", words, out=folder, store=self.store, quiet=False)
        self.done.append(Run(results, folder, self.store))
        return self.done[-1]

    @property
    def seconds(self) -> float:
        """How long all stages took when they were trained; one that several runs share counts once."""
        stages = {stage["key"]: stage["seconds"] or 0.0 for run in self.done for stage in run.results.stages}
        return sum(stages.values())


def _epoch_each(config: str) -> list[str]:
    """Overrides by which whatever a config trains is trained for an epoch."""
    whole = load_config(CONFIGS / f"{config}.yaml")
    sections = {"pretrain": whole.pretrain, "unroll": whole.unroll, "finetune": whole.finetune}
    return [f"{name}.epochs=1" for name, section in sections.items() if section and section.epochs != 0]
