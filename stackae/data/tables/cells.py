"""The cells of a table's column, in Arrow arrays: what is missing, and the others as strings or numbers.

Files, frames and rows that come later are all read by these functions, so that a cell means the same in each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stackae.config import DataConfig
from stackae.data.tables.text_cells import (
    ISO_TIME,
    Commas,
    Kind,
    Values,
    as_seconds,
    finite,
    read_strings,
    with_points,
)

DEFAULT_SIGNS: tuple[str, ...] = DataConfig.model_fields["missing"].default
"""The strings that stand for a missing value where a config names no others."""
_WHOLE = r"^([+-]?\d+)\.0*$"
_TRUTH = r"^(true|false)$"


@dataclass(frozen=True)
class Reading:
    """How cells are read: the strings that stand for a missing value, and what commas in numbers are.

    Where that is not said, a number is not read of which the comma may be the decimal one or not.
    """

    missing: tuple[str, ...] = DEFAULT_SIGNS
    commas: Commas | None = None

    @classmethod
    def of(cls, config: DataConfig) -> Reading:
        """Return how cells are read as a config says."""
        marks: Commas | None = "thousands" if config.thousands else None
        return cls(config.missing, "decimal" if config.decimal == "," else marks)

    @cached_property
    def signs(self) -> pa.StringArray:
        """The strings that stand for a missing value, in the form that `as_strings` gives them too."""
        given = pa.array(self.missing, pa.string())
        return pa.array(sorted({"", '""', *self.missing, *_uniform(given, self.commas).to_pylist()}))

    @cached_property
    def worth(self) -> Values:
        """What the signs are worth where they are numbers or times, as -999 or 1900-01-01."""
        return read_strings(self.signs, self.commas)

    def signs_of(self, kind: Kind) -> pa.DoubleArray:
        """Return the values of signs of a kind, infinite ones among the numbers."""
        found = self.worth.values.filter(pa.array(self.worth.kinds == kind))
        if kind != Kind.NUMBER:
            return found
        infinite = [float(sign) for sign in self.missing if sign.lstrip("+-").lower() in ("inf", "infinity")]
        return pa.concat_arrays([found, pa.array(infinite, pa.float64())])


def is_cell(type_: pa.DataType) -> bool:
    """Tell whether the cells of an Arrow column of this type are strings, numbers or times."""
    type_ = type_.value_type if _is_encoded(type_) else type_
    return bool(is_string(type_) or pa.types.is_null(type_) or _is_number(type_) or _is_temporal(type_))


def is_string(type_: pa.DataType) -> bool:
    """Tell whether the cells of an Arrow column of this type are strings."""
    return bool(
        pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)
    )


def as_strings(cells: pa.Array, reading: Reading) -> pa.StringArray:
    """Return cells as strings without whitespace around them; null where one is missing.

    One value has one form: whole numbers have no point, truth values are `true` and `false`, times are as
    `2024-03-02` or `2024-03-02 10:00:00.5`, and those of a zone are in Greenwich, as `2024-03-02 10:00:00Z`.
    """
    cells = plain(cells)
    if is_string(cells.type):
        return _of_distinct(
            cells, lambda some: _uniform(pc.utf8_trim_whitespace(some), reading.commas), reading.signs
        )
    if pa.types.is_floating(cells.type):
        return _of_distinct(_without_nan(cells.cast(pa.float64())), _written, reading.signs)
    if pa.types.is_duration(cells.type):
        return _of_distinct(as_seconds(cells), _written, reading.signs)
    if pa.types.is_timestamp(cells.type) and cells.type.tz is not None:
        cells = cells.cast(pa.timestamp(cells.type.unit, "UTC"))
    written = _of_distinct(cells, lambda some: _uniform(some.cast(pa.string()), None), reading.signs)
    return pc.replace_substring_regex(written, r"\.0+$", "") if pa.types.is_time(cells.type) else written


def as_numbers(cells: pa.Array, reading: Reading) -> pa.DoubleArray:
    """Return what cells are worth, as `worth`, without what they are."""
    return worth(cells, reading).values


def worth(cells: pa.Array, reading: Reading) -> Values:
    """Return what cells are worth: true and false 1 and 0, times in seconds since 1970, durations in seconds.

    Null where one is missing, NaN where it is a string or no finite number.
    """
    cells = plain(cells)
    if is_string(cells.type):
        strings = _without(pc.utf8_trim_whitespace(cells), reading.signs)
        found, values = read_strings(strings, reading.commas), None
        for kind in (Kind.NUMBER, Kind.TIME, Kind.DURATION):
            signs = reading.signs_of(kind)
            if len(signs):
                # The sign may be written otherwise, as -999.0.
                is_sign = pc.and_(pc.is_in(found.values, value_set=signs), pa.array(found.kinds == kind))
                values = pc.if_else(
                    is_sign, pa.scalar(None, pa.float64()), found.values if values is None else values
                )
        return found if values is None else Values(values, found.kinds)
    if _is_temporal(cells.type):
        is_time = pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type)
        kind = Kind.TIME if is_time else Kind.DURATION
        return _all(_without(as_seconds(cells), reading.signs_of(kind)), kind)
    if pa.types.is_boolean(cells.type):
        strings = _without(cells.cast(pa.string()), reading.signs)
        return _all(pc.equal(strings, "true").cast(pa.float64()), Kind.TRUTH)
    if pa.types.is_decimal(cells.type):
        # By their digits, as the cast of a decimal is not the nearest number.
        cells = cells.cast(pa.string())
    values = _without(_without_nan(cells.cast(pa.float64(), safe=False)), reading.signs_of(Kind.NUMBER))
    values = finite(values)
    return Values(values, np.where(_array(pc.is_nan(values)) == 1, Kind.NONE, Kind.NUMBER).astype(np.int8))


def as_labels(cells: pa.Array, reading: Reading) -> np.ndarray:
    """Return cells as strings in an array of objects, None where one is missing."""
    return as_objects(as_strings(cells, reading))


def as_objects(strings: pa.StringArray) -> np.ndarray:
    """Return strings as an array of objects, None where one is null; equal strings are the same object."""
    encoded = strings.dictionary_encode()
    distinct = np.array([*encoded.dictionary.to_pylist(), None], object)
    array: np.ndarray = distinct[encoded.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)]
    return array


def as_times(cells: pa.Array, reading: Reading) -> tuple[np.ndarray, bool]:
    """Return cells as seconds, or as the numbers that they are, in float64; NaN where they are neither.

    The second value tells whether they are times: those that are not are NaN then.
    """
    found = worth(cells, reading)
    values = _array(found.values)
    are_times = bool(((found.kinds == Kind.TIME) & ~np.isnan(values)).any())
    if are_times:
        values = np.where(found.kinds == Kind.TIME, values, math.nan)
    return values, are_times


def plain(cells: pa.Array) -> pa.Array:
    """Return cells without the encodings of Arrow: dictionaries, runs, large strings and views of strings."""
    if pa.types.is_run_end_encoded(cells.type):
        cells = pc.run_end_decode(cells)
    if pa.types.is_dictionary(cells.type):
        cells = pa.DictionaryArray.from_arrays(cells.indices, plain(cells.dictionary)).dictionary_decode()
    return cells.cast(pa.string()) if is_string(cells.type) else cells


def plain_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose columns are `plain`; not all that Arrow does with columns it does with others."""
    if not batch.num_columns:  # made anew it would have no rows
        return batch
    return pa.RecordBatch.from_arrays([plain(cells) for cells in batch.columns], batch.schema.names)


