"""Tables: Parquet, labels, groups and times beside the features, what is refused, and the digest."""

from __future__ import annotations

import datetime as dt
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stackae.config import DataConfig
from stackae.data.tables import csv_file, typed_columns
from stackae.data.tables.columns import Column
from stackae.data.tables.table import Table, read_table
from stackae.errors import DataError

PEOPLE = """\
age,job,pay,y
31,clerk,1.5,no
,smith,2e3,yes
47, cook ,-.5,no
52,NA,+7,
31,cook,0,yes
"""


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes, *, name: str = "t.csv", **words: Any) -> Table:
    like, need = words.pop("like", None), words.pop("need_target", True)
    config = DataConfig.model_validate(words)
    return read_table([write(folder, content, name)], config, like=like, need_target=need)


def refused(folder: Path, content: str | bytes, **words: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, content, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def whole(table: Table) -> pd.DataFrame:
    return pd.concat([chunk.frame() for _, chunk in table.rows.chunks()], ignore_index=True)


def cells(table: Table) -> dict[str, list[Any]]:
    """Each column's cells, None where one is missing."""
    frame = whole(table)
    return {name: [None if cell != cell else cell for cell in frame[name]] for name in frame}


def column(table: Table, name: str) -> Column:
    return next(column for column in table.columns if column.name == name)


def parquet_of(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def numbered(rows: int, cell: Callable[[int], str] = str) -> str:
    """A table with a column of numbers, and one of letters."""
    return "n,c\n" + "".join(f"{cell(row)},{'ab'[row % 2]}\n" for row in range(rows))


# ---- Parquet


def test_parquet_cells_of_any_type_are_texts_or_numbers(tmp_path: Path) -> None:
    given = pa.table(
        {
            "int": pa.array([1, 2, None]),
            "float": [1.0, float("nan"), 3.5],
            "half": np.array([1, 2.5, 3], np.float16),
            "large": pa.array([1, 2, 2**64 - 1], pa.uint64()),
            "decimal": pa.array(["1.25", "2.5", None]).cast(pa.decimal128(9, 2)),
            "bool": [True, False, None],
            "text": ["x", " w ", "NA"],
            "category": pa.array(["u", "v", "u"]).dictionary_encode(),
            "view": pa.array(["u", "v", "u"], pa.string_view()),
            "digits": ["1", "2", "3.5"],
            "date": [dt.date(1970, 1, 2), None, dt.date(1969, 12, 31)],
            "time": [dt.time(1), dt.time(2), dt.time(0, 0, 0, 500)],
            "span": [dt.timedelta(1), dt.timedelta(2), None],
            "stamp": pa.array([0, 1_500, None], pa.timestamp("ms", "Europe/Berlin")),
            "nothing": pa.nulls(3),
        }
    )
    assert cells(read(tmp_path, parquet_of(given), name="t.parquet")) == {
        "int": [1, 2, None],
        "float": [1, None, 3.5],
        "half": [1, 2.5, 3],
        "large": [1, 2, 2.0**64],
        "decimal": [1.25, 2.5, None],
        "bool": [1, 0, None],
        "text": ["x", "w", None],
        "category": ["u", "v", "u"],
        "view": ["u", "v", "u"],
        "digits": [1, 2, 3.5],
        "date": [86400, None, -86400],
        "time": [3600, 7200, 0.0005],
        "span": [86400, 172800, None],
        "stamp": [0, 1.5, None],
    }


def test_numbers_that_are_categories_are_texts_without_a_point(tmp_path: Path) -> None:
    given = pa.table({"a": [1.0, 2.5, 1e15], "b": [7, 8, 2**62 + 1], "c": [-999, 1, 2]})
    types = {"a": "categorical", "b": "categorical"}
    table = read(tmp_path, parquet_of(given), name="t.parquet", types=types, missing=["-999"])
    assert cells(table) == {
        "a": ["1", "2.5", "1000000000000000"],
        "b": ["7", "8", "4611686018427387905"],
        "c": [None, 1, 2],
    }


def test_a_parquet_table_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = pa.table({"n": list(range(100)), "c": [str(row % 7) + "x" for row in range(100)]})
    monkeypatch.setattr(typed_columns, "CELLS", 14)
    table = read(tmp_path, parquet_of(given), name="t.parquet")
    assert whole(table)["c"].tolist() == given["c"].to_pylist()
    assert max(len(chunk) for _, chunk in table.rows.chunks()) == 7
    assert table.rows.take(np.array([6, 7, 99])).numbers("n").tolist() == [6, 7, 99]


def test_the_index_of_a_dataframe_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "y"]}, index=["p", "q", "r"])
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table([tmp_path / "t.parquet"], DataConfig())
    assert [column.name for column in table.columns] == ["a", "b"]


# ---- labels, groups and times


