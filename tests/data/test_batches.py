"""Batches: every row once an epoch, in an order that only seed and epoch decide, from where they stood."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from stackae.data.batches import Batch, Batches

ROWS = 23
# Each row tells its own number, in x and in y.
X = np.arange(ROWS, dtype=np.float32)[:, None] + np.zeros((1, 2), np.float32)
Y = np.arange(ROWS) * 10


def numbers(batches: list[Batch]) -> list[list[int]]:
    return [batch.x[:, 0].int().tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def epoch(loader: Batches, number: int) -> list[list[int]]:
    loader.set_epoch(number)
    return numbers(list(loader))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, ROWS), batch_size=st.integers(1, 30), seed=st.none() | st.integers(0, 2**62))
def test_every_row_comes_once_in_batches_of_nearly_one_size(
    rows: int, batch_size: int, seed: int | None
) -> None:
    loader = Batches(X[:rows], batch_size=batch_size, seed=seed)
    batches = epoch(loader, 3)
    assert sorted(flat(batches)) == list(range(rows))
    assert len(batches) == len(loader)
    assert len(batches) == -(-rows // batch_size)
    assert all(rows // len(batches) <= len(batch) <= batch_size for batch in batches)
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert loader.rows == rows


def test_without_a_seed_rows_come_in_their_order() -> None:
    loader = Batches(X, batch_size=5)
    assert flat(epoch(loader, 0)) == flat(epoch(loader, 1)) == list(range(ROWS))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    loader = Batches(X, batch_size=5, seed=1)
    orders = [epoch(loader, number) for number in range(4)]
    torch.manual_seed(5)
    torch.rand(3)
    later = Batches(X, batch_size=5, seed=1)
    assert [epoch(later, number) for number in (3, 1, 0, 2)] == [orders[k] for k in (3, 1, 0, 2)]
    other = Batches(X, batch_size=5, seed=2)
    drawn = [*orders, *(epoch(other, number) for number in range(4))]
    assert all(one != two for at, one in enumerate(drawn) for two in drawn[:at])


def test_an_epoch_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    epoch(Batches(X, batch_size=5, seed=1), 0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("seed", [None, 4])
def test_classes_stay_with_their_rows_and_only_the_given_rows_come(seed: int | None) -> None:
    rows = np.array([2, 3, 11, 17, 22])
    loader = Batches(X, Y, batch_size=2, rows=rows, seed=seed)
    batches = list(loader)
    assert [len(batch.x) for batch in batches] == [1, 2, 2]
    for batch in batches:
        assert batch.y is not None
        assert torch.equal(batch.x[:, 0].long() * 10, batch.y)
    assert sorted(flat(numbers(batches))) == rows.tolist()
    assert loader.rows == 5


def test_weights_stay_with_their_rows_and_are_on_average_1() -> None:
    weight = np.arange(ROWS) + 1.0
    rows = np.array([1, 5, 6, 20])
    for batch in Batches(X, Y, batch_size=3, rows=rows, seed=1, weight=weight):
        assert batch.weight is not None
        mean = weight[rows].mean()
        np.testing.assert_allclose(batch.weight, (batch.x[:, 0].numpy() + 1) / mean, rtol=1e-6)
    assert next(iter(Batches(X, Y, batch_size=3))).weight is None


def test_batches_say_where_in_training_they_stand() -> None:
    loader = Batches(X, batch_size=10, seed=0)
    loader.set_epoch(6)
    assert [(batch.epoch, batch.number) for batch in loader] == [(6, 0), (6, 1), (6, 2)]


@pytest.mark.parametrize("seed", [None, 4])
@pytest.mark.parametrize("taken", [1, 2, 3, 4])
def test_a_restored_loader_goes_on_with_the_next_batch(seed: int | None, taken: int) -> None:
    whole = epoch(Batches(X, batch_size=5, seed=seed), 2)
    loader = Batches(X, batch_size=5, seed=seed)
    loader.set_epoch(2)
    going = iter(loader)
    assert numbers([next(going) for _ in range(taken)]) == whole[:taken]

    again = Batches(X, batch_size=5, seed=seed)
    again.load_state_dict(loader.state_dict())
    again.set_epoch(2)
    rest = list(again)
    assert numbers(rest) == whole[taken:]
    assert [batch.number for batch in rest] == list(range(taken, 5))
    assert epoch(again, 3) == epoch(Batches(X, batch_size=5, seed=seed), 3)


def test_restored_at_an_epochs_end_the_next_epoch_comes_whole() -> None:
    loader = Batches(X, batch_size=5, seed=4)
    going = iter(loader)
    for _ in range(len(loader)):  # as Lightning: asked for so many, never exhausted
        next(going)
    again = Batches(X, batch_size=5, seed=4)
    again.load_state_dict(loader.state_dict())
    assert epoch(again, 1) == epoch(Batches(X, batch_size=5, seed=4), 1)


def test_a_memory_map_on_disk_is_read_and_never_written(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert epoch(Batches(mapped, batch_size=5, seed=1), 0) == epoch(Batches(X, batch_size=5, seed=1), 0)
    for source in (mapped, X):
        for batch in Batches(source, batch_size=5):
            batch.x.zero_()
    assert np.array_equal(mapped[:, 0], np.arange(ROWS))
    assert np.array_equal(X[:, 0], np.arange(ROWS))


# ---- balanced

CLASSES = np.repeat([0, 2, 5], [900, 90, 10])  # 1, 3 and 4 do not occur
MANY = np.arange(1000, dtype=np.float32)[:, None]


def balanced(seed: int = 1, **words: Any) -> Batches:
    return Batches(MANY, CLASSES, seed=seed, balanced=True, **({"batch_size": 100} | words))


def within(count: int, draws: int, rate: float) -> bool:
    """Whether a count is one that a binomial draw gives with all but a probability of 1 in 10^8."""
    low, high = binom.ppf([5e-9, 1 - 5e-9], draws, rate)
    return bool(low <= count <= high)


def test_balanced_batches_draw_classes_and_the_rows_of_a_class_equally_often() -> None:
    loader = balanced()
    epochs = [flat(epoch(loader, number)) for number in range(20)]
    assert all(len(rows) == 1000 for rows in epochs)
    rows = np.concatenate(epochs)
    for label, size in ((0, 900), (2, 90), (5, 10)):
        of_class = rows[CLASSES[rows] == label]
        assert within(len(of_class), len(rows), 1 / 3)
        counts = np.bincount(of_class, minlength=1000)[label == CLASSES]
        assert all(within(int(count), len(of_class), 1 / size) for count in counts)
    # In every batch, and not only over the epoch.
    for batch in epoch(loader, 0):
        assert within(int((CLASSES[batch] == 5).sum()), 100, 1 / 3)


def test_balanced_batches_take_the_given_rows_only_and_classes_stay_with_them() -> None:
    rows = np.array([3, 17, 500, 905, 906, 999])
    loader = balanced(rows=rows, batch_size=4)
    drawn = set()
    for number in range(30):
        loader.set_epoch(number)
        batches = list(loader)
        assert [len(batch.x) for batch in batches] == [3, 3]
        for batch in batches:
            assert batch.y is not None
            assert batch.y.tolist() == CLASSES[batch.x[:, 0].long()].tolist()
            drawn |= set(batch.x[:, 0].int().tolist())
    assert drawn == set(rows.tolist())


def test_balanced_draws_depend_on_seed_and_epoch_alone_and_go_on_where_they_stood() -> None:
    loader = balanced()
    first, second = epoch(loader, 0), epoch(loader, 1)
    assert first != second
    assert epoch(balanced(), 1) == second
    assert epoch(balanced(2), 1) != second
    going = iter(loader)
    loader.set_epoch(1)
    assert numbers([next(going) for _ in range(4)]) == second[:4]
    again = balanced()
    again.load_state_dict(loader.state_dict())
    again.set_epoch(1)
    assert numbers(list(again)) == second[4:]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(4, ROWS),
    batch_size=st.integers(4, 30),
    processes=st.integers(1, 4),
    seed=st.none() | st.integers(0, 2**62),
)
def test_processes_have_parts_of_the_batches_that_one_has(
    rows: int, batch_size: int, processes: int, seed: int | None
) -> None:
    fold = np.arange(ROWS) % 3
    whole = Batches(X, Y, batch_size=batch_size, rows=np.arange(rows), seed=seed, fold=fold)
    whole.set_epoch(3)
    parts = [list(whole.divided(rank, processes)) for rank in range(processes)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([share.x for share in shares]), batch.x)
        assert batch.y is not None
        assert torch.equal(torch.cat([share.y for share in shares]), batch.y)
        sizes = [len(share.x) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) > 0 or whole.smallest < processes
        for share, size in zip(shares, sizes, strict=True):
            assert (share.epoch, share.number) == (batch.epoch, batch.number)
            if processes > 1:
                assert share.part is not None
                assert (share.part.sizes[share.part.rank], share.part.rows) == (size, len(batch.x))
                assert torch.equal(share.whole_fold, batch.fold)


def test_a_part_goes_on_from_where_it_stood() -> None:
    loader = Batches(X, Y, batch_size=5, seed=1).divided(1, 2)
    every = epoch(loader, 2)
    loader.load_state_dict({"position": 2})
    assert epoch(loader, 2) == every[2:]


def test_rows_that_are_held_make_the_same_batches() -> None:
    rows, here = np.arange(3, 19), torch.device("cpu")
    read = Batches(X, Y, batch_size=5, rows=rows, seed=1)
    held = read.held(here, len(rows) * 8)
    assert held is not read
    assert read.held(here, len(rows) * 8 - 1) is read
    for number in range(2):
        assert epoch(held, number) == epoch(read, number)
    assert epoch(held.divided(1, 2), 5) == epoch(read.divided(1, 2), 5)