def _uniform(strings: pa.StringArray, commas: Commas | None) -> pa.StringArray:
    """Return strings in the one form of what they stand for."""
    if commas == "decimal":
        strings = with_points(strings)
    truth = pc.match_substring_regex(strings, _TRUTH, ignore_case=True)
    strings = pc.if_else(truth, pc.utf8_lower(strings), strings)
    strings = pc.replace_substring_regex(strings, _WHOLE, r"\1")
    times = pc.match_substring_regex(strings, ISO_TIME)
    return _uniform_times(strings, times) if pc.any(times).as_py() else strings


def _uniform_times(strings: pa.StringArray, times: pa.BooleanArray) -> pa.StringArray:
    """Return strings, of which `times` are as ISO_TIME, with these in one form."""
    zoned = pc.and_(times, pc.match_substring_regex(strings, r":.*(Z|[+-][\d:]+)$"))
    if pc.any(zoned).as_py():
        in_zone = strings.to_pylist()
        for place in np.flatnonzero(np.asarray(zoned.fill_null(False))):
            for unit in ("us", "ns"):
                try:
                    moved = strings[place : place + 1].cast(pa.timestamp(unit, "UTC"))
                except pa.ArrowInvalid:
                    continue
                in_zone[place] = moved.cast(pa.string())[0].as_py()
                break
        strings = pa.array(in_zone, pa.string())
    spaced = pc.replace_substring_regex(strings, r"^(\d{4}-\d{2}-\d{2})T", r"\1 ")
    spaced = pc.replace_substring_regex(spaced, r"( \d{2}:\d{2})(Z?)$", r"\1:00\2")
    spaced = pc.replace_substring_regex(spaced, r"(\.\d*?)0+(Z?)$", r"\1\2")
    spaced = pc.replace_substring_regex(spaced, r"\.(Z?)$", r"\1")
    return pc.if_else(times, pc.replace_substring_regex(spaced, r" 00:00:00$", ""), strings)


def _written(values: pa.DoubleArray) -> pa.StringArray:
    """Return numbers as Python writes them, whole ones without a point."""
    return pa.array(
        [
            str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
            for value in values.to_pylist()
        ],
        pa.string(),
    )


def _of_distinct(
    cells: pa.Array, as_written: Callable[[pa.Array], pa.StringArray], signs: pa.StringArray
) -> pa.StringArray:
    """Return the strings of cells, made once of each distinct one; null where one is a sign."""
    encoded = cells.dictionary_encode()
    return _without(as_written(encoded.dictionary), signs).take(encoded.indices)


def _all(values: pa.DoubleArray, kind: Kind) -> Values:
    return Values(values, np.full(len(values), kind, np.int8))


def _is_encoded(type_: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_))


def _is_number(type_: pa.DataType) -> bool:
    kinds: tuple[Any, ...] = (
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_decimal,
    )
    return any(kind(type_) for kind in kinds)


def _is_temporal(type_: pa.DataType) -> bool:
    return bool(pa.types.is_temporal(type_)) and not pa.types.is_interval(type_)


def _without_nan(cells: pa.Array) -> pa.Array:
    if not pa.types.is_floating(cells.type):
        return cells
    return pc.if_else(pc.is_nan(cells), pa.scalar(None, cells.type), cells)


def _without(cells: pa.Array, missing: pa.Array) -> pa.Array:
    if not len(missing):
        return cells
    return pc.if_else(pc.is_in(cells, value_set=missing), pa.scalar(None, cells.type), cells)


def _array(values: pa.Array) -> np.ndarray:
    array: np.ndarray = values.cast(pa.float64()).fill_null(math.nan).to_numpy(zero_copy_only=False)
    return array
