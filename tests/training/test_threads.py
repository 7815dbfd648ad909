"""How many threads a fit takes: the configured ones, the faster, and after a stop those it began with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scripted import CPU, Scripted, Told

from stackae.config import TrainerConfig
from stackae.data.batches import Batch, Batches
from stackae.machine.hardware import Hardware, resolve
from stackae.machine.threads import threads
from stackae.stage_context import StageContext
from stackae.training.threads import choose_threads

ALL, MANY = 3, 10_000


@pytest.fixture(autouse=True)
def _several() -> Iterator[None]:
    with threads(ALL):
        yield


class Timed(Scripted):
    """Takes the time that its number of threads is to take, on a clock of its own."""

    def __init__(self, one: float, every: float, clock: list[float]) -> None:
        super().__init__([])
        self.taken, self.clock = {1: one, ALL: every}, clock

    def loss(self, batch: Batch) -> torch.Tensor:
        self.clock[0] += self.taken[torch.get_num_threads()]
        return super().loss(batch)

    def __deepcopy__(self, memo: dict[int, object]) -> Timed:
        copied = Timed(*self.taken.values(), self.clock)
        copied.load_state_dict(self.state_dict())
        return copied


def chosen(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    one: float = 0.01,
    every: float = 0.01,
    hardware: Hardware = CPU,
    steps: int = MANY,
    resumes: bool = False,
    load: float = 0.0,
) -> int:
    clock = [0.0]
    monkeypatch.setattr("stackae.training.threads.os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("stackae.training.threads.time.monotonic", lambda: clock[0])
    context = StageContext("pretrain-1", "layers.0", folder, 0, hardware, False, Told(), 30.0)
    task = Timed(one, every, clock)
    before = task.steps.item()
    number = choose_threads(
        context, task, Batches(np.ones((20, 4), np.float32), batch_size=5, seed=0), steps, resumes=resumes
    )
    assert task.steps.item() == before  # a copy was tried
    assert torch.get_num_threads() == ALL
    assert json.loads((folder / "threads.json").read_text()) == {"threads": number}
    return number


@pytest.mark.parametrize(
    ("one", "every", "expected"), [(0.01, 0.01, 1), (0.01, 0.009, 1), (0.01, 0.007, ALL), (0.01, 0.2, 1)]
)
def test_all_threads_are_taken_where_they_are_clearly_faster(
    one: float, every: float, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chosen(tmp_path, monkeypatch, one=one, every=every) == expected


def test_steps_that_take_long_are_timed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(tmp_path, monkeypatch, one=50.0, every=20.0) == ALL


def test_a_short_fit_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(tmp_path, monkeypatch, every=0.001, steps=19) == 1


def test_on_cores_that_others_need_one_thread_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded = (os.cpu_count() or 1) + 1.0
    assert chosen(tmp_path, monkeypatch, every=0.001, load=crowded) == 1
    assert chosen(tmp_path, monkeypatch, every=0.001, load=crowded - 1.0) == ALL


def test_the_configured_number_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = resolve(TrainerConfig(accelerator="cpu", threads=2))
    assert chosen(tmp_path, monkeypatch, hardware=hardware, every=0.001) == 2


def test_a_fit_that_resumes_takes_what_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(tmp_path, monkeypatch, every=0.001) == ALL
    assert chosen(tmp_path, monkeypatch, every=1.0, resumes=True) == ALL
    assert chosen(tmp_path, monkeypatch, hardware=replace(CPU, threads=2), resumes=True) == ALL
    assert chosen(tmp_path, monkeypatch, every=1.0) == 1


@pytest.mark.parametrize("noted", ["", "[]", "{}", '{"threads": "2"}', '{"threads": 0}'])
def test_a_damaged_note_is_none(noted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "threads.json").write_text(noted)
    assert chosen(tmp_path, monkeypatch, every=0.001, resumes=True) == ALL
