"""Paths that a config names, and what form of data is there."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from stackae.data.files.mnist import IDX_SETS
from stackae.errors import DataError

Form = Literal["arrays", "images", "table"]

BUILT_IN = ("digits", *IDX_SETS)
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

_ARRAYS = (".npy", ".npz")
_TABLES = (".csv", ".tsv", ".txt", ".data", ".test", ".parquet")
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


def form_of(paths: str | Sequence[str], setting: str) -> Form:
    """What form of data the paths that a setting names have, by what is there and by their names.

    Raises `DataError` where nothing is there, or it is of no known form, or of several.
    """
    found = {_form_of(path, setting) for path in as_paths(paths)}
    if len(found) > 1:
        raise DataError(f"{setting}: '{paths[0]}' and others are of several forms; name files of one form")
    form = found.pop()
    if form == "images" and len(as_paths(paths)) > 1:
        raise DataError(f"{setting}: several folders; put their classes' folders into one, and name that")
    return form


def _form_of(path: Path, setting: str) -> Form:
    if path.is_dir():
        return "images"
    if not path.exists():
        raise DataError(f"{setting}: {_absent(path, built_in=setting == 'data.source')}")
    ends = [end.lower() for end in path.suffixes]
    if ends and ends[-1] in _PACKED:
        ends.pop()
    if ends and ends[-1] in _ARRAYS and path.suffix.lower() in _ARRAYS:
        return "arrays"
    if ends and ends[-1] in _TABLES:
        return "table"
    if ends and ends[-1] in IMAGES:
        raise DataError(f"{setting}: '{path}' is one image; name the folder that it is in")
    raise DataError(
        f"{setting}: '{path}' has none of the endings {', '.join((*_TABLES, *_ARRAYS))}, packed or not; "
        "rename it after what is in it"
    )


def _absent(path: Path, *, built_in: bool) -> str:
    if unset := re.search(r"\$\{?(\w+)", str(path)):
        return f"'{path}': the environment variable {unset[1]} is not set; set it, or write the path out"
    if path.suffix or len(path.parts) > 1 or not built_in:
        return f"there is no file '{path}'; paths start at the current folder"
    near = difflib.get_close_matches(str(path).lower().replace("-", "_"), BUILT_IN, n=1)
    hint = (
        f"did you mean '{near[0]}'?"
        if near
        else f"give a file's or folder's path, or one of {', '.join(BUILT_IN)}"
    )
    return f"unknown source '{path}'; {hint}"
