"""Checkpoints within a stage: when they are written, what they cost, and what a disk may do to them."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from scripted import CPU, STEPS, Scripted, Told, fit

from stackae.config import Config, FitConfig, TrainerConfig
from stackae.data.batches import Batch
from stackae.progress import NoProgress
from stackae.stage_context import StageContext
from stackae.training import CHECKPOINT, checkpoint
from stackae.training.agreement import Agreement
from stackae.training.checkpoint import Autosave, Durable
from stackae.training.divergence import DivergenceGuard


def saved_place(folder: Path) -> dict[str, int]:
    found: dict[str, int] = torch.load(folder / CHECKPOINT, weights_only=True)["callbacks"]["Autosave"]
    return found


def at(steps: dict[int, Callable[[], object]]) -> Callable[[int], float]:
    """Does something during the steps named, each once."""

    def during(step: int) -> float:
        steps.pop(step, lambda: None)()
        return 1.0

    return during


# ---- when


def test_zero_seconds_save_after_every_batch_and_many_save_never(tmp_path: Path) -> None:
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    places = []

    def look() -> None:
        places.append(saved_place(often))

    for folder, seconds, during in (
        (often, 0.0, at({step: look for step in range(2, 2 * STEPS + 1) if step != STEPS + 1})),
        (seldom, 1e6, lambda step: 1.0),
    ):
        folder.mkdir()
        fit(Scripted([1, 2], during=during), folder, FitConfig(epochs=2), autosave=seconds)
    assert places == [
        {"epoch": 1, "batch": 1},
        {"epoch": 1, "batch": 2},
        {"epoch": 2, "batch": 1},
        {"epoch": 2, "batch": 2},
    ]
    assert saved_place(often) == {"epoch": 2, "batch": 0}
    assert not (seldom / CHECKPOINT).exists()


@pytest.mark.parametrize(("seconds", "cost", "apart"), [(30, 0, 30), (30, 1, 31), (30, 4, 84), (0, 4, 5)])
def test_saving_takes_no_more_than_a_twentieth_of_the_time(
    seconds: float, cost: float, apart: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a clock on which a batch takes a second and a checkpoint `cost`."""
    now, saves = 0.0, list[float]()
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now)

    def save(path: Path) -> None:
        nonlocal now
        saves.append(now)
        now += cost

    trainer = SimpleNamespace(save_checkpoint=save)
    context = StageContext("pretrain-1", "layers.0", tmp_path, 0, CPU, False, NoProgress(), seconds)
    guard, agreement = DivergenceGuard(context, 1.0), Agreement(context.team, always=False)
    saver = Autosave(context, guard, Durable(context, guard), agreement)
    for number in range(1000):
        now += 1
        batch = Batch(torch.zeros(1, 1), None, 0, number)
        saver.stepped(trainer, batch, 10**9)  # type: ignore[arg-type]
    assert {later - sooner for sooner, later in pairwise(saves)} == {apart}


def test_the_setting_has_a_default_and_changes_no_key() -> None:
    assert TrainerConfig().autosave == 30.0
    with pytest.raises(ValueError, match="autosave"):
        TrainerConfig(autosave=-1.0)
    assert Config.model_validate({"layers": [{"width": 2}], "trainer": {"autosave": 5}}).trainer.autosave == 5


# ---- going on


def test_a_stage_that_goes_on_says_from_where(tmp_path: Path) -> None:
    class Died(Exception):
        pass

    def die(step: int) -> float:
        if step == STEPS + 3:
            raise Died
        return 1.0

    with pytest.raises(Died):
        fit(Scripted([1, 2, 3], during=die), tmp_path, FitConfig(epochs=3), autosave=0.0)
    told, task = Told(), Scripted([1, 2, 3])
    fit(task, tmp_path, FitConfig(epochs=3), told=told, autosave=0.0)
    assert told.places == [("pretrain-2", "epoch 2, batch 2")]
    assert len(task.batches) == STEPS + 1
    # Now the checkpoint is that of the end: a stage that was killed while it encoded does not train again.
    told, task = Told(), Scripted([1, 2, 3])
    fitted = fit(task, tmp_path, FitConfig(epochs=3), told=told)
    assert told.places == [("pretrain-2", "the end of epoch 3")]
    assert task.batches == []
    assert (task.steps.item(), len(fitted.history)) == (3 * STEPS, 3)


# ---- disks


@pytest.mark.parametrize(("room", "ballast"), [(512, 1), (20_000, 100_000)])
def test_a_full_disk_is_one_warning_and_the_checkpoint_before_stays(
    room: int, ballast: int, tmp_path: Path
) -> None:
    """It shows when the file is closed, or while torch writes, which has an error of its own for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    left = list[list[str]]()

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))

    def free() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        left.append([path.name for path in tmp_path.iterdir()])
        assert saved_place(tmp_path) == {"epoch": 1, "batch": 1}

    told, task = Told(), Scripted([1, 2, 3], during=at({2: fill, 5: free}))
    task.register_buffer("ballast", torch.zeros(ballast))
    try:
        fit(task, tmp_path, FitConfig(epochs=3), told=told, autosave=0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [sorted(names) for names in left] == [[CHECKPOINT, "threads.json"]]
    (warning,) = told.warnings
    assert warning.startswith(f"pretrain-2: no checkpoint could be written (File too large: '{tmp_path}')")
    assert warning.endswith("would lose what comes after epoch 1, batch 1")
    assert task.steps.item() == 3 * STEPS
    assert saved_place(tmp_path) == {"epoch": 3, "batch": 0}


def test_a_folder_that_has_gone_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "pretrain-2"
    folder.mkdir(parents=True)
    told = Told()
    task = Scripted([1, 2], during=at({STEPS + 1: lambda: shutil.rmtree(tmp_path / "store")}))
    fit(task, folder, FitConfig(epochs=2), told=told, autosave=0.0)
    assert saved_place(folder) == {"epoch": 2, "batch": 0}
    assert told.warnings == []


def test_a_folder_that_cannot_be_made_again_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "store" / "pretrain-2"
    folder.mkdir(parents=True)

    def take_away() -> None:
        shutil.rmtree(tmp_path / "store")
        (tmp_path / "store").write_text("a file")

    told, task = Told(), Scripted([1, 2], during=at({2: take_away}))
    fit(task, folder, FitConfig(epochs=2), told=told, autosave=0.0)
    assert task.steps.item() == 2 * STEPS
    assert len(told.warnings) == 1


def test_a_checkpoint_is_on_the_disk_before_it_takes_the_place_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def fsync(handle: int) -> None:
        done.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        sync(handle)

    def moved(source: Path, target: Path) -> None:
        done.append(("replace", str(target)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", moved)
    fit(Scripted([1]), tmp_path, FitConfig(epochs=1), autosave=0.0)
    one = [
        ("sync", str(tmp_path / "checkpoint.ckpt.part")),
        ("replace", str(tmp_path / CHECKPOINT)),
        ("sync", str(tmp_path)),
    ]
    before = [(doing, path.replace("checkpoint.ckpt", "threads.json")) for doing, path in one]
    assert done == before + one * STEPS


def test_a_link_in_a_checkpoints_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    folder = tmp_path / "pretrain-2"
    folder.mkdir()
    (folder / "checkpoint.ckpt.part").symlink_to(elsewhere)
    fit(Scripted([1]), folder, FitConfig(epochs=1), autosave=0.0)
    assert elsewhere.read_text() == "mine"
    assert not (folder / CHECKPOINT).is_symlink()
