"""`stackae encode`: the features of rows in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from stackae.commands.row_stream import check_keep, open_rows, worked_on, write_rows
from stackae.outputs import apart, check_output


def encode(
    run: Path,
    data: Sequence[str],
    out: Path,
    *,
    layer: int | Literal["all"] | None,
    with_input: bool,
    keep: Sequence[str],
    quiet: bool,
) -> None:
    """Write each row's features: after a layer, counted from 1, the last, or all side by side.

    `with_input` puts the preprocessed rows in front of them.
    """
    check_output(out, (".npy", ".npz", ".parquet", ".csv"), data)
    check_keep(out, keep)
    model, new = open_rows(run, data, quiet=quiet, keep=keep)
    names = apart(model.code_names(layer, with_input=with_input), new.place(np.arange(0)), "_input")
    codes = worked_on(new, lambda raw: {"code": model.encode(raw, layer, with_input=with_input)}, quiet=quiet)
    write_rows(out, {"code": names}, new, codes)
