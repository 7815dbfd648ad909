"""The endings of tables' names, and those of compressed files."""

from __future__ import annotations

from pathlib import Path

TEXT_TABLES = (".csv", ".tsv", ".txt", ".data", ".dat", ".test")
JSON_LINES = (".jsonl", ".ndjson")
TYPED_TABLES = (".parquet", ".feather", ".arrow")
TABLES = (*TEXT_TABLES, *JSON_LINES, *TYPED_TABLES)
"""The endings of tables' files; those of text and of JSON lines may be compressed."""
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")

_COMPRESSED = (".gz", ".bz2", ".zst", ".zip")


def uncompressed_path(path: Path) -> Path:
    """Return the path that a compressed file had before it was compressed; others as they are."""
    return path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path


def is_table_name(path: Path) -> bool:
    """Tell whether a file's name ends as a table's, compressed or not."""
    return uncompressed_path(path).suffix.lower() in TABLES
