"""The parts that a report's sections are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stackae.report.plotting import Figure


@dataclass(frozen=True)
class Table:
    """A named table: column names, and rows of strings."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A part of the report under a heading."""

    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
