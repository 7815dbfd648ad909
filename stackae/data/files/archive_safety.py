"""Checks of what a compressed file claims to hold, before it is decompressed: it may be more than fits."""

from __future__ import annotations

import io
import math
import os
import zipfile
from contextlib import suppress
from pathlib import Path

from numpy.lib import format as npy

from stackae.errors import DataError

MOST_UNASKED = 1 << 30  # bytes
TIGHTEST = 1000
LONGEST_HEADER = 1 << 16  # bytes
CGROUP = Path("/sys/fs/cgroup/memory.max")


def check_array(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, on_disk: int) -> None:
    """Check that an array of an `.npz` has no objects, and the size that it claims; DataError if not.

    `on_disk` is the size of the whole file in bytes, which no claim in it can change.
    """
    uncompressed = member.file_size
    check_compression(name, compressed=min(member.compress_size, on_disk), uncompressed=uncompressed)
    with archive.open(member) as stream:
        head = io.BytesIO(stream.read(LONGEST_HEADER))
    try:
        version = npy.read_magic(head)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(head)
    except ValueError as fault:
        raise DataError(f"{name} is not an array ({fault}); write the file again") from None
    if dtype.hasobject:
        hint = f"save numbers, or strings as {name}.astype(str)"
        raise DataError(f"{name} holds Python objects, which are never loaded; {hint}")
    claimed, actual = math.prod(shape) * dtype.itemsize, uncompressed - head.tell()
    if claimed != actual:
        raise DataError(
            f"{name} claims the shape {shape}, so {claimed:,} bytes, but has {actual:,}; write the file again"
        )


def check_compression(name: str, *, compressed: int, uncompressed: int) -> None:
    """Check that `compressed` bytes can hold as much as is claimed; DataError where they cannot.

    No data are refused for being sparse: documents of 50 words out of 50,000 compress 500 times. Beyond 1000
    times, where deflate's limit is 1032, there is next to nothing but one repeated pattern, and who has a
    gigabyte of that all the same may save it uncompressed.
    """
    if uncompressed > MOST_UNASKED and uncompressed > TIGHTEST * compressed:
        raise DataError(
            f"{name} would decompress to {_gib(uncompressed)}, more than {TIGHTEST:,} times its size in the "
            "file; if it is meant to, save it uncompressed"
        )


def check_memory(name: str, size: int) -> None:
    """Check that `size` bytes fit the memory that this process may use; DataError where they do not."""
    limits = [limit for limit in (_machine(), _allowed(), _group()) if limit is not None]
    if limits and size > min(limits):
        raise DataError(
            f"{name} takes {_gib(size)} of memory, but there are {_gib(min(limits))}; "
            "use fewer rows, or a smaller type, as uint8 or float32"
        )


def _machine() -> int | None:
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _allowed() -> int | None:
    with suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        return None if soft == resource.RLIM_INFINITY else soft
    return None


def _group() -> int | None:
    with suppress(OSError, ValueError):  # another system, or no limit
        return int(CGROUP.read_text())
    return None


def _gib(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GiB"
