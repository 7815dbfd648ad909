"""Cells: what they are worth as numbers, and the one form that each value has as a category."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stackae.data.tables.cells import Reading, as_numbers, as_strings
from stackae.data.tables.text_cells import Commas

NONE = math.nan


def worth(cells: Any, missing: tuple[str, ...] = (), commas: Commas | None = None) -> list[float | None]:
    array = cells if isinstance(cells, pa.Array) else pa.array(cells)
    return list(as_numbers(array, Reading(missing, commas)).to_pylist())


def at(*when: int) -> float:
    return dt.datetime(*when, tzinfo=dt.UTC).timestamp()  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12),
        ("-.5e1", -5),
        ("1 234", 1234),
        ("12 345 678.5", 12345678.5),
        ("1\u00a0234", 1234),
        ("1\u202f234,5", NONE),
        ("1'234.5", 1234.5),
        ("1’234", 1234),
        ("1,234.5", 1234.5),
        ("1,234,567", 1234567),
        ("$1,234", 1234),
        ("-$1,234.50", -1234.5),
        ("€ 5", 5),
        ("5 €", 5),
        ("12%", 0.12),
        ("12.5 %", 0.125),
        ("\u22123", -3),
        ("\u00a07 ", 7),
        ("1,234", NONE),
        ("1,5", NONE),
        ("12 34", NONE),
        ("001 234", NONE),
        ("0x1F", NONE),
        ("1e999", NONE),
        ("inf", NONE),
        ("--3", NONE),
        ("<0.5", NONE),
        ("#DIV/0!", NONE),
    ],
)
def test_numbers_as_people_write_them(cell: str, value: float) -> None:
    np.testing.assert_array_equal(worth([cell, "x"])[0], value)


def test_what_a_comma_is_can_be_said() -> None:
    cells = ["1,234", "1.234", "1,5", "1.234,5", "1 234,5", "5,5 €"]
    np.testing.assert_array_equal(worth(cells), [NONE, 1.234, NONE, NONE, NONE, NONE])
    np.testing.assert_array_equal(worth(cells, commas="decimal"), [1.234, 1234, 1.5, 1234.5, 1234.5, 5.5])
    np.testing.assert_array_equal(worth(cells, commas="thousands"), [1234, 1.234, NONE, NONE, NONE, NONE])


def test_true_and_false_are_one_and_zero_however_they_are_spelt() -> None:
    assert worth(["true", "False", "TRUE", None]) == [1, 0, 1, None]
    assert worth([True, False, None]) == [1, 0, None]
    for cells in (["true", "False", "TRUE"], [True, False, True]):
        assert as_strings(pa.array(cells), Reading()).to_pylist() == ["true", "false", "true"]


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("2024-03-02", at(2024, 3, 2)),
        ("2024-03-02 10:30", at(2024, 3, 2, 10, 30)),
        ("2024-03-02T10:30:01.5", at(2024, 3, 2, 10, 30, 1) + 0.5),
        ("2024-03-02 10:30:00.000000250", at(2024, 3, 2, 10, 30) + 2.5e-7),
        ("2024-03-02T10:30:00Z", at(2024, 3, 2, 10, 30)),
        ("2024-03-02 10:30:00+01:00", at(2024, 3, 2, 9, 30)),
        ("2024-03-02 10:30:00-0130", at(2024, 3, 2, 12)),
        ("0001-01-01", at(1, 1, 1)),
        ("2024-02-30", NONE),
        ("2024-3-2", NONE),
        ("02.03.2024", NONE),
        ("10:30:01.25", 37801.25),
        ("10:30", 37800),
        ("25:00", NONE),
        ("1 days 02:03:04.500000", 93784.5),
        ("-1 days +23:59:59", -1),
        ("2 days", 172800),
        ("1 day, 2:03:04", 93784),
    ],
)
def test_times_and_durations_in_strings_are_seconds(cell: str, seconds: float) -> None:
    np.testing.assert_array_equal(worth([cell, "x"])[0], seconds)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_and_times_are_seconds_in_every_unit(unit: str) -> None:
    span, moment = dt.timedelta(days=-3, seconds=5), dt.datetime(1960, 5, 6, 7, 8, 9)
    assert worth(pa.array([span], pa.duration(unit))) == [span.total_seconds()]
    assert worth(pa.array([moment], pa.timestamp(unit))) == [at(1960, 5, 6, 7, 8, 9)]
    assert worth(pa.array([moment], pa.timestamp(unit, "Asia/Tokyo"))) == [at(1960, 5, 6, 7, 8, 9)]
    clock = pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    assert worth(pa.array([dt.time(1, 2, 3)], clock)) == [3723]
    assert worth(pa.array([dt.date(1970, 1, 3)], pa.date32())) == [172800]


def test_decimals_are_the_nearest_number_as_their_digits_are() -> None:
    digits = ["0.1", "123456789012345678.987654321", "-7.30"]
    given = pa.array([Decimal(text) for text in digits], pa.decimal128(38, 9))
    assert worth(given) == [float(text) for text in digits]


def test_a_sign_is_one_in_every_form_of_its_value() -> None:
    assert worth(["-999", "-999.0", " -999 ", "1"], ("-999",)) == [None, None, None, 1]
    assert worth([-999.0, 1.0], ("-999",)) == [None, 1]
    assert worth(["1900-01-01 00:00", "2000-01-01"], ("1900-01-01",)) == [None, at(2000, 1, 1)]
    assert worth([dt.date(1900, 1, 1)], ("1900-01-01",)) == [None]
    assert worth([True, False], ("False",)) == [1, None]
    assert worth(["0", "false"], ("0",)) == [None, 0]
    assert worth([math.inf, 1.0], ("inf",)) == [None, 1]


def test_a_category_has_one_form() -> None:
    forms: list[Any] = [
        [" 7 ", "2.50"],
        ["7.0", "2.50"],
        pa.array([Decimal("7.00"), Decimal("2.50")]),
    ]
    for form in forms:
        array = form if isinstance(form, pa.Array) else pa.array(form)
        assert as_strings(array, Reading()).to_pylist() == ["7", "2.50"]
    assert as_strings(pa.array([7.0, 0.00001]), Reading()).to_pylist() == ["7", "1e-05"]
    moment = dt.datetime(2024, 3, 2, 10, 30)
    for form in (["2024-03-02T10:30"], ["2024-03-02 10:30:00.000"], [moment]):
        assert as_strings(pa.array(form), Reading()).to_pylist() == ["2024-03-02 10:30:00"]
    in_zone = pa.array([moment], pa.timestamp("ms", "Asia/Tokyo"))
    for form in (["2024-03-02T19:30+09:00"], in_zone):
        array = form if isinstance(form, pa.Array) else pa.array(form)
        assert as_strings(array, Reading()).to_pylist() == ["2024-03-02 10:30:00Z"]
    assert as_strings(pa.array([dt.date(2024, 3, 2)]), Reading()).to_pylist() == ["2024-03-02"]
    assert as_strings(pa.array([dt.time(10)]), Reading()).to_pylist() == ["10:00:00"]


@pytest.mark.parametrize("encode", [pa.string_view(), pa.large_string(), "dictionary", "runs"])
def test_encodings_of_arrow_do_not_matter(encode: Any) -> None:
    cells = pa.array([" a ", "1", None, "1"])
    if encode == "dictionary":
        cells = pa.DictionaryArray.from_arrays(
            cells.dictionary_encode().indices, cells.dictionary_encode().dictionary.cast(pa.string_view())
        )
    elif encode == "runs":
        cells = pa.compute.run_end_encode(cells)
    else:
        cells = cells.cast(encode)
    assert as_strings(cells, Reading()).to_pylist() == ["a", "1", None, "1"]
    np.testing.assert_array_equal(np.array(worth(cells), float), [NONE, 1, NONE, 1])
