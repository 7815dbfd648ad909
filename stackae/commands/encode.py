"""`stackae encode`: the features of rows in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from stackae.commands.row_stream import check_keep, open_rows, worked_on, write_rows
from stackae.outputs import check_output


def encode(
    run: Path,
    data: Sequence[str],
    out: Path,
    *,
    layer: int | Literal["all"] | None,
    keep: Sequence[str],
    quiet: bool,
) -> None:
    """Write each row's features: after a layer, counted from 1, the last, or all side by side."""
    check_output(out, (".npy", ".npz", ".parquet", ".csv"), data)
    check_keep(out, keep)
    model, new = open_rows(run, data, quiet=quiet, keep=keep)
    # One row shows how many features a layer has.
    first = new.rows.take(np.arange(1))
    if layer == "all":
        depths = range(1, len(model.encoder.layers) + 1)
        names = [
            f"layer_{depth}_code_{number}"
            for depth in depths
            for number in range(1, model.encode(first, depth).size + 1)
        ]
    else:
        names = [f"code_{number}" for number in range(1, model.encode(first, layer).size + 1)]
    codes = worked_on(new, lambda raw: {"code": model.encode(raw, layer)}, quiet=quiet)
    write_rows(out, {"code": names}, new, codes)
