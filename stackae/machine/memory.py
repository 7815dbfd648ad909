"""Memory: how much there is, how it shows that it runs out, and how to go on with less at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Parts of torch's messages on main and device memory; it has an error class for the latter alone.
SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "bad_alloc")


def ran_out(fault: BaseException) -> bool:
    """Tell whether an error means that memory ran out."""
    if isinstance(fault, RuntimeError):
        return any(sign in str(fault) for sign in SIGNS)
    return isinstance(fault, MemoryError) or (isinstance(fault, OSError) and fault.errno == errno.ENOMEM)


def size() -> int:
    """Return the bytes of memory that this process may use: the machine's, or fewer where it has a limit."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # Linux alone has these files, and where there is no limit the second says 'max'.
    with suppress(OSError, ValueError):
        group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].strip()
        found = min(found, int(Path("/sys/fs/cgroup", group, "memory.max").read_text()))
    return found


def by_chunks(rows: int, size: int, work: Callable[[slice], object]) -> None:
    """Call `work` on chunks of the rows, in order, at most `size` at a time; fewer where memory runs out.

    It is called again with fewer rows, so what it leaves behind comes after all that needs memory.
    """
    start = 0
    while start < rows:
        size = min(size, rows - start)
        try:
            work(slice(start, start + size))
        except (RuntimeError, MemoryError) as fault:
            if size == 1 or not ran_out(fault):
                raise
            size //= 2
        else:
            start += size
