"""`stackae encode`: the features of rows in files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from stackae.commands.row_stream import open_rows, write_columns
from stackae.outputs import check_output


def encode(run: Path, data: str, out: Path, *, layer: int | Literal["all"] | None, quiet: bool) -> None:
    """Write each row's features: after a layer, counted from 1, the last, or all side by side."""
    check_output(out, (".npy", ".npz", ".parquet", ".csv"), data)
    model, new = open_rows(run, data, quiet=quiet)
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
    write_columns(out, {"code": names}, new, lambda raw: {"code": model.encode(raw, layer)}, quiet=quiet)
