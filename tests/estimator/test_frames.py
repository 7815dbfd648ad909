"""Frames: after the fit they are read as at the fit, and as the rows of a file."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import Cli
from test_estimator import classifier, transformer

import stackae

ROWS = 300


class Streamed:
    """A frame of a library that is known by Arrow's stream interface alone, as those of Polars are."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "job": rng.choice([" cook", "clerk ", "smith", "NA", "null", ""], ROWS),
            "size": [str(number) if number % 9 else "" for number in rng.integers(0, 99, ROWS)],
            "span": pd.to_timedelta(rng.integers(0, 9999, ROWS), "s"),
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=int(days)) for days in rng.integers(0, 90, ROWS)],
            "at": [dt.time(int(hour), 30) for hour in rng.integers(0, 24, ROWS)],
            "flag": rng.choice([True, False, None], ROWS),  # type: ignore[arg-type]
            "pay": rng.normal(0, 1, ROWS),
        }
    )


def test_no_row_of_the_fit_is_unseen_afterwards() -> None:
    x = frame()
    y = np.where(x["pay"] > 0, "yes", "no")
    fitted = classifier().fit(x, y)
    model = fitted.model_

    rows = model.preprocessing.read(x)
    assert not model.preprocessing.unseen(rows).any()
    names = model.preprocessing.names()
    assert {"job=cook", "job=clerk", "job missing", "size", "size missing", "flag missing"} <= set(names)
    seconds = rows.numbers("span")
    np.testing.assert_array_equal(seconds, x["span"].dt.total_seconds())
    np.testing.assert_array_equal(rows.numbers("at"), [time.hour * 3600 + 1800 for time in x["at"]])
    assert fitted.predict(x).shape == (ROWS,)


def test_frames_of_other_libraries_are_as_those_of_pandas() -> None:
    x = frame()
    fitted = transformer(epochs=1).fit(x)
    codes = fitted.transform(x)
    table = pa.Table.from_pandas(x, preserve_index=False)
    views = table.set_column(0, "job", table["job"].cast(pa.string_view()))

    np.testing.assert_array_equal(fitted.transform(table), codes)
    for form in (table, views, table.combine_chunks().to_batches()[0], Streamed(views)):
        np.testing.assert_array_equal(fitted.model_.transform(form), codes.reshape(ROWS, -1))
    np.testing.assert_array_equal(transformer(epochs=1).fit(table).transform(table), codes)


def test_a_run_on_parquet_takes_frames_of_any_unit(tmp_path: Path, cli: Cli) -> None:
    x = frame()
    y = np.where(x["span"].dt.total_seconds() > 5000, "long", "short")
    x.assign(y=y).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.yaml").write_text(
        "data: {source: t.parquet, target: y}\nlayers: [{width: 8}]\npretrain: {epochs: 1}\n"
        "finetune: {epochs: 5}\ncompare: {scratch: false, probe: false}\nreport: false\n"
        "tracking: {wandb: disabled}\n"
    )
    assert cli(["run", "t.yaml", "--quiet"], tmp_path).returncode == 0
    x.to_csv(tmp_path / "new.csv", index=False)
    for name in ("t.parquet", "new.csv"):
        done = cli(["predict", "runs/t", name, "-o", f"{name}.of.csv"], tmp_path)
        assert done.returncode == 0, done.stderr
        assert "unseen" not in done.stderr
    predicted = pd.read_csv(tmp_path / "t.parquet.of.csv", dtype=str)["class"]
    assert predicted.tolist() == pd.read_csv(tmp_path / "new.csv.of.csv", dtype=str)["class"].tolist()
    model = stackae.load(tmp_path / "runs" / "t")
    for unit in ("s", "ms", "us", "ns"):
        given = x.assign(span=x["span"].astype(f"timedelta64[{unit}]"))
        assert model.predict(given).tolist() == predicted.tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"l": [[1, 2]] * ROWS}, "column 'l' is not used: its cells are of type list"),
        ({"l": "x"}, "column 'l' is not used: constant"),
        ({"l": [f"id {row}" for row in range(ROWS)]}, "column 'l' is not used: identifier"),
    ],
)
def test_columns_that_are_not_used_are_warned_about(change: dict[str, Any], says: str) -> None:
    x = frame().assign(**change)
    with pytest.warns(UserWarning, match=says):
        fitted = transformer(epochs=1).fit(x)
    assert fitted.transform(x).shape == (ROWS, 8)
    assert "l" not in fitted.model_.preprocessing.names()


def test_columns_of_one_name_are_one_clear_line() -> None:
    x = frame()
    model = transformer(epochs=1).fit(x).model_
    twice = pd.concat([x, x[["job"]]], axis=1)
    with pytest.raises(stackae.errors.DataError, match="several columns are called 'job'"):
        model.transform(twice)


def test_numbers_as_objects_or_texts_are_numbers_after_a_fit_to_numbers() -> None:
    x = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("abc"))
    fitted = transformer(epochs=1).fit(x)
    gaps = x.astype(object)
    gaps.loc[3, "b"] = None
    expected = fitted.transform(x.assign(b=x["b"].where(x.index != 3, x["b"].median())))
    np.testing.assert_array_equal(fitted.transform(gaps), expected)
    np.testing.assert_array_equal(
        fitted.transform(gaps.map(lambda cell: "" if cell is None else repr(cell))), expected
    )
    with pytest.raises(ValueError, match="column 'b', row 4 of those given: 'x' is not a finite number"):
        fitted.transform(gaps.fillna("x"))
