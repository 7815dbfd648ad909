"""The cells of a table's column, in Arrow arrays, as strings, as numbers or as times."""

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
    """Tell whether the cells of an Arrow column of this type are strings, numbers or times."""
    type_ = type_.value_type if pa.types.is_dictionary(type_) else type_
    return bool(is_string(type_) or pa.types.is_null(type_) or _is_number(type_) or _is_time(type_))


def is_string(type_: pa.DataType) -> bool:
    """Tell whether the cells of an Arrow column of this type are strings."""
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    )


def as_strings(cells: pa.Array, missing: pa.Array) -> pa.StringArray:
    """Return cells as strings without whitespace around them; null where one is null, NaN or in `missing`.

    Whole numbers have no point.
    """
    cells = _plain(cells)
    if is_string(cells.type):
        strings = pc.utf8_trim_whitespace(cells.cast(pa.string()))
    elif pa.types.is_floating(cells.type):
        cells = _without_nan(cells)
        cells = cells.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(cells), cells), pc.less(pc.abs(cells), 2.0**53))
        as_integers = pc.if_else(whole, cells, 0).cast(pa.int64()).cast(pa.string())
        strings = pc.if_else(whole, as_integers, cells.cast(pa.string()))
    else:
        strings = cells.cast(pa.string())
    return _without(strings, missing)


def as_numbers(cells: pa.Array, missing: pa.Array) -> pa.DoubleArray:
    """Return cells as numbers, times in seconds; null where one is missing, NaN where it is not finite."""
    cells = _plain(cells)
    if is_string(cells.type):
        return strings_as_numbers(as_strings(cells, missing))
    if _is_time(cells.type):
        values = _seconds(cells)
    else:
        values = _without(_without_nan(cells.cast(pa.float64(), safe=False)), _values(missing))
    return _or_nan(values)


def strings_as_numbers(strings: pa.StringArray) -> pa.DoubleArray:
    """Return strings as numbers; null where a string is null, NaN where it is not a finite number."""
    try:
        values = strings.cast(pa.float64())
    except pa.ArrowInvalid:
        # A column of strings mostly has few distinct ones.
        encoded = strings.dictionary_encode()
        is_number = pc.match_substring_regex(encoded.dictionary, _NUMBER)
        values = pc.if_else(is_number, encoded.dictionary, "nan").cast(pa.float64()).take(encoded.indices)
    return _or_nan(values)


def _values(missing: pa.Array) -> pa.DoubleArray:
    """Return the numbers, infinite ones among them, that stand for a missing value."""
    values = [sign.as_py() for sign in missing if re.fullmatch(_VALUE, sign.as_py(), re.IGNORECASE)]
    return pa.array([float(value) for value in values], pa.float64())


def count_nearly_numbers(strings: pa.StringArray) -> int:
    """Count the strings that would be finite numbers but for a comma or their size."""
    distinct = strings.value_counts()
    near = pc.or_(
        pc.match_substring_regex(distinct.field("values"), _NUMBER),
        pc.match_substring_regex(distinct.field("values"), _NEARLY, ignore_case=True),
    )
    return int(pc.sum(distinct.field("counts").filter(near)).as_py() or 0)


def as_labels(cells: pa.Array, missing: pa.Array) -> np.ndarray:
    """Return cells as strings in an array of objects, None where one is missing; `1.0` is the same as `1`."""
    return as_objects(pc.replace_substring_regex(as_strings(cells, missing), _WHOLE, r"\1"))


def as_objects(strings: pa.StringArray) -> np.ndarray:
    """Return strings as an array of objects, None where one is null; equal strings are the same object."""
    encoded = strings.dictionary_encode()
    distinct = np.array([*encoded.dictionary.to_pylist(), None], object)
    array: np.ndarray = distinct[encoded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)]
    return array


def as_times(cells: pa.Array, missing: pa.Array) -> tuple[np.ndarray, bool]:
    """Return cells as seconds, or as the numbers that they are, in float64; NaN where they are neither.

    The second value tells whether they are times. Times in strings are as `2024-03-02`,
    `2024-03-02 10:00:00` or `2024-03-02T10:00:00+01:00`.
    """
    cells = _plain(cells)
    values = as_numbers(cells, missing)
    if not is_string(cells.type) or not pc.any(pc.is_nan(values)).as_py():
        return _array(values), _is_time(cells.type)
    encoded = as_strings(cells, missing).dictionary_encode()
    seconds = _read_times(encoded.dictionary)
    if seconds.null_count and seconds.null_count == len(seconds):
        return _array(values), False
    return _array(seconds.take(encoded.indices)), True


def _read_times(strings: pa.StringArray) -> pa.DoubleArray:
    """Return strings as seconds, null where one is not a time."""
    for zone in (None, "UTC"):
        try:
            return _seconds(strings.cast(pa.timestamp("us", zone)))
        except pa.ArrowInvalid:
            continue
    if len(strings) == 1:
        return pa.nulls(1, pa.float64())
    # Some are not times, or some have a zone and others none.
    middle = len(strings) // 2
    return pa.concat_arrays([_read_times(strings[:middle]), _read_times(strings[middle:])])


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


def _or_nan(values: pa.DoubleArray) -> pa.DoubleArray:
    return pc.if_else(pc.is_finite(values), values, math.nan)


def _array(values: pa.DoubleArray) -> np.ndarray:
    array: np.ndarray = values.fill_null(math.nan).to_numpy(zero_copy_only=False)
    return array
