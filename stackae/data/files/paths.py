"""Paths that a config names."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from stackae.data.files.remote import is_remote, local_copies
from stackae.errors import DataError

IMAGES = {
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pgm": "PPM",
    ".png": "PNG",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Image formats, by the end of a file's name. Others are not opened, as some would start programs."""


def as_paths(paths: str | Sequence[str] | None) -> list[Path]:
    """Return one path, several or none, as a list of files and folders on the disk.

    `~` and environment variables stand for what they hold, a glob for the files that it fits, and a name with
    a scheme, as `s3://bucket/rows.csv`, for a copy of that. DataError where a glob or a scheme has nothing.
    """
    names = [] if paths is None else [paths] if isinstance(paths, str) else paths
    return [path for name in names for path in _paths(name)]


def _paths(name: str) -> list[Path]:
    name = os.path.expandvars(name)
    if is_remote(name):
        return local_copies(name)
    try:
        path = Path(name).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long, a user who is unknown
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"'{name:.60}' names no file ({cause}); give the path of one") from None
    if there or not glob.has_magic(name):
        return [path]
    found = {Path(match): None for match in sorted(glob.glob(str(path), recursive=True))}
    # Of `folder/**` the folder itself is enough.
    files = [match for match in found if not any(parent in found for parent in match.parents)]
    if not files:
        raise DataError(f"'{name}' fits no file; paths start at the current folder")
    return files


def quoted(paths: str | Sequence[str]) -> str:
    """Return paths as an error shows them, quoted."""
    return f"'{paths}'" if isinstance(paths, str) else ", ".join(f"'{path}'" for path in paths)
