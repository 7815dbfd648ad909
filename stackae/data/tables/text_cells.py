"""Strings read as numbers: as such, as people write them, as truth values, durations and times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Commas = Literal["decimal", "thousands"]
"""What commas in numbers are."""

_PLAIN = r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_NUMBER = rf"^[+-]?{_PLAIN}$"
_NEARLY = r"^[+-]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|inf|infinity|nan)$"

# As people write numbers: U+2212 is the minus sign, U+00A0, U+2009 and U+202F are blanks that do not break.
_SIGN = r"[+\-\x{2212}]"
_BLANK = r"[ \x{a0}\x{2009}\x{202f}]"
_GROUPS = rf"[1-9]\d{{0,2}}(?:{_BLANK}\d{{3}})+(?:\.\d*)?|[1-9]\d{{0,2}}(?:['\x{{2019}}]\d{{3}})+(?:\.\d*)?"
_COMMAS = r"[1-9]\d{0,2}(?:,\d{3}){2,}(?:\.\d*)?|[1-9]\d{0,2},\d{3}\.\d*"
_ONE_COMMA = r"[1-9]\d{0,2},\d{3}"
_BEFORE = rf"^(?:{_SIGN}?(?:\p{{Sc}}{_BLANK}?)?|\p{{Sc}}{_BLANK}?{_SIGN})"
_WRITTEN = rf"{_BEFORE}(?:{_PLAIN}|{_GROUPS}|{_COMMAS})(?:{_BLANK}?[%\p{{Sc}}])?$"
_MONEY = (
    rf"^(?:{_SIGN}?\p{{Sc}}{_BLANK}?|\p{{Sc}}{_BLANK}?{_SIGN}){_ONE_COMMA}$"
    rf"|^{_SIGN}?{_ONE_COMMA}{_BLANK}?\p{{Sc}}$"
)
_THOUSANDS = rf"{_BEFORE}{_ONE_COMMA}(?:{_BLANK}?[%\p{{Sc}}])?$"
_WITH_COMMA = (
    rf"^{_SIGN}?(?:\p{{Sc}}{_BLANK}?)?{_SIGN}?(?:\d+|\d{{1,3}}(?:(?:\.|{_BLANK}|['\x{{2019}}])\d{{3}})+)?"
    rf"(?:,\d+)?(?:[eE][+-]?\d+)?(?:{_BLANK}?[%\p{{Sc}}])?$"
)

_TRUTH = r"^(true|false)$"
_DAYS = (
    r"^(?P<days>[+-]?\d+) days?(?:,? \+?(?P<hours>\d{1,2}):(?P<minutes>\d{2}):(?P<seconds>\d{2})"
    r"(?:\.(?P<fraction>\d{1,9}))?)?$"
)
_CLOCK = (
    r"^(?P<hours>[01]?\d|2[0-3]):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)(?:\.(?P<fraction>\d{1,9}))?$"
    r"|^(?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)$"
)
_TIME = r"^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_ZONE = r"(?:Z|[+-]\d{2}(?::?\d{2})?)"
ISO_TIME = rf"{_TIME}{_ZONE}?)?$"
"""A date, or a date and a time, with or without its distance from Greenwich."""
_ZONED = rf"{_ZONE}$"
_NANOSECONDS = r"\.\d{7,9}"


class Kind(IntEnum):
    """What a cell is, apart from what it is worth."""

    NONE = 0
    """Neither of the others: a string."""
    NUMBER = 1
    TRUTH = 2
    DURATION = 3
    TIME = 4


@dataclass(frozen=True, eq=False)
class Values:
    """What cells are worth: null where one is missing, NaN where it is a string or no finite number."""

    values: pa.DoubleArray
    kinds: npt.NDArray[np.int8]
    """The Kind of each cell; that of a missing one says nothing."""


def read_strings(strings: pa.StringArray, commas: Commas | None) -> Values:
    """Read strings without whitespace around them: numbers, true and false as 1 and 0, times in seconds."""
    if commas == "decimal":
        strings = with_points(strings)
    try:
        values = finite(strings.cast(pa.float64()))
    except pa.ArrowInvalid:
        # A column of strings mostly has few distinct ones.
        encoded = strings.dictionary_encode()
        worth, kinds = _read_distinct(encoded.dictionary, commas)
        place = encoded.indices.fill_null(len(worth)).to_numpy(zero_copy_only=False)
        found = pa.array(np.append(worth, math.nan)[place])
        found = pc.if_else(strings.is_valid(), found, pa.scalar(None, pa.float64()))
        return Values(found, np.append(kinds, np.int8(Kind.NONE))[place])
    return Values(values, _number_or_none(values))


def with_points(strings: pa.StringArray) -> pa.StringArray:
    """Replace decimal commas in strings that are numbers by points, and take out points between thousands."""
    with_point = pc.replace_substring(pc.replace_substring(strings, ".", ""), ",", ".")
    return pc.if_else(pc.match_substring_regex(strings, _WITH_COMMA), with_point, strings)


def count_nearly_numbers(strings: pa.StringArray) -> int:
    """Count the strings that would be finite numbers but for a comma or their size."""
    distinct = strings.value_counts()
    near = pc.or_(
        pc.match_substring_regex(distinct.field("values"), _NUMBER),
        pc.match_substring_regex(distinct.field("values"), _NEARLY, ignore_case=True),
    )
    return int(pc.sum(distinct.field("counts").filter(near)).as_py() or 0)


def finite(values: pa.DoubleArray) -> pa.DoubleArray:
    """Return the numbers with NaN in the place of those that are infinite."""
    return pc.if_else(pc.is_finite(values), values, math.nan)


def read_times(strings: pa.StringArray) -> pa.DoubleArray:
    """Return strings that are as ISO_TIME as seconds since 1970, null where there is no such day or hour.

    Those without a zone are taken for times in Greenwich.
    """
    seconds = np.full(len(strings), math.nan)
    zoned = np.asarray(pc.match_substring_regex(strings, _ZONED).fill_null(False))
    zoned &= np.asarray(pc.greater(pc.utf8_length(strings), 10).fill_null(False))
    fine = np.asarray(pc.match_substring_regex(strings, _NANOSECONDS).fill_null(False))
    for is_zoned, zone in ((False, None), (True, "UTC")):
        for is_fine, unit in ((False, "us"), (True, "ns")):
            chosen = (zoned == is_zoned) & (fine == is_fine)
            if chosen.any():
                some = _cast_times(strings.filter(pa.array(chosen)), pa.timestamp(unit, zone))
                seconds[chosen] = some.fill_null(math.nan).to_numpy(zero_copy_only=False)
    return pa.array(seconds, from_pandas=True)


def as_seconds(cells: pa.Array) -> pa.DoubleArray:
    """Return times, times of day and durations in seconds, the same from whatever unit they are in."""
    if pa.types.is_date(cells.type):
        cells = cells.cast(pa.timestamp("s" if pa.types.is_date32(cells.type) else "ms"))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[cells.type.unit]
    integers = cells.cast(pa.int32() if cells.type.bit_width == 32 else pa.int64())
    ticks = integers.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    whole, rest = np.divmod(ticks, per_second)
    seconds = pa.array(whole + rest / per_second)
    return pc.if_else(cells.is_valid(), seconds, pa.scalar(None, pa.float64()))


def _read_distinct(
    strings: pa.StringArray, commas: Commas | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    worth = np.full(len(strings), math.nan)
    kinds = np.full(len(strings), Kind.NONE, np.int8)
    written = [_WRITTEN, _MONEY, *([_THOUSANDS] if commas == "thousands" else [])]
    readers: list[tuple[str, Kind, Callable[[pa.StringArray], pa.DoubleArray]]] = [
        (_NUMBER, Kind.NUMBER, lambda some: some.cast(pa.float64())),
        (_TRUTH, Kind.TRUTH, lambda some: pc.equal(pc.utf8_lower(some), "true").cast(pa.float64())),
        (ISO_TIME, Kind.TIME, read_times),
        ("|".join(written), Kind.NUMBER, _written),
        (_DAYS, Kind.DURATION, lambda some: _clock(some, _DAYS)),
        (_CLOCK, Kind.DURATION, lambda some: _clock(some, _CLOCK)),
    ]
    left = np.arange(len(strings))
    for pattern, kind, read in readers:
        if not len(left):
            break
        some = strings.take(pa.array(left))
        fits = np.asarray(pc.match_substring_regex(some, pattern, ignore_case=kind == Kind.TRUTH))
        if fits.any():
            values = read(some.filter(pa.array(fits))).fill_null(math.nan)
            worth[left[fits]] = finite(values).to_numpy(zero_copy_only=False)
            kinds[left[fits]] = np.where(np.isnan(worth[left[fits]]), Kind.NONE, kind)
            left = left[~fits]
    return worth, kinds


def _written(strings: pa.StringArray) -> pa.DoubleArray:
    """Return numbers with blanks, apostrophes or commas between thousands, currency and percent signs."""
    percent = pc.ends_with(strings, "%")
    bare = pc.replace_substring(strings, "\u2212", "-")
    bare = pc.replace_substring_regex(bare, rf"{_BLANK}|['\x{{2019}},%]|\p{{Sc}}", "")
    values = bare.cast(pa.float64())
    return pc.if_else(percent, pc.divide(values, 100.0), values)


def _clock(strings: pa.StringArray, pattern: str) -> pa.DoubleArray:
    """Return days and times of day in seconds."""
    parts = pc.extract_regex(strings, pattern)
    whole = np.zeros(len(strings), np.int64)
    for name, seconds in (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)):
        for alike in (name, name[:-1]):
            if parts.type.get_field_index(alike) >= 0:
                digits = pc.if_else(pc.equal(parts.field(alike), ""), "0", parts.field(alike))
                digits = pc.replace_substring_regex(digits, r"^\+", "")
                whole += seconds * digits.cast(pa.int64()).to_numpy(zero_copy_only=False)
    fraction = pc.binary_join_element_wise("0.", parts.field("fraction"), "0", "").cast(pa.float64())
    return pa.array(whole + fraction.to_numpy(zero_copy_only=False))


def _cast_times(strings: pa.StringArray, type_: pa.DataType) -> pa.DoubleArray:
    try:
        return as_seconds(strings.cast(type_))
    except pa.ArrowInvalid:
        if len(strings) == 1:
            return pa.nulls(1, pa.float64())
        # Some are of no calendar.
        middle = len(strings) // 2
        return pa.concat_arrays([_cast_times(strings[:middle], type_), _cast_times(strings[middle:], type_)])


def _number_or_none(values: pa.DoubleArray) -> npt.NDArray[np.int8]:
    kinds = np.full(len(values), Kind.NUMBER, np.int8)
    odd = pc.is_nan(values).fill_null(False)
    if pc.any(odd).as_py():
        kinds[odd.to_numpy(zero_copy_only=False)] = Kind.NONE
    return kinds
