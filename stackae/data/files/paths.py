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
"""What is taken for an image, by the end of its name. Others are not opened, as some would start programs."""

_PACKED = (".gz", ".bz2", ".zst")


def as_paths(paths: str | Sequence[str] | None) -> list[Path]:
    """One path, several or none, as a list; `~` and environment variables stand for what they hold."""
    given = [] if paths is None else [paths] if isinstance(paths, str) else paths
    return [_path(path) for path in given]


def _path(name: str) -> Path:
    try:
        path = Path(os.path.expandvars(name)).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:  # a name that is too long, a user who is unknown
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"'{name:.60}' names no file ({cause}); give the path of one") from None
    return path


def quoted(paths: str | Sequence[str]) -> str:
    """Paths as an error shows them."""
    return f"'{paths}'" if isinstance(paths, str) else ", ".join(f"'{path}'" for path in paths)


def without_packing(path: Path) -> Path:
    """Return the path that a compressed file had before it was compressed; others as they are."""
    return path.with_suffix("") if path.suffix.lower() in _PACKED else path
