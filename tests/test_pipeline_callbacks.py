"""Callbacks of one's own in a whole run: in every stage that trains, told from a run without, resumable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

import stackae

CONFIG = """\
data: {source: digits, split: {train: 200}}
layers: [{width: 6}, {width: 4}]
pretrain: {epochs: 3}
finetune: {epochs: 3, validation: none}
compare: {probe: false, baselines: none}
report: false
trainer: {autosave: 0}
tracking: {wandb: disabled}
"""
FITS = ["pretrain-1", "pretrain-2", "finetune", "scratch"]


class Counts(pl.Callback):
    """Counts a stage's epochs in what Lightning keeps, and notes all that it sees."""

    def __init__(self, dies_in: int = -1) -> None:
        self.epochs, self.dies_in = 0, dies_in
        self.seen: list[tuple[str, int, dict[str, float]]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = state_dict["epochs"]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if len(self.seen) == self.dies_in:
            raise RuntimeError("died")
        self.epochs += 1
        metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
        self.seen.append((str(pl_module.stage), self.epochs, metrics))


def run(folder: Path, *callbacks: pl.Callback, out: str = "run") -> dict[str, Any]:
    (folder / "small.yaml").write_text(CONFIG)
    stackae.run(folder / "small.yaml", out=folder / out, store=folder / "store", callbacks=callbacks)
    results: dict[str, Any] = json.loads((folder / out / "results.json").read_text())
    return results


def test_they_see_every_stage_that_trains_with_the_figures_of_the_results(tmp_path: Path) -> None:
    counts = Counts()
    results = run(tmp_path, counts)
    assert [seen[:2] for seen in counts.seen] == [(stage, n) for stage in FITS for n in (1, 2, 3)]
    last = {stage: metrics for stage, _, metrics in counts.seen}
    for stage in results["stages"]:
        for name in {"train_loss", "reconstruction", "val_reconstruction"} & set(stage["metrics"]):
            assert last[stage["stage"]][name] == pytest.approx(stage["metrics"][name], rel=1e-6)


def test_what_is_trained_with_them_is_not_taken_for_what_is_trained_without(tmp_path: Path) -> None:
    plain = run(tmp_path)
    stop = EarlyStopping("val_reconstruction", patience=1, min_delta=1e9, strict=False)
    stopped = run(tmp_path, stop)
    pairs = list(zip(plain["stages"], stopped["stages"], strict=True))
    assert [(first["epochs"], second["epochs"]) for first, second in pairs] == [
        (3, 2),
        (3, 2),
        (3, 3),
        (3, 3),
    ]
    assert all(first["key"] != second["key"] for first, second in pairs)
    again = run(tmp_path)
    assert [stage["key"] for stage in again["stages"]] == [stage["key"] for stage in plain["stages"]]
    assert all(stage["reused"] for stage in again["stages"])


def test_a_run_that_ended_in_one_goes_on_as_if_it_never_had(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    run(tmp_path / "whole", whole := Counts())
    with pytest.raises(RuntimeError, match="died"):
        run(tmp_path, first := Counts(dies_in=1))
    run(tmp_path, second := Counts())
    assert first.seen + second.seen == whole.seen
    for name in ("encoder", "decoder", "classifier"):
        path = f"run/model/{name}.safetensors"
        assert (tmp_path / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_where_there_are_none_nothing_is_told_to_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[object] = []
    monkeypatch.setattr(pl.LightningModule, "log_dict", lambda self, means, **_: told.append(means))
    run(tmp_path)
    assert told == []
    run(tmp_path, Counts())
    assert len(told) == len(FITS) * 3 + 2 * 3  # pretraining validates, too
