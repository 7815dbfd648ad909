"""Paths that a config names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

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

_COMPRESSED = (".gz", ".bz2", ".zst")


def as_paths(paths: str | Sequence[str] | None) -> list[Path]:
    """Return one path, several or none, as a list; `~` and environment variables stand for what they hold."""
    names = [] if paths is None else [paths] if isinstance(paths, str) else paths
    return [_path(name) for name in names]


def _path(name: str) -> Path:
    try:
        path = Path(os.path.expandvars(name)).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long, a user who is unknown
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"'{name:.60}' names no file ({cause}); give the path of one") from None
    return path


def quoted(paths: str | Sequence[str]) -> str:
    """Return paths as an error shows them, quoted."""
    return f"'{paths}'" if isinstance(paths, str) else ", ".join(f"'{path}'" for path in paths)


def uncompressed_path(path: Path) -> Path:
    """Return the path that a compressed file had before it was compressed; others as they are."""
    return path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
