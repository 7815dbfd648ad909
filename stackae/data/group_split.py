"""Whole groups of rows, chosen so that they come near a wanted number of rows of each class."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_EXCHANGED = 1000  # groups that are tried against each other, pair by pair


def choose_groups(counts: Ints, wanted: Ints, order: Ints, leave: int) -> Mask:
    """Which groups to take, of counts (groups, classes), for about `wanted` (classes,) rows.

    Goes through the groups in the given order and takes each by which the sum comes nearer; then adds, drops
    and exchanges some as long as that helps. Near means a small squared distance in the rows of each class
    and in those of all together. At least one group is taken and `leave` are left, and of each class at least
    a row is left; all False where that cannot be.
    """
    counts = np.column_stack([counts, counts.sum(axis=1)])
    total = counts.sum(axis=0)
    most = total - (total > 0)
    missing, given = np.append(wanted, wanted.sum()), np.zeros_like(total)
    taken = np.zeros(len(counts), bool)
    for group in order:
        rows = counts[group]
        nearer = rows @ rows < 2 * (rows @ missing)
        if nearer and (given + rows <= most).all() and taken.sum() < len(counts) - leave:
            missing, given, taken[group] = missing - rows, given + rows, True
    # From all over the order: its first ones are all taken.
    some = order[:: -(-len(order) // _EXCHANGED)]
    while True:
        number = int(taken.sum())
        step = _best_step(
            counts[some],
            taken[some],
            missing,
            most - given,
            may_add=number < len(counts) - leave,
            may_drop=number > 1,
            must=number == 0,
        )
        if not step:
            return taken
        taken[some[step]] ^= True
        given = counts[taken].sum(axis=0)
        missing = np.append(wanted, wanted.sum()) - given


def _best_step(
    counts: Ints, taken: Mask, missing: Ints, room: Ints, *, may_add: bool, may_drop: bool, must: bool
) -> list[int]:
    """The group to add, to drop, or the two to exchange, by which least rows are missing; none if none helps.

    `room` is how many rows more of each class may be taken.
    """
    inside, outside = np.flatnonzero(taken), np.flatnonzero(~taken)
    none = np.zeros((1, counts.shape[1]), np.int64)
    # Row i, column j: without the i-th inside, with the j-th outside; the last of each stands for none.
    drop, add = np.vstack([counts[inside], none]), np.vstack([counts[outside], none])
    distance = np.zeros((len(drop), len(add)))
    possible = np.ones(distance.shape, bool)
    for of_class in range(counts.shape[1]):
        change = add[None, :, of_class] - drop[:, None, of_class]
        distance += np.square(change - missing[of_class], dtype=np.float64)
        possible &= change <= room[of_class]
    possible[-1, -1] = False
    possible[-1, :-1] &= may_add
    possible[:-1, -1] &= may_drop
    distance[~possible] = np.inf
    i, j = np.unravel_index(np.argmin(distance), distance.shape)
    now = np.inf if must else float(np.square(missing, dtype=np.float64).sum())
    return [*inside[i : i + 1], *outside[j : j + 1]] if distance[i, j] < now else []
