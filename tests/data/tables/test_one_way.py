"""One way from any given rows to features: files, frames and text of the same rows are the same to the bit.

With `STACKAE_TABLES=500` in the environment so many tables are drawn; `--hypothesis-seed` says which.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from stackae.config import DataConfig
from stackae.data.preprocessing.table import TablePreprocessing, fit_table
from stackae.data.rows import Rows
from stackae.data.tables.table import read_table
from stackae.errors import DataError

TABLES = int(os.environ.get("STACKAE_TABLES", "25"))
ABSENT = ["", " ", "NA", " NA ", "N/A", "NaN", "nan", "NULL", "null", "None"]
BLANKS = ["", " ", "  ", "\t", "\u00a0"]


class Streamed:
    """A frame of a library that is known by Arrow's stream interface alone, as those of Polars are."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@dataclass
class Drawn:
    """A column: its cells in Arrow, and the same as texts in a file."""

    cells: pa.Array
    texts: list[str]


def column(
    values: st.SearchStrategy[Any],
    type_: Callable[[], pa.DataType] | pa.DataType,
    write: Callable[[Any], st.SearchStrategy[str] | str],
) -> Callable[[st.DrawFn, int], Drawn]:
    def draw_column(draw: st.DrawFn, rows: int) -> Drawn:
        few = draw(st.lists(values, min_size=1, max_size=6)) if draw(st.booleans()) else None
        cell = st.sampled_from(few) if few else values
        share = draw(st.sampled_from([0, 0, 3]))
        cells, texts = [], []
        for _ in range(rows):
            if share and draw(st.integers(0, share)) == 0:
                cells.append(None)
                texts.append(draw(st.sampled_from(ABSENT)))
                continue
            cells.append(draw(cell))
            written = write(cells[-1])
            text = written if isinstance(written, str) else draw(written)
            texts.append(draw(st.sampled_from(BLANKS)) + text + draw(st.sampled_from(BLANKS)))
        return Drawn(pa.array(cells, type_() if callable(type_) else type_), texts)

    return draw_column


def any_case(value: bool) -> st.SearchStrategy[str]:
    word = str(value)
    return st.sampled_from([word, word.lower(), word.upper()])


def number(value: float) -> st.SearchStrategy[str]:
    text = repr(float(value))
    return st.sampled_from(
        [text, text.removesuffix(".0"), f"+{text}" if text[0] != "-" else text.replace("-", "−", 1)]
    )


def whole(value: int) -> st.SearchStrategy[str]:
    return st.sampled_from([str(value), f"{value:,}".replace(",", "'"), f"{value:,}".replace(",", "\u202f")])


def moment(value: dt.datetime) -> st.SearchStrategy[str]:
    text = str(value)
    return st.sampled_from([text, text.replace(" ", "T"), pd.Timestamp(value).isoformat(sep=" ")])


