"""Whole groups of rows, chosen to come near a number of rows of each class that is asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_EXCHANGED = 1000  # groups that are tried against each other, pair by pair


def choose_groups(counts: Ints, goal: Ints, order: Ints, leave: int) -> Mask:
    """Choose groups, of counts (groups, classes), that have about `goal` (classes,) rows together.

    Goes through the groups in the given order and takes each by which the sum comes nearer; then adds, drops
    and exchanges groups as long as that helps. Near means a small squared distance in the rows of each class
    and in those of all together. At least one group is taken and `leave` are left, and of each class at least
    a row is left; all False where that cannot be. Returns a mask over the groups.
    """
    counts = np.column_stack([counts, counts.sum(axis=1)])
    total = counts.sum(axis=0)
    limits = total - (total > 0)
    missing, sums = np.append(goal, goal.sum()), np.zeros_like(total)
    chosen = np.zeros(len(counts), bool)
    for group in order:
        rows = counts[group]
        nearer = rows @ rows < 2 * (rows @ missing)
        if nearer and (sums + rows <= limits).all() and chosen.sum() < len(counts) - leave:
            missing, sums, chosen[group] = missing - rows, sums + rows, True
    # From all over the order: its first ones are all taken.
    tried = order[:: -(-len(order) // _EXCHANGED)]
    while True:
        size = int(chosen.sum())
        step = _best_step(
            counts[tried],
            chosen[tried],
            missing,
            limits - sums,
            may_add=size < len(counts) - leave,
            may_drop=size > 1,
            must=size == 0,
        )
        if not step:
            return chosen
        chosen[tried[step]] ^= True
        sums = counts[chosen].sum(axis=0)
        missing = np.append(goal, goal.sum()) - sums


def _best_step(
    counts: Ints, chosen: Mask, missing: Ints, room: Ints, *, may_add: bool, may_drop: bool, must: bool
) -> list[int]:
    """Return the group to add, to drop, or the two to exchange, so that the fewest rows are missing.

    The list is empty if no step helps. `room` is how many rows more of each class may be taken.
    """
    inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
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
    current = np.inf if must else float(np.square(missing, dtype=np.float64).sum())
    return [*inside[i : i + 1], *outside[j : j + 1]] if distance[i, j] < current else []
