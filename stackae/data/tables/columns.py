"""The columns of a table: what is known of each, and checks that they are those that a config names."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stackae.config import DataConfig
from stackae.data.files.paths import as_paths
from stackae.data.labels import unlabelled_test
from stackae.errors import DataError

MOST_CATEGORIES = 1000
"""A column of strings that has more distinct ones is taken for an identifier."""
_SHOWN = 8

Type = Literal["numeric", "time", "categorical"]


@dataclass(frozen=True)
class Column:
    """A column, as inferred from the rows that were read to learn from."""

    name: str
    type: Type
    missing: int
    """Cells without a value."""
    distinct: int
    """Distinct values, counted up to MOST_CATEGORIES + 1."""
    low: float | None
    high: float | None
    """Range of a numeric column, and of times in seconds since 1970; None where it has no value."""
    dropped: str | None
    """Why the column is not used: `constant`, `all missing`, `identifier` or `asked`; None: it is used."""

    @property
    def asked(self) -> bool:
        """True for a column that is not used because `data.drop` names it."""
        return self.dropped == "asked"


def configured_names(config: DataConfig) -> list[str]:
    """Return the columns' names that a config gives: a list, or a file's lines, each up to a comma."""
    if not isinstance(config.columns, str):
        return list(config.columns or ())
    from stackae.data.tables.text_blocks import Lines

    try:
        text = b"".join(Lines(as_paths(config.columns)[0], None)).decode()
    except DataError as error:
        raise DataError(f"data.columns: {error}") from None
    return [line.split(",")[0].strip() for line in text.splitlines() if line.strip()]


def with_names(config: DataConfig) -> DataConfig:
    """Return the config with the columns' names themselves where it names a file that has them."""
    if not isinstance(config.columns, str):
        return config
    return config.model_copy(update={"columns": tuple(configured_names(config))})


def common_names(files: Sequence[tuple[Path, Sequence[str]]]) -> tuple[str, ...]:
    """Return the names of the columns of all files; DataError where they differ, or a name is there twice."""
    first, names = files[0]
    for path, file_names in files:
        twice = [name for name, count in Counter(file_names).items() if count > 1]
        if twice:
            raise DataError(
                f"{path}: several columns are called '{twice[0]}'; give each a name of its own, "
                "in data.columns if the file has no header"
            )
        if set(file_names) != set(names):
            name = min(set(file_names) ^ set(names))
            has, lacks = (path, first) if name in file_names else (first, path)
            raise DataError(
                f"{lacks}: there is no column '{name}', which {has} has; make their columns alike"
            )
    return tuple(names)


def check_roles(config: DataConfig, names: Sequence[str], path: Path, *, test: bool) -> None:
    """Check that there are the columns that are to be target, group and order; DataError where one is not.

    Rows to test with that have no column like the target have no labels.
    """
    for setting, name in (("target", config.target), ("group", config.group), ("order", config.order)):
        if name is not None and name not in names:
            if test and setting == "target" and closest(name, names) is None:
                raise unlabelled_test(f"data.test: '{path}'", f"no column '{name}'")
            hint = "" if config.columns or closest(name, names) else "; if it has no header, set data.columns"
            if len(names) == 1 and name in names[0]:
                hint = "; set data.separator to the character between them"
            raise DataError(f"data.{setting}: {_absent(name, names, path)}{hint}")


def check_settings(config: DataConfig, names: Sequence[str], path: Path) -> None:
    """Check that there are the columns that `data.drop` and `data.types` name; DataError where one is not.

    One that is dropped may be absent unless its name is nearly another's, as test rows may have it alone.
    """
    for name in config.drop:
        if name not in names and closest(name, names):
            raise DataError(f"data.drop: {_absent(name, names, path)}")
    for name in config.types:
        if name not in names:
            raise DataError(f"data.types: {_absent(name, names, path)}")


def check_kept(keep: Sequence[str], names: Sequence[str], path: Path) -> None:
    """Check that there are the columns that are to be kept; DataError where one is not."""
    for name in keep:
        if name not in names:
            raise DataError(f"--keep: {_absent(name, names, path)}")


def check_alike(names: Sequence[str], like: Sequence[Column], drop: Collection[str], path: Path) -> None:
    """Check that features are those of the columns `like`; DataError where they are not."""
    absent = [column.name for column in like if column.dropped is None and column.name not in names]
    if absent:
        expected = {column.name for column in like}
        near = closest(absent[0], [name for name in names if name not in expected])
        hint = f"rename '{near}' if it is meant" if near else "add what is missing"
        raise DataError(f"{path}: has no {_listed(absent)}, unlike the rows to learn from; {hint}")
    extra = sorted(set(names) - {column.name for column in like} - set(drop))
    if extra:
        raise DataError(
            f"{path}: has {_listed(extra)}, unlike the rows to learn from; remove what is too much, "
            "or name it in data.drop"
        )


def closest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was meant, if one is nearly the same."""
    by_lower = {other.lower(): other for other in names}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[matches[0]] if matches else None


def _absent(name: str, names: Sequence[str], path: Path) -> str:
    near = closest(name, names)
    hint = f"did you mean '{near}'?" if near else f"its columns are {_listed(names)}"
    return f"{path} has no column '{name}'; {hint}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN:,} more"