def test_whole_labels_are_alike_with_and_without_a_point(tmp_path: Path) -> None:
    for content, name in (
        ("n,y\n1,1.0\n2,1\n3,2.00\n4,\n5,-3\n", "t.csv"),
        (parquet_of(pa.table({"n": range(5), "y": [1.0, 1.0, 2.0, None, -3.0]})), "t.parquet"),
    ):
        target = read(tmp_path, content, name=name, target="y").target
        assert target is not None
        assert target.tolist() == ["1", "1", "2", None, "-3"]


def test_labels_that_are_no_whole_numbers_stay_as_they_are(tmp_path: Path) -> None:
    target = read(tmp_path, "n,y\n1,007\n2,1.50\n3,v1.0\n4,12345678901234567890\n", target="y").target
    assert target is not None
    assert target.tolist() == ["007", "1.50", "v1.0", "12345678901234567890"]


def test_groups_and_times_come_beside_the_features(tmp_path: Path) -> None:
    content = "n,who,when\n1,ann,2024-01-02\n2,bob,2024-01-01 06:30:00\n3,ann,2024-01-01T12:00:00.25\n"
    table = read(tmp_path, content, group="who", types={"n": "numeric"})
    assert list(cells(table)) == ["n", "when"]
    assert table.group is not None
    assert table.group.tolist() == ["ann", "bob", "ann"]
    order = read(tmp_path, content, order="when").order
    assert order is not None
    assert np.diff(order).tolist() == [-(17.5 * 3600), 5.5 * 3600 + 0.25]


def test_a_row_without_group_or_time_is_named_in_whatever_block_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "_BLOCK", 64)
    for setting in ("group", "order"):
        content = "n,g\n" + "".join(f"{row},{'' if row == 77 else row % 9}\n" for row in range(100))
        assert "data row 78, column 'g': there is no value" in refused(tmp_path, content, **{setting: "g"})


def test_times_with_zones_are_compared_as_times(tmp_path: Path) -> None:
    order = read(tmp_path, "n,t\n1,2024-01-01T01:00:00+01:00\n2,2024-01-01T00:00:00Z\n", order="t").order
    assert order is not None
    assert order[0] == order[1]


def test_the_order_may_be_numbers_or_parquet_times(tmp_path: Path) -> None:
    order = read(tmp_path, "n,t\n1,3.5\n2,-4\n", order="t").order
    assert order is not None
    assert order.tolist() == [3.5, -4]
    times = pa.table({"n": [1, 2], "t": pa.array([10**9, 2 * 10**9], pa.timestamp("ns"))})
    order = read(tmp_path, parquet_of(times), name="t.parquet", order="t").order
    assert order is not None
    assert order.tolist() == [1, 2]


# ---- what is refused


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("", {}, "the file is empty"),
        ("\n \n", {}, "the file is empty"),
        ("# a\n", {"comment": "#"}, "the file is empty"),
        ("a,b\n", {}, "there is a header, but no row below it"),
        (bytes(range(256)), {}, "is not text in UTF-8 (line 1 has a zero byte as its byte 1)"),
        (b"PK\x03\x04\x14\0\0\0", {}, "is not text in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), {}, "is not text in UTF-8"),
        (
            "a,b\n1,2\n3,é\n".encode("latin-1"),
            {},
            "is not text in UTF-8 (line 3 has the byte 0xe9 as its byte 3)",
        ),
        (numbered(30) + "1\n", {}, "data row 31 has 1 cells, but there are 2 columns: '1'; correct it"),
        (
            numbered(30) + "1,2,3\n",
            {},
            "data row 31 has 3 cells, but there are 2 columns: '1,2,3'; correct it",
        ),
        (
            'a,b,c\n1,"x,2\n3,y,2\n',
            {},
            "data row 1 has 2 cells, but there are 3 columns: '1,\"x,2 3,y,2'; close",
        ),
        ('a,b\n1,2\n3,"x\n4,y\n', {}, "data row 2 opens a quote that is never closed, before 'x 4,y'"),
        ('a,"b\n1,2\n', {}, "the header opens a quote that is never closed; close it"),
        ("# made by x\n1,2\n", {"columns": ["a", "b"]}, "if that is not a row, set data.comment"),
        ("a/b\n1/2\n", {"target": "b"}, "has no column 'b'; its columns are 'a/b'; set data.separator"),
        ("a,b,a\n1,2,3\n", {}, "several columns are called 'a'"),
        ("1,2\n", {"columns": ["a", "a"]}, "several columns are called 'a'"),
        ("1,2,3\n", {"columns": ["a", "b"]}, "data row 1 has 3 cells, but data.columns 2 names"),
        ("1,2\n", {"columns": "none.txt"}, "data.columns: none.txt: there is no such file"),
        (
            PEOPLE,
            {"target": "z"},
            "has no column 'z'; its columns are 'age', 'job', 'pay', 'y'; if it has no",
        ),
        (PEOPLE, {"target": "Age"}, "data.target: "),
        (PEOPLE, {"target": "Age"}, "has no column 'Age'; did you mean 'age'?"),
        (PEOPLE, {"group": "jobs"}, "has no column 'jobs'; did you mean 'job'?"),
        (PEOPLE, {"order": "ages"}, "has no column 'ages'; did you mean 'age'?"),
        (PEOPLE, {"drop": ["jobs"]}, "has no column 'jobs'; did you mean 'job'?"),
        (PEOPLE, {"types": {"jobs": "categorical"}}, "has no column 'jobs'; did you mean 'job'?"),
        (PEOPLE, {"types": {"job": "numeric"}}, "data row 1, column 'job': 'clerk' is not a finite number"),
        (PEOPLE, {"group": "job"}, "data row 4, column 'job': there is no value, but data.group needs one"),
        (PEOPLE, {"order": "age"}, "data row 2, column 'age': there is no value, but data.order needs one"),
        (
            PEOPLE,
            {"order": "y"},
            "data row 1, column 'y': 'no' is neither a number nor a time such as 2024-03-02",
        ),
        (
            "a,t\n1,2024-01-01\n2,soon\n",
            {"order": "t"},
            "data row 2, column 't': 'soon' is not a time such as",
        ),
    ],
)
def test_bad_tables_are_refused(
    tmp_path: Path, content: str | bytes, words: dict[str, Any], says: str
) -> None:
    assert says in refused(tmp_path, content, **words)


