"""Labelled batches beside others: every row in its turn, and the same wherever one begins."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch

from stackae.data.batches import Batch, Batches
from stackae.data.paired import Paired

X = np.arange(20, dtype=np.float32)[:, None]
Y = np.arange(20)
LABELLED = np.array([1, 4, 6, 11, 15])


def paired() -> Paired:
    labelled = Batches(X, Y, batch_size=2, rows=LABELLED, seed=3)
    return Paired(labelled, Batches(X, batch_size=3, seed=4))


def epoch(of: Paired, number: int) -> list[Batch]:
    of.set_epoch(number)
    return list(of)


def same(first: list[Batch], second: list[Batch]) -> bool:
    def rows(batch: Batch) -> tuple[list[float], list[float], int, int]:
        assert batch.beside is not None
        return batch.x.flatten().tolist(), batch.beside.flatten().tolist(), batch.epoch, batch.number

    return list(map(rows, first)) == list(map(rows, second))


def test_an_epoch_goes_once_through_the_others_and_evenly_through_the_labelled() -> None:
    given = paired()
    counts = Counter[float]()
    for number in range(3):
        batches = epoch(given, number)
        assert len(batches) == len(given) == 7
        assert [(batch.epoch, batch.number) for batch in batches] == [(number, each) for each in range(7)]
        beside = torch.cat([batch.beside for batch in batches if batch.beside is not None])
        assert sorted(beside.flatten().tolist()) == list(range(20))
        for batch in batches:
            counts.update(batch.x.flatten().tolist())
            assert batch.y is not None
            assert batch.y.tolist() == batch.x.flatten().tolist()
    # 21 batches are seven times three of five labelled rows.
    assert counts == {float(row): 7 for row in LABELLED}


def test_it_goes_on_from_any_place_as_if_it_had_never_stopped() -> None:
    for number in range(3):
        every = epoch(paired(), number)
        for position in range(7):
            resumed = paired()
            resumed.load_state_dict({"position": position})
            assert same(epoch(resumed, number), every[position:])


def test_its_state_is_where_it_stands() -> None:
    given = paired()
    given.set_epoch(1)
    batches = iter(given)
    for number in range(7):
        assert next(batches).number == number
        assert given.state_dict() == {"position": number + 1}


def test_its_head_is_a_batch_of_both() -> None:
    head = paired().head(2)
    assert head.x.flatten().tolist() == [1, 4]
    assert head.beside is not None
    assert len(head.beside) == 3


def test_to_select_rows_leaves_those_beside_them() -> None:
    head = paired().head(3)
    chosen = head.select(torch.tensor([0, 2]))
    assert chosen.x.flatten().tolist() == [1, 6]
    assert chosen.beside is head.beside
