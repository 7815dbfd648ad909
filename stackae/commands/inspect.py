"""`stackae inspect`: what is in data, and what a run would do with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stackae.console import make_console, show_table
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.forms.form import Form, Guess
    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.source import Source


MOST_CLASSES = 1000
SHOWN_CLASSES = 20


def inspect(data: Sequence[str], target: str | None) -> None:
    """Print the data's columns, images or arrays and classes, and what a run would make of them."""
    form, guess, source, fitted = open_described(data, target)
    console, description = make_console(), form.describe(source, fitted)
    console.print(f"{', '.join(data)}: {description.text}", soft_wrap=True, markup=False)
    for name, reason in guess.why.items():
        console.print(f"data.{name}: {reason}", soft_wrap=True, markup=False)
    # Of images the description has them already.
    for remark in (*source.remarks, *fitted.remarks) if source.columns is not None else ():
        console.print(remark, soft_wrap=True, markup=False)
    if description.columns:
        show_table(description.columns, description.rows)
    _show_classes(source, guess)


def open_described(data: Sequence[str], target: str | None) -> tuple[Form, Guess, Source, Preprocessing]:
    """Read data with the settings that fit them: form, guess, source and preprocessing."""
    from stackae.data import autodetect
    from stackae.data.files.images import ImageRows
    from stackae.data.files.remote import remotes_named
    from stackae.data.read import read_source

    with remotes_named():
        form, guess = autodetect.guess(data, target)
        source = read_source(guess.config())
    if len(source.classes) > min(MOST_CLASSES, len(source.rows) // 2):
        called = target or f"{', '.join(data)}: y"
        raise DataError(
            f"{called}: has {len(source.classes):,} different values in {len(source.rows):,} rows; "
            "name a column of classes"
        )
    if isinstance(source.rows, ImageRows):
        # Only the headers of images are read so far: a run would stop at one that does not decode.
        deque(source.all.chunks(), maxlen=0)
    rows = np.arange(len(source.all), dtype=np.int64)
    return form, guess, source, source.preprocessing(rows)


def _show_classes(source: Source, guess: Guess) -> None:
    from stackae.data.files.images import ImageRows

    console = make_console()
    if not source.classes:
        hint = ""
        if source.columns is not None:
            hint = f"; --target {guess.likely_target or 'COLUMN'} names their column"
        elif isinstance(source.rows, ImageRows):
            hint = "; --target FILE.csv names a table with the files and their labels"
        console.print(f"no labels{hint}", markup=False, soft_wrap=True)
        return
    y = source.labels
    counts = np.bincount(y[y >= 0], minlength=len(source.classes))
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{source.classes[index]} {counts[index]:,}" for index in order[:SHOWN_CLASSES])
    more = ", …" if len(order) > SHOWN_CLASSES else ""
    none = f"; {int((y < 0).sum()):,} rows have no label" if (y < 0).any() else ""
    console.print(f"{len(order)} classes: {shown}{more}{none}", markup=False, soft_wrap=True)
