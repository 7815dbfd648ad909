"""The cells of a table's column, in Arrow arrays, as texts, as numbers or as times."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NEARLY = r"^[+-]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|inf|infinity|nan)$"
_VALUE = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?"
_WHOLE = r"^([+-]?\d+)\.0*$"


def is_cell(type_: pa.DataType) -> bool:
    """Whether the cells of an Arrow column of this type are texts, numbers or times."""
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(is_text(type_) or pa.types.is_null(type_) or _is_number(type_) or _is_time(type_))


def is_text(type_: pa.DataType) -> bool:
    """Whether the cells of an Arrow column of this type are texts."""
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    )


def texts(cells: pa.Array, missing: pa.Array) -> pa.StringArray:
    """Cells as texts without the blanks around them; null where one is null, NaN or in `missing`.

    Whole numbers have no point.
    """
    cells = _plain(cells)
    if is_text(cells.type):
        made = pc.utf8_trim_whitespace(cells.cast(pa.string()))
    elif pa.types.is_floating(cells.type):
        cells = _without_nan(cells)
        cells = cells.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(cells), cells), pc.less(pc.abs(cells), 2.0**53))
        as_integers = pc.if_else(whole, cells, 0).cast(pa.int64()).cast(pa.string())
        made = pc.if_else(whole, as_integers, cells.cast(pa.string()))
    else:
        made = cells.cast(pa.string())
    return _without(made, missing)


def numbers(cells: pa.Array, missing: pa.Array) -> pa.DoubleArray:
    """Cells as numbers, times in seconds: null where a cell is missing, NaN where it is no finite number."""
    cells = _plain(cells)
    if is_text(cells.type):
        return parse(texts(cells, missing))
    if _is_time(cells.type):
        made = _seconds(cells)
    else:
        made = _without(_without_nan(cells.cast(pa.float64(), safe=False)), _values(missing))
    return _or_nan(made)


def parse(given: pa.StringArray) -> pa.DoubleArray:
    """What `texts` returned as numbers: null where a text is, NaN where it is no finite number."""
    try:
        made = given.cast(pa.float64())
    except pa.ArrowInvalid:
        # A column of texts mostly has few distinct ones.
        coded = given.dictionary_encode()
        is_number = pc.match_substring_regex(coded.dictionary, _NUMBER)
        made = pc.if_else(is_number, coded.dictionary, "nan").cast(pa.float64()).take(coded.indices)
    return _or_nan(made)


def _values(missing: pa.Array) -> pa.DoubleArray:
    """The numbers, infinite ones among them, that stand for a missing value."""
    values = [text.as_py() for text in missing if re.fullmatch(_VALUE, text.as_py(), re.IGNORECASE)]
    return pa.array([float(value) for value in values], pa.float64())


def nearly_numbers(given: pa.StringArray) -> int:
    """How many texts would be finite numbers but for a comma or their size."""
    distinct = given.value_counts()
    near = pc.or_(
        pc.match_substring_regex(distinct.field("values"), _NUMBER),
        pc.match_substring_regex(distinct.field("values"), _NEARLY, ignore_case=True),
    )
    return int(pc.sum(distinct.field("counts").filter(near)).as_py() or 0)


def labels(cells: pa.Array, missing: pa.Array) -> np.ndarray:
    """Cells as texts in an array of objects, None where one is missing; `1.0` is the same as `1`."""
    return objects(pc.replace_substring_regex(texts(cells, missing), _WHOLE, r"\1"))


def objects(given: pa.StringArray) -> np.ndarray:
    """Texts as an array of objects, None where one is null; equal texts are the same object."""
    coded = given.dictionary_encode()
    known = np.array([*coded.dictionary.to_pylist(), None], object)
    taken: np.ndarray = known[coded.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]
    return taken


def times(cells: pa.Array, missing: pa.Array) -> tuple[np.ndarray, bool]:
    """Cells as seconds, or as the numbers that they are, in float64; NaN where they are neither or missing.

    Whether they are times comes second. Times in texts are as `2024-03-02`, `2024-03-02 10:00:00` or
    `2024-03-02T10:00:00+01:00`.
    """
    cells = _plain(cells)
    made = numbers(cells, missing)
    if not is_text(cells.type) or not pc.any(pc.is_nan(made)).as_py():
        return _array(made), _is_time(cells.type)
    coded = texts(cells, missing).dictionary_encode()
    read = _read_times(coded.dictionary)
    if read.null_count and read.null_count == len(read):
        return _array(made), False
    return _array(read.take(coded.indices)), True


def _read_times(given: pa.StringArray) -> pa.DoubleArray:
    """Texts as seconds, null where one is no time."""
    for zone in (None, "UTC"):
        try:
            return _seconds(given.cast(pa.timestamp("us", zone)))
        except pa.ArrowInvalid:
            continue
    if len(given) == 1:
        return pa.nulls(1, pa.float64())
    # Some are none, or some have a zone and others none.
    middle = len(given) // 2
    return pa.concat_arrays([_read_times(given[:middle]), _read_times(given[middle:])])


def _plain(cells: pa.Array) -> pa.Array:
    return cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells


def _is_number(type_: pa.DataType) -> bool:
    kinds: tuple[Any, ...] = (
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
    )
    return any(kind(type_) for kind in kinds)


def _is_time(type_: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(type_)) and not pa.types.is_interval(type_)


def _seconds(cells: pa.Array) -> pa.DoubleArray:
    if pa.types.is_date(cells.type):
        cells = cells.cast(pa.timestamp("ms"))
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[cells.type.unit]
    whole = cells.cast(pa.int32() if cells.type.bit_width == 32 else pa.int64())
    return pc.divide(whole.cast(pa.float64(), safe=False), per_second)


def _without_nan(cells: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)


def _without(cells: pa.Array, missing: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(cells, value_set=missing), pa.scalar(None, cells.type), cells)


def _or_nan(made: pa.DoubleArray) -> pa.DoubleArray:
    return pc.if_else(pc.is_finite(made), made, math.nan)


def _array(made: pa.DoubleArray) -> np.ndarray:
    array: np.ndarray = made.fill_null(math.nan).to_numpy(zero_copy_only=False)
    return array
