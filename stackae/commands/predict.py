"""`stackae predict`: the class of each row, and whether and why it is unlike the training data."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stackae.commands.row_stream import open_rows, worked_on, write_rows
from stackae.outputs import RowArrays, check_output

if TYPE_CHECKING:
    from stackae.data.rows import Raw

REASONS = {
    "reconstruction": "by reconstruction error",
    "unseen category": "with unseen categories",
    "out of range": "out of range",
}
"""How the line that counts rows unlike the training data calls each reason."""


def predict(
    run: Path, data: Sequence[str], out: Path, *, keep: Sequence[str], only_flagged: bool, quiet: bool
) -> None:
    """Write each row's class, all probabilities, and whether and why it is unlike the training data.

    A line on standard error counts rows that are unlike it; `only_flagged` writes no others.
    """
    check_output(out, (".csv", ".parquet", ".npz"), data)
    model, new = open_rows(run, data, quiet=quiet, keep=keep, classifies=True)
    counts = Counter[str]()

    def judge(raw: Raw) -> RowArrays:
        probabilities, reasons = model.judge(raw)
        why = _why(reasons)
        return {
            "class": np.array(model.classes)[probabilities.argmax(1)],
            "probability": probabilities,
            "unlike_training": why != "",
            "why": why,
        }

    def counted(chunks: Iterator[RowArrays]) -> Iterator[RowArrays]:
        for chunk in chunks:
            counts.update(chunk["why"][chunk["unlike_training"]].tolist())
            yield chunk

    names = {
        "class": ["class"],
        "probability": [f"probability_{name}" for name in model.classes],
        "unlike_training": ["unlike_training"],
        "why": ["why"],
    }
    chunks = counted(worked_on(new, judge, quiet=quiet))
    write_rows(out, names, new, chunks, only="unlike_training" if only_flagged else None)
    if counts and not quiet:
        print(_warning(counts, len(new.rows)), file=sys.stderr)


def _why(reasons: dict[str, np.ndarray]) -> np.ndarray:
    """Join each row's reasons to one string, which is empty where there is none."""
    names = list(reasons)
    joined = [
        "; ".join(name for bit, name in enumerate(names) if mask >> bit & 1)
        for mask in range(2 ** len(names))
    ]
    masks = sum(flags.astype(int) << bit for bit, flags in enumerate(reasons.values()))
    why: np.ndarray = np.array(joined)[masks]
    return why


def _warning(counts: Counter[str], rows: int) -> str:
    """Say what to know of predictions for rows of which so many are flagged, by why they are."""
    by_reason = {
        called: sum(count for why, count in counts.items() if name in why.split("; "))
        for name, called in REASONS.items()
    }
    parts = ", ".join(f"{count:,} {called}" for called, count in by_reason.items() if count)
    are = "is" if counts.total() == 1 else "are"
    return (
        f"{counts.total():,} of {rows:,} rows {are} unlike the training data ({parts}); "
        "don't trust their predictions blindly"
    )