STAMPS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
SHORT = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 5))
WORDS = st.text("ab é-?7.", min_size=1, max_size=4).map(str.strip).filter(lambda word: word not in ABSENT)
KINDS: dict[str, Callable[[st.DrawFn, int], Drawn]] = {
    "int": column(st.integers(-(2**63), 2**63 - 1), pa.int64(), whole),
    "small": column(st.integers(-3, 3), pa.int8(), str),
    "large": column(st.integers(0, 2**64 - 1), pa.uint64(), str),
    "float": column(st.floats(-1e30, 1e30), pa.float64(), number),
    "single": column(st.floats(-(2.0**60), 2.0**60, width=32), pa.float32(), number),
    "half": column(st.floats(-1024, 1024, width=16), pa.float16(), number),
    "decimal": column(st.decimals(-(10**12), 10**12, places=6), pa.decimal128(20, 6), str),
    "bool": column(st.booleans(), pa.bool_(), any_case),
    "text": column(WORDS, pa.string(), str),
    "view": column(WORDS, pa.string_view(), str),
    "big": column(WORDS, pa.large_string(), str),
    "encoded": column(WORDS, pa.string(), str),
    "date": column(st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)), pa.date32(), str),
    "day": column(st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)), pa.date64(), str),
    "stamp": column(STAMPS, pa.timestamp("us"), moment),
    "short": column(SHORT, pa.timestamp("ns"), moment),
    "second": column(STAMPS.map(lambda at: at.replace(microsecond=0)), pa.timestamp("s"), moment),
    "zoned": column(
        STAMPS.map(lambda at: at.replace(tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))),
        pa.timestamp("us", "Europe/Berlin"),
        moment,
    ),
    "span": column(
        st.timedeltas(dt.timedelta(-99_999), dt.timedelta(99_999)),
        pa.duration("us"),
        lambda value: str(pd.Timedelta(value)),
    ),
    "seconds": column(
        st.integers(-(10**6), 10**6).map(lambda seconds: dt.timedelta(seconds=seconds)),
        pa.duration("s"),
        lambda value: str(pd.Timedelta(value)),
    ),
    "clock": column(st.times(), pa.time64("us"), str),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, str, dict[str, str]]:
    """Draw a table, the text of a file with the same rows, and types that a config may ask for."""
    rows = draw(st.integers(2, 40))
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5, unique=True))
    drawn = {name: KINDS[name](draw, rows) for name in names}
    if "encoded" in drawn:
        drawn["encoded"].cells = drawn["encoded"].cells.dictionary_encode()
    types = {
        name: draw(st.sampled_from(["categorical", "numeric", "quantile", "time"]))
        for name in names
        if name in ("date", "second", "stamp", "zoned") and draw(st.booleans())
    }
    if "small" in names and draw(st.booleans()):
        types["small"] = "categorical"
    if "bool" in names and draw(st.booleans()):
        types["bool"] = "categorical"
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([f" {name} " for name in names] + ["end"])
    writer.writerows(zip(*(column.texts for column in drawn.values()), ["x", "y"] * rows, strict=False))
    cells = {name: column.cells for name, column in drawn.items()}
    return pa.table(cells | {"end": pa.array((["x", "y"] * rows)[:rows])}), file.getvalue(), types


def frames(table: pa.Table, text: str) -> Iterator[tuple[str, Any]]:
    """Yield the same rows in all forms in which a finished model is given them."""
    flat = pa.table(
        {
            name: cells.cast(pa.string()) if pa.types.is_string_view(cells.type) else cells
            for name, cells in zip(table.column_names, table.columns, strict=True)
        }
    )
    yield "Arrow", table
    yield "a batch", table.combine_chunks().to_batches()[0]
    yield "a stream", Streamed(table)
    yield "pandas", flat.to_pandas()
    yield "pandas on Arrow", flat.to_pandas(types_mapper=pd.ArrowDtype)
    yield "objects", flat.to_pandas().astype(object)
    yield "texts", pd.read_csv(io.StringIO(text), dtype=object, keep_default_na=False)
    yield "categories", pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False).astype("category")


def features(preprocessing: TablePreprocessing, rows: Rows) -> np.ndarray:
    return np.concatenate([preprocessing(chunk) for _, chunk in rows.chunks()])


@settings(max_examples=TABLES)
@given(
    tables(), st.sampled_from(["csv", "parquet"]), st.integers(1, 3), st.sampled_from(["standard", "minmax"])
)
def test_the_same_rows_are_the_same_features(
    drawn: tuple[pa.Table, str, dict[str, str]], trained: str, rare: int, scaling: str
) -> None:
    table, text, types = drawn
    with TemporaryDirectory() as folder:
        paths = {ending: Path(folder) / f"t.{ending}" for ending in ("csv", "parquet")}
        paths["csv"].write_text(text, newline="")
        pq.write_table(table, paths["parquet"])
        config = DataConfig.model_validate({"types": types, "rare": rare, "scaling": scaling})
        try:
            main = read_table([paths[trained]], config)
            rows: Any = main.rows.take(np.arange(len(main.rows)))
            fitted = fit_table(rows, main.columns, config)
        except DataError as fault:
            # Nearly all cells of a column are of one kind, or nothing is left of the table.
            if "most of the column" in str(fault) or "no column is left" in str(fault):
                reject()
            raise
        expected = features(fitted, main.rows)
        assert np.isfinite(expected).all()
        assert not fitted.unseen(rows).any()
        assert not fitted.outside(rows).any()
        for path in paths.values():
            again = read_table([path], config, like=main.columns, need_target=False).rows
            np.testing.assert_array_equal(features(fitted, again), expected, err_msg=path.name)
        for form, frame in frames(table, text):
            given_rows = fitted.read(frame)
            np.testing.assert_array_equal(fitted(given_rows), expected, err_msg=form)
            assert not fitted.unseen(given_rows).any(), form
