"""Times as features: against the calendar of Python, and only where the span allows them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from stackae.config import DataConfig
from stackae.data.preprocessing.table import TablePreprocessing, fit_table
from stackae.data.tables.normalised import Normalised
from stackae.data.tables.table import read_table

START = dt.datetime(2020, 1, 1)


def fitted(
    folder: Path, times: list[dt.datetime | None], **words: object
) -> tuple[TablePreprocessing, Normalised]:
    path = folder / "t.csv"
    cells = ["" if time is None else time.isoformat(" ") for time in times]
    path.write_text("when,c\n" + "".join(f"{cell},{'ab'[row % 2]}\n" for row, cell in enumerate(cells)))
    config = DataConfig.model_validate(words)
    table = read_table([path], config)
    rows = table.rows.take(np.arange(len(times)))
    return fit_table(rows, table.columns, config), rows


def every(hours: float, rows: int) -> list[dt.datetime | None]:
    return [START + dt.timedelta(hours=hours * row) for row in range(rows)]


@pytest.mark.parametrize(
    ("times", "parts"),
    [
        (every(1, 47), []),
        (every(1, 49), ["hour"]),
        (every(24, 13), []),
        (every(24, 15), ["weekday"]),
        (every(24 * 7, 100), []),
        (every(24 * 7, 110), ["month"]),
        (every(5, 4000), ["hour", "weekday", "month"]),
    ],
)
def test_parts_that_come_again_are_features_where_two_periods_are_seen(
    times: list[dt.datetime | None], parts: list[str], tmp_path: Path
) -> None:
    preprocessing, _ = fitted(tmp_path, times, rare=1)
    expected = [f"when {part} {function}" for part in parts for function in ("sin", "cos")]
    assert preprocessing.names() == ["when", *expected, "c=a", "c=b"]
    blocks = [(block.kind, block.size, block.column) for block in preprocessing.blocks]
    assert blocks == [("numeric", 1, 0)] * (1 + len(expected)) + [("categorical", 2, 1)]


def test_they_are_where_the_calendar_says(tmp_path: Path) -> None:
    times = every(5.5, 4000)
    preprocessing, rows = fitted(tmp_path, times)
    x = preprocessing(rows)
    for row in (0, 1, 777, 3999):
        time = times[row]
        assert time is not None
        day = (time.hour + time.minute / 60) / 24
        week = (time.weekday() + day) / 7
        year = (time - dt.datetime(time.year, 1, 1)) / dt.timedelta(days=365.2425)
        for start, share, near in ((1, day, 1e-6), (3, week, 1e-6), (5, year, 0.02)):
            point = [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)]
            np.testing.assert_allclose(x[row, start : start + 2], point, atol=near)
    assert abs(x[:, 0].mean()) < 1e-5
    assert x[:, 0].std() == pytest.approx(1, abs=1e-5)


def test_a_missing_time_is_in_the_middle_and_marked(tmp_path: Path) -> None:
    times = every(5, 100)
    times[3] = None
    preprocessing, rows = fitted(tmp_path, times)
    assert preprocessing.names()[:4] == ["when", "when missing", "when hour sin", "when hour cos"]
    x = preprocessing(rows)
    assert x[3, 1:4].tolist() == [1, 0, 0]
    assert not x[:3, 1].any()
    scaled, rows = fitted(tmp_path, times, scaling="minmax")
    assert scaled(rows)[3, 2:4].tolist() == [0.5, 0.5]
    assert (scaled.low, scaled.high) == (0, 1)


def test_types_choose_what_a_time_is(tmp_path: Path) -> None:
    times = every(12, 60)
    for type_, names in (
        ("time", ["when", "when weekday sin"]),
        ("numeric", ["when", "c=a"]),
        ("categorical", ["when=2020-01-01", "when=2020-01-01 12:00:00"]),
    ):
        preprocessing, _ = fitted(tmp_path, times, types={"when": type_}, rare=1)
        assert [name for name in preprocessing.names() if "hour" not in name][:2] == names


def test_numbers_may_be_called_times(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("at,c\n" + "".join(f"{3600 * row},{'ab'[row % 2]}\n" for row in range(100)))
    config = DataConfig(types={"at": "time"})
    table = read_table([path], config)
    fitted = fit_table(table.rows.take(np.arange(100)), table.columns, config)
    assert fitted.names() == ["at", "at hour sin", "at hour cos", "c=a", "c=b"]
