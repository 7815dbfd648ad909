"""Writing to disk so that nothing is lost, and saying in one line what the disk does not allow."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from stackae.errors import ConfigError, StorageError

FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EFBIG: "too large here"}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
ZEROS = bytes(1 << 20)
PART = ".part"
"""The ending of a file's name while it is written."""


def readable(size: int) -> str:
    """Write a number of bytes for people: `512 B`, `1.5 MiB`."""
    if size < 1024:
        return f"{size} B"
    value, units = size / 1024, ["KiB", "MiB", "GiB", "TiB"]
    # 1023.96 would be shown as 1024.0.
    while value >= 1023.95 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.1f} {units[0]}"


def free_at(path: Path) -> int:
    """Return the bytes free on the disk of `path`, which need not exist yet."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    return shutil.disk_usage(existing).free


@contextmanager
def storage_faults(path: Path, needed: int | None = None) -> Iterator[None]:
    """Raise StorageError where `path`, or what lies around it, cannot be written or has gone.

    `needed` is the number of bytes that were to be written there. Other errors pass, and so do those
    of files that are neither above, beside nor below `path`.
    """
    try:
        yield
    except OSError as fault:
        place = Path(os.fsdecode(fault.filename)) if isinstance(fault.filename, str | bytes) else path
        # numpy writes what fits, and then says so without a number.
        short = fault.errno is None and "requested and" in str(fault)
        target, failed = path.absolute(), place.absolute()
        if not (failed.is_relative_to(target.parent) or target.is_relative_to(failed)):
            raise
        if fault.errno in FULL or short:
            need = "" if needed is None else f"{readable(needed)} needed, "
            raise StorageError(
                f"{place}: {FULL.get(fault.errno or errno.ENOSPC)} ({need}{readable(free_at(place))} free); "
                "free some, with 'stackae gc' for instance, or name another --store (or --out)"
            ) from fault
        if fault.errno in CLOSED:
            raise StorageError(
                f"{place}: cannot be written ({os.strerror(fault.errno or 0)}); "
                "allow it, or name another --store (or --out)"
            ) from fault
        if fault.errno == errno.ENOENT:
            raise StorageError(f"{place}: has gone; was the store deleted? start the run again") from fault
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to, which takes its place, synced, if all goes well; else it goes.

    So `path` is the file before or the new one, whole, even after a power cut.
    """
    part = path.with_name(path.name + PART)
    try:
        # Writing would follow a link that lies there to wherever it leads.
        part.unlink(missing_ok=True)
        yield part
        sync(part)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all.

    Raises StorageError where the disk is full or the folder cannot be written.
    """
    content = text.encode()
    with storage_faults(path, len(content)), replacing(path) as part:
        part.write_bytes(content)


def overwrite(path: Path, text: str) -> None:
    """Write a longer text over a file, in the room that the file has; StorageError where that is too little.

    For a disk that is full. In one write, which a kill cannot tear; a power cut could.
    """
    content = text.encode()
    with storage_faults(path, len(content)):
        status = path.stat()
        assert status.st_size <= len(content)
        if status.st_blocks * 512 < len(content):
            raise OSError(errno.ENOSPC, "", str(path))
        with path.open("r+b", buffering=0) as file:
            file.write(content)
        sync(path)


def allocate(file: BinaryIO, size: int) -> None:
    """Allocate `size` bytes at the file's position, so that a memory map of them cannot run out of disk.

    OSError where they are not to be had; a sparse file would have the process killed by SIGBUS instead.
    """
    start = file.tell()
    if size and hasattr(os, "posix_fallocate"):
        file.flush()
        try:
            os.posix_fallocate(file.fileno(), start, size)
            return
        except OSError as fault:
            if fault.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    for written in range(0, size, len(ZEROS)):
        file.write(ZEROS[: size - written])
    file.flush()


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def empty(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove everything in a folder but the names in `keep`; a link is removed, not what it leads to."""
    for path in folder.iterdir():
        if path.name not in keep:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the bytes of a file or of a folder's files; links and what vanishes meanwhile count nothing."""
    if path.is_symlink():
        return 0
    if path.is_dir():
        return sum(size_of(inner) for inner in path.iterdir())
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def check_folder(option: str, folder: Path) -> None:
    """Raise ConfigError where `folder` is no folder, or neither is nor can be made writable; make nothing.

    Checked at the start, so that no run trains for hours and then has nowhere to put its results.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not existing.is_dir():
        raise ConfigError(f"{option} '{folder}': '{existing}' is a file; name a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} '{folder}': '{existing}' is not writable; name another folder")
