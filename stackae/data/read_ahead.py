"""Rows of a file that memory cannot hold, asked for before they are needed, many at a time."""

from __future__ import annotations

import mmap
import os
import weakref

import numpy as np

from stackae.machine import memory

READ_AHEAD = 16 << 20
"""Bytes of rows that are asked for ahead of those that are taken: a disk reads many places at once."""


class ReadAhead:
    """Has the disk read rows of a memory map that are going to be taken, in random order.

    Left to itself a system reads one touched place after the other, each with much around it that rows in
    random order have no use for. Where memory can hold the file, that is what fills it fastest, so nothing
    is done then; nor where the rows `x` (rows, *shape) are no memory map of a whole file. `rows` is how many
    rows to be ahead, 0 where nothing is done.
    """

    def __init__(self, x: object) -> None:
        self.rows = self._start = self._size = 0
        if not (isinstance(x, np.memmap) and isinstance(x.base, mmap.mmap) and hasattr(os, "posix_fadvise")):
            return
        if 2 * x.nbytes > memory.size() and len(x) and x.filename is not None:
            self._start, self._size = x.offset, x.nbytes // len(x)
            self._file: int = os.open(x.filename, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            self.rows = max(1, READ_AHEAD // self._size)

    def ask_for(self, rows: np.ndarray) -> None:
        """Have the disk begin to read rows, by their numbers; wait for none of them."""
        if self.rows:
            for row in np.sort(rows).tolist():
                os.posix_fadvise(
                    self._file, self._start + row * self._size, self._size, os.POSIX_FADV_WILLNEED
                )
