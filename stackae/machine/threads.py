"""The number of threads that torch computes with on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Values of a matrix below which numpy's products gain nothing from a second thread; on cores that are
# shared, threads that wait for each other at every small product make it forty times slower.
MANY_VALUES = 1 << 22


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute with so many threads while the context lasts; None: with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_for(values: int) -> Iterator[None]:
    """Compute numpy's products with one thread where a matrix has few values, else with as many as before."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if values < MANY_VALUES else None, user_api="blas"):
        yield
