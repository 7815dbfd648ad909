"""Memory that runs out: a batch that is too large names one that fits, and work without gradients shrinks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from faults.forked import carry_out
from scripted import ROWS, STEPS, Scripted, fit
from torch import Tensor, nn

from stackae import training
from stackae.config import FitConfig
from stackae.data.batches import Batch
from stackae.data.features import encode, squared_error
from stackae.errors import TrainingError
from stackae.machine.memory import by_chunks, ran_out

# The command line where a process may take 150 MiB more than after its imports. What it frees, it gives back
# at once, so that the same words always need the same memory.
LIMITED = """
import ctypes, resource
import torch
from stackae.cli import main

M_MMAP_THRESHOLD = -3
assert ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 2**20)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 150 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
main()
"""


def exhausted() -> RuntimeError:
    """What torch raises where memory runs out, by asking for an exbibyte."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**58)
    return error.value


# ---- what it looks like


def test_torchs_and_numpys_errors_are_known() -> None:
    with pytest.raises(MemoryError) as error:
        np.zeros(2**58)
    assert ran_out(error.value)
    assert ran_out(exhausted())
    assert ran_out(OSError(12, "Cannot allocate memory"))
    assert ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not ran_out(ValueError("out of memory"))


# ---- work that can be done in smaller chunks


@pytest.mark.parametrize(
    ("rows", "size", "fits"), [(10, 4, 4), (10, 4, 1), (10, 100, 3), (1, 8, 1), (0, 8, 1)]
)
def test_chunks_shrink_until_they_fit_and_every_row_is_done_once(rows: int, size: int, fits: int) -> None:
    done: list[int] = []

    def work(part: slice) -> None:
        if part.stop - part.start > fits:
            raise exhausted()
        done.extend(range(rows)[part])

    by_chunks(rows, size, work)
    assert done == list(range(rows))


def test_one_row_that_does_not_fit_and_other_errors_are_raised() -> None:
    def work(part: slice) -> None:
        tried.append(part.stop - part.start)
        raise error

    tried: list[int] = []
    error: Exception = exhausted()
    with pytest.raises(RuntimeError, match="allocate"):
        by_chunks(9, 8, work)
    assert tried == [8, 4, 2, 1]
    error = RuntimeError("another")
    with pytest.raises(RuntimeError, match="another"):
        by_chunks(9, 8, work)
    assert tried == [8, 4, 2, 1, 8]


class Narrow(nn.Module):
    """Doubles what it is given, where that is not too many rows."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 300:
            raise exhausted()
        return 2 * x


def test_features_and_reconstructions_are_made_in_smaller_chunks(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((5000, 3), dtype=np.float32)
    encode(Narrow(), x, tmp_path / "features.npy", torch.device("cpu"))
    assert np.array_equal(np.load(tmp_path / "features.npy"), 2 * x)
    assert squared_error(Narrow(), x, x) == pytest.approx(np.square(x, dtype=np.float64).sum())


class Greedy(Scripted):
    """Runs out of memory with more than so many rows, from its `first` training batch on."""

    def __init__(self, fits: int, *, first: int = 1, in_validation: bool = False) -> None:
        super().__init__([1.0, 2.0, 3.0])
        self.fits, self.first, self.in_validation = fits, first, in_validation
        self.validated_rows: list[int] = []

    def loss(self, batch: Batch) -> Tensor:
        loss = super().loss(batch)
        if len(batch.x) > self.fits and len(self.batches) >= self.first and not self.in_validation:
            raise exhausted()
        return loss

    def validate(self, batch: Batch) -> None:
        if self.in_validation and len(batch.x) > self.fits:
            raise exhausted()
        self.validated_rows.append(len(batch.x))
        super().validate(batch)


def test_a_validation_batch_shrinks_and_counts_every_row_once(tmp_path: Path) -> None:
    task = Greedy(2, in_validation=True)
    fitted = fit(task, tmp_path, FitConfig(epochs=1))
    assert max(task.validated_rows) <= 2
    assert sum(task.validated_rows) == ROWS
    assert fitted.history[0]["val_score"] == 1.0


# ---- batches


@pytest.mark.parametrize(("stage", "setting"), [("pretrain-2", "layers.1"), ("scratch", "finetune")])
@pytest.mark.parametrize("first", [1, STEPS + 2])
def test_a_batch_that_is_too_large_names_one_that_fits(
    first: int, stage: str, setting: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError) as error:
        fit(Greedy(1, first=first), tmp_path, FitConfig(epochs=3), stage=stage, section=setting)
    assert str(error.value) == (
        f"{stage}: memory ran out on batches of 3 rows; 1 fit: set {setting}.batch_size=1"
    )


def test_where_not_even_one_row_fits_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingError, match="batches of 3 rows; not even one row fits: make the layers narrower"
    ):
        fit(Greedy(0), tmp_path, FitConfig(epochs=1))


def test_other_errors_of_a_fit_pass(tmp_path: Path) -> None:
    def during(step: int) -> float:
        raise RuntimeError("another")

    with pytest.raises(RuntimeError, match="another"):
        fit(Scripted([1], during=during), tmp_path, FitConfig(epochs=1))
    assert not (tmp_path / training.CHECKPOINT).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory")
def test_a_run_that_needs_too_much_memory_names_a_batch_that_fits_and_runs_with_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((40_000, 8), dtype=np.float32))
    (tmp_path / "large.yaml").write_text(
        "data: {source: x.npz}\nlayers: [{width: 512}]\npretrain: {epochs: 1, batch_size: 40000}\n"
        "finetune: null\ntrainer: {precision: 32-true, accelerator: cpu}\n"
        "report: false\ntracking: {wandb: disabled}\n"
    )
    # The codes of a batch of all rows take 56 MiB, and a step needs several times as much.
    words = ["run", "large.yaml"]
    failed = carry_out(words, tmp_path, program=LIMITED)
    assert failed.returncode == 1, failed.stderr
    found = re.fullmatch(
        r"pretrain-1: memory ran out on batches of ([\d,]+) rows; "
        r"[\d,]+ fit: set layers.0.batch_size=(\d+)",
        failed.stderr.splitlines()[-1],
    )
    assert found, failed.stderr
    assert found[1] == "28,800"  # all training rows
    fits = int(found[2])
    assert 100 < fits < 28_800
    done = carry_out([*words, f"layers.0.batch_size={fits}"], tmp_path, program=LIMITED)
    assert done.returncode == 0, done.stderr
