"""A small run's folder: its config and its data, and what can be read there after a process has ended."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .victim import Orders, Point

# Everything that is drawn, averaged or counted while training, so that a kill could get it out of step.
CONFIG = """\
name: small
data: {source: rows.npz, labels: 300}
layers:
  - {width: 24, corruption: {type: masking, rate: 0.3}}
  - {width: 12, activation: sigmoid, penalties: [{type: kl, average: running}]}
pretrain: {epochs: 3, batch_size: 1000, lr: 0.01, schedule: cosine, warmup: 1}
unroll: {epochs: 2, batch_size: 1000}
finetune: {epochs: 3, batch_size: 100, lr: 0.01, patience: 2, dropout: 0.3}
trainer: {accelerator: cpu}
"""
SELDOM = ["tracking.wandb=disabled"]
EVERY_BATCH = [*SELDOM, "trainer.autosave=0"]

# For each finished stage's folder its files, with what changes when one is written again.
Files = dict[str, dict[str, tuple[int, int]]]


class Place:
    """A folder in which one small run is carried out, in as many lives as it takes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.store, self.out = self.folder / "store", self.folder / "out"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "small.yaml").write_text(CONFIG)
        _write_rows(self.folder / "rows.npz")

    def words(self, settings: Sequence[str], out: Path | None = None) -> list[str]:
        """What comes after `stackae` on the command line."""
        return ["run", "small.yaml", *settings, "--out", str(out or self.out), "--store", str(self.store)]

    def orders(
        self,
        life: str,
        point: Point | None = None,
        *,
        out: Path | None = None,
        action: Literal["kill", "vanish"] = "kill",
        clock: Literal["forwards", "backwards"] = "forwards",
    ) -> Orders:
        """Orders whose events are noted under the name of the life."""
        log = self.folder / f"{life}.jsonl"
        return Orders(str(log), str(self.store), str(out or self.out), point, action, clock)

    def events(self, life: str) -> list[dict[str, Any]]:
        """What was noted in a life; none where it was not watched, or too short."""
        path = self.folder / f"{life}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def results(self, out: Path | None = None) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(((out or self.out) / "results.json").read_text())
        return found

    def finished(self) -> Files:
        """The finished stages and their files."""
        found: Files = {}
        for manifest in sorted(self.store.glob("*/manifest.json")):
            names = ["manifest.json", *json.loads(manifest.read_text())["files"]]
            stats = {name: (manifest.parent / name).stat() for name in names}
            found[manifest.parent.name] = {
                name: (stat.st_mtime_ns, stat.st_ino) for name, stat in stats.items()
            }
        return found

    def fingerprint(self, out: Path | None = None) -> dict[str, Any]:
        """All that a run computed: sha256 of the model and of the stages' files, and the results' figures."""
        out = out or self.out
        prints: dict[str, Any] = {
            str(path.relative_to(out)): _sha256(path) for path in sorted((out / "model").iterdir())
        }
        for folder, names in self.finished().items():
            for path in (self.store / folder / name for name in names if name != "manifest.json"):
                prints[f"{folder}/{path.name}"] = _history(path) if path.suffix == ".csv" else _sha256(path)
        return prints | {"results": _timeless(self.results(out))}

    def seconds_lost(self, started: float, died: float) -> float:
        """Seconds that a stage had worked at the death and not kept: since its checkpoint, or since it began.

        By the time stamps of checkpoints, manifests and locks, so without the help of the victim.
        """
        manifests = [folder / "manifest.json" for folder in self.store.glob("*/")]
        if all(manifest.exists() for manifest in manifests):
            return 0.0
        marks = [*manifests, *self.store.glob("*.lock"), *self.store.glob("*/checkpoint.ckpt"), self.store]
        last = max(path.stat().st_mtime for path in marks if path.exists())
        # A process that was killed before it came to the stage again had done nothing for it.
        return died - last if last >= started else 0.0

    def batches_lost(self, lives: Sequence[str]) -> int:
        """How many batches the lives had trained, of the stage in which the last ended, and not kept."""
        events = [event for life in lives for event in self.events(life)]
        stage = events[-1]["stage"]
        if any(folder.rpartition("-")[0] == stage for folder in self.finished()):
            return 0
        kinds = [event["kind"] for event in events if event["stage"] == stage]
        if any(self.store.glob(f"{stage}-*/checkpoint.ckpt")) and "replaced checkpoint.ckpt" in kinds:
            del kinds[: len(kinds) - kinds[::-1].index("replaced checkpoint.ckpt")]
        return kinds.count("batch")


def _write_rows(path: Path) -> None:
    """The digits three times, each time with other noise: enough rows for features of more than one chunk."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.clip(x / 16 + rng.normal(0, 0.05, x.shape), 0, 1) for _ in range(3)])
    np.savez(path, x=rows.astype(np.float32), y=np.tile(y, 3))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _history(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def _timeless(found: Any) -> Any:
    """Results without what may differ from one run to the next: times, what was reused, the machine."""
    if isinstance(found, dict):
        passing = {"seconds", "reused", "environment"}
        return {name: _timeless(value) for name, value in found.items() if name not in passing}
    return [_timeless(value) for value in found] if isinstance(found, list) else found