@pytest.mark.parametrize("damage", ["cut", "overwritten", "other"])
def test_damaged_parquet_tables_are_refused(tmp_path: Path, damage: str) -> None:
    content = parquet_of(pa.table({"n": range(1000), "c": [f"q{row}" for row in range(1000)]}))
    content = {
        "cut": content[:-30],
        "overwritten": content[:20] + b"\xff" * 380 + content[400:],
        "other": PEOPLE.encode(),
    }[damage]
    assert "t.parquet: is not a Parquet file that can be read" in refused(tmp_path, content, name="t.parquet")


def test_cells_that_are_lists_are_refused_unless_they_are_dropped(tmp_path: Path) -> None:
    content = parquet_of(pa.table({"n": [1, 2], "l": [[1], [2]], "b": [b"x", b"y"]}))
    message = refused(tmp_path, content, name="t.parquet", drop=["b"])
    assert "column 'l' has cells of type list<" in message
    assert "data.drop" in message
    assert list(cells(read(tmp_path, content, name="t.parquet", drop=["l", "b"]))) == ["n"]


def test_parquet_numbers_are_finite(tmp_path: Path) -> None:
    content = parquet_of(pa.table({"n": [1.0, float("inf")], "c": ["x", "y"]}))
    assert "data row 2, column 'n': 'inf'" in refused(tmp_path, content, name="t.parquet")


def test_files_whose_columns_differ_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a,b\n1,2\n", "1.csv"), write(tmp_path, "a,c\n1,2\n", "2.csv")]
    with pytest.raises(DataError, match=r"2\.csv: there is no column 'b', which .*1\.csv has"):
        read_table(paths, DataConfig())


def test_numbers_and_times_are_not_mixed_across_files(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a,t\n1,2\n", "1.csv"), write(tmp_path, "a,t\n1,2024-01-01\n", "2.csv")]
    with pytest.raises(DataError, match=r"2\.csv: data row 1, column 't': numbers and times are mixed"):
        read_table(paths, DataConfig(order="t"))


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    table = read(tmp_path, PEOPLE, target="y")
    write(tmp_path, PEOPLE.replace("31", "32"))
    with pytest.raises(DataError, match="the file was changed while it was read"):
        list(table.rows.chunks())


# ---- the digest


def test_the_digest_is_of_content_and_of_how_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    base = read(tmp_path, PEOPLE, target="y", drop=["age", "pay"]).digest
    same = read(
        tmp_path / "else", PEOPLE, name="o.txt", target="y", drop=["pay", "age"], separator=",", rare=3
    )
    assert same.digest == base
    others = [
        read(tmp_path, PEOPLE.replace("52", "53"), target="y", drop=["age", "pay"]),
        read(tmp_path, PEOPLE, target="y", drop=["age"]),
        read(tmp_path, PEOPLE, target="job", drop=["age", "pay"]),
        read(tmp_path, PEOPLE, target="y", drop=["age", "pay"], types={"job": "categorical"}),
        read(tmp_path, PEOPLE, target="y", drop=["age", "pay"], missing=["no"]),
        read(tmp_path, PEOPLE, target="y", drop=["age", "pay"], comment="52"),
        read(tmp_path, PEOPLE, target="y", drop=["age", "pay"], order="pay"),
    ]
    digests = [base, *(other.digest for other in others)]
    assert all(one != other for one, other in itertools.combinations(digests, 2))
