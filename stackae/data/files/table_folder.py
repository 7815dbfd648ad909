"""Folders of tables: told from those of images, and listed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from stackae.data.files.endings import is_table_name, uncompressed_path
from stackae.data.files.paths import IMAGES
from stackae.errors import DataError


def holds_tables(folder: Path) -> bool:
    """Tell whether there are tables in a folder or in those in it, and no images."""
    tables = False
    for file in _files_in(folder):
        if file.suffix.lower() in IMAGES:
            return False
        tables = tables or is_table_name(file)
    return tables


def table_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files at paths, in the place of a folder the tables in it, sorted.

    Raises `DataError` where a folder has tables of several endings, or a file comes twice.
    """
    files = [file for path in paths for file in (_tables_in(path) if path.is_dir() else [path])]
    known = set[Path]()
    for file in files:
        if (same := uncompressed_path(file).resolve()) in known:
            raise DataError(f"'{file}' comes twice, compressed or not; name it once")
        known.add(same)
    return files


def _tables_in(folder: Path) -> list[Path]:
    files = sorted(filter(is_table_name, _files_in(folder)))
    endings = sorted({uncompressed_path(file).suffix.lower() for file in files})
    if len(endings) > 1:
        raise DataError(
            f"the folder '{folder}' has tables that end in {' and '.join(endings)}; name those that are one "
            f"table by a glob, as '{folder / '*'}{endings[0]}'"
        )
    return files


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder that are not hidden, as by a first `_` for whoever writes partitions."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] not in "._")
        yield from (Path(place, name) for name in names if name[0] not in "._")
