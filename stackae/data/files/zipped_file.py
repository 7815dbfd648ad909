"""The one file in a `.zip`, decompressed a chunk at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

from stackae.data.files.archive_safety import check_compression
from stackae.errors import DataError


def zipped_chunks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the bytes of the one file that an archive has, at most `size` at a time.

    Folders, hidden files and what macOS adds do not count. Raises `DataError` where the archive is damaged or
    encrypted, has no file or several, or would decompress to far more than it can hold.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if _counts(member)]
            if len(members) != 1:
                names = ", ".join(f"'{member.filename}'" for member in members[:3])
                more = ", …" if len(members) > 3 else ""
                raise DataError(
                    f"{path}: has {len(members):,} files ({names}{more}), but one table is needed; unpack it "
                    "and name the files"
                    if members
                    else f"{path}: has no file in it; put a table into it"
                )
            (member,) = members
            if member.flag_bits & 1:
                raise DataError(f"{path}: '{member.filename}' is encrypted; unpack it and name the file")
            on_disk = min(member.compress_size, path.stat().st_size)
            name = f"{path}: '{member.filename}'"
            check_compression(name, compressed=on_disk, uncompressed=member.file_size)
            with archive.open(member) as stream:
                while chunk := stream.read(size):
                    yield chunk
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; paths start at the current folder") from None
    except Exception as fault:  # whatever a damaged archive makes its many readers raise
        raise DataError(f"{path}: the file cannot be read ({fault}); is it damaged?") from None


def _counts(member: zipfile.ZipInfo) -> bool:
    parts = member.filename.split("/")
    return not member.is_dir() and parts[0] != "__MACOSX" and not parts[-1].startswith(".")
