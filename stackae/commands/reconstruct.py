"""`stackae reconstruct`: how badly rows in files are reconstructed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stackae.commands.row_stream import check_keep, open_rows, worked_on, write_rows
from stackae.outputs import check_examples, check_output, write_examples

ACROSS, PICTURES = 10, 40
"""Pictures side by side, and all of them, where reconstructions are drawn."""


def reconstruct(run: Path, data: Sequence[str], out: Path, *, keep: Sequence[str], quiet: bool) -> None:
    """Write each row's reconstruction error, or draw the first images above their reconstructions."""
    check_output(out, (".csv", ".parquet", ".npy", ".npz", ".png"), data)
    check_keep(out, keep)
    model, new = open_rows(run, data, quiet=quiet, keep=keep)
    if out.suffix.lower() != ".png":
        errors = worked_on(new, lambda raw: {"error": model.errors(raw)}, quiet=quiet)
        write_rows(out, {"error": ["error"]}, new, errors)
        return
    check_examples(out, model.shape)
    raw = new.rows.take(np.arange(min(PICTURES, len(new.rows))))
    assert isinstance(raw, np.ndarray)
    images = raw.reshape(len(raw), *model.shape).astype(np.float32)
    reconstructions = model.reconstruct(raw)
    across = min(ACROSS, len(raw))
    # White where a last line of pictures ends early.
    lines = [
        np.concatenate([line, np.full((across - len(line), *model.shape), model.scale, np.float32)])
        for start in range(0, len(raw), across)
        for line in (images[start : start + across], reconstructions[start : start + across])
    ]
    write_examples(out, np.concatenate(lines), scale=model.scale, columns=across)
