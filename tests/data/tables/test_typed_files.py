"""Tables in JSON lines, Feather and Arrow files, against the same rows in CSV and Parquet."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from test_table import PEOPLE, cells, parquet_of, read, refused, whole

from stackae.data.tables import text_blocks, typed_columns

TABLE = pa.table(
    {
        "n": [1, 2, None],
        "x": [1.5, None, -2.0],
        "c": ["u", None, "v"],
        "d": pa.array(["p", "q", "p"]).dictionary_encode(),
        "t": pa.array([0, 1_500, None], pa.timestamp("ms")),
    }
)


def arrow_file(table: pa.Table, codec: str | None = None, rows: int | None = None) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table, rows)
    return file.getvalue()


def arrow_stream(table: pa.Table) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# ---- Arrow


@pytest.mark.parametrize("ending", [".feather", ".arrow"])
@pytest.mark.parametrize("written", [arrow_file, arrow_stream, lambda table: arrow_file(table, "zstd", 1)])
def test_an_arrow_table_is_the_same_as_in_parquet(tmp_path: Path, written: object, ending: str) -> None:
    assert callable(written)
    expected = read(tmp_path, parquet_of(TABLE), name="t.parquet")
    found = read(tmp_path, written(TABLE), name=f"t{ending}")
    assert found.columns == expected.columns
    assert whole(found).equals(whole(expected))


def test_the_index_of_a_dataframe_is_no_column_and_feather_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    pyarrow.feather.write_feather(frame, tmp_path / "t.feather")
    assert cells(read(tmp_path, (tmp_path / "t.feather").read_bytes(), name="t.feather"))["a"] == [1, 2]


def test_an_arrow_table_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed_columns, "CELLS", 14)
    given = pa.table({"n": list(range(100)), "c": [f"{row % 7}x" for row in range(100)]})
    table = read(tmp_path, arrow_file(given, rows=30), name="t.arrow")
    assert whole(table)["c"].tolist() == given["c"].to_pylist()
    assert max(len(chunk) for _, chunk in table.rows.chunks()) == 7
    assert table.rows.take(np.array([6, 7, 99])).numbers("n").tolist() == [6, 7, 99]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (PEOPLE.encode(), "is not an Arrow file that can be read"),
        (b"", "is not an Arrow file that can be read"),
        (arrow_file(TABLE)[:-40], "is not an Arrow file that can be read"),
        (arrow_stream(TABLE)[:-150], "is not an Arrow file that can be read"),
        (b"FEA1" + bytes(40), "is a Feather file of version 1; write it anew"),
        (arrow_file(TABLE.slice(0, 0)), "there are columns, but no rows"),
        (arrow_file(pa.table({"a": [1], "l": [[1]]})), "column 'l' has cells of type list<"),
        (arrow_file(pa.table([[1, 2], [3, 4]], ["a", "a"])), "several columns are called 'a'"),
    ],
)
def test_what_is_no_arrow_table_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refused(tmp_path, content, name="t.arrow")


def test_an_arrow_file_that_points_outside_of_its_strings_is_refused(tmp_path: Path) -> None:
    content = arrow_file(pa.table({"a": [1, 2, 3], "c": ["one", "three", "seventeen"]}))
    offsets = np.array([0, 3, 8, 17], np.int32).tobytes()
    assert content.count(offsets) == 1
    wrong = content.replace(offsets, np.array([0, 3, 8, 2**30], np.int32).tobytes())
    assert "is not an Arrow file that can be read" in refused(tmp_path, wrong, name="t.arrow")


# ---- JSON lines


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson"])
@pytest.mark.parametrize("small", [False, True])
def test_json_lines_are_the_same_table_as_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, small: bool
) -> None:
    if small:
        monkeypatch.setattr(text_blocks, "_READ", 7)
    rows = [{"a": row / 7, "b": f"é{row % 3}", "n": row} for row in range(50)]
    content = lines(*rows).replace("\n", "\n\n", 3)
    expected = read(tmp_path, "a,b,n\n" + "".join(f"{r['a']!r},{r['b']},{r['n']}\n" for r in rows))
    found = read(tmp_path, content, name=f"t{ending}")
    assert found.columns == expected.columns
    assert whole(found).equals(whole(expected))


def test_compressed_json_lines_are_read(tmp_path: Path) -> None:
    content = lines({"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "y"})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("t.jsonl", content)
    for ending, packed in ((".gz", gzip.compress(content.encode())), (".zip", archive.getvalue())):
        assert cells(read(tmp_path, packed, name=f"t.jsonl{ending}")) == {
            "a": [1, 2, 3],
            "b": ["x", "y", "y"],
        }


def test_keys_may_come_late_or_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "_READ", 7)
    content = lines({"a": 1, "c": "x"}, {"c": "y"}, {"a": 3, "late": 7, "c": None}, {"late": 8, "a": 1})
    assert cells(read(tmp_path, content, name="t.jsonl")) == {
        "a": [1, None, 3, 1],
        "c": ["x", "y", None, None],
        "late": [None, None, 7, 8],
    }


def test_numbers_of_any_size_and_mixed_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "_READ", 7)
    rows = (
        {"id": 2**62 + 1, "m": 1.0, "f": 1},
        {"id": 5, "m": "w", "f": 2.5},
        {"id": 5, "m": True, "f": 2**70},
    )
    types = {"id": "categorical", "m": "categorical"}
    found = cells(read(tmp_path, lines(*rows), name="t.jsonl", types=types))
    assert found == {"id": [str(2**62 + 1), "5", "5"], "m": ["1", "w", "true"], "f": [1, 2.5, 2.0**70]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file has no rows with keys"),
        ("{}\n{}\n", "the file has no rows with keys"),
        (lines({"a": 1}) + "[1, 2]\n", "data row 2 is no object with a key for each column: '[1, 2]'"),
        (lines({"a": 1}) + '{"a": \n', "data row 2 is no JSON (Expecting value"),
        ('[{"a": 1},\n{"a": 2}]\n', "data row 1 is no JSON"),
        ("[" * 200_000 + "\n", "data row 1 is no JSON"),
        ('{"a": ' + "9" * 5000 + "}\n", "data row 1 is no JSON"),
        ('{"a": "x", "b": Infinity}\n', "'inf' is not a finite number"),
        (lines({"a": 1, "l": [1]}, {"a": 2, "l": None}), "column 'l' has cells of type list<"),
        (b'{"a": "\xff"}\n', "is not text in UTF-8"),
    ],
)
def test_what_is_no_json_lines_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    assert says in refused(
        tmp_path, content, name="t.jsonl", types={} if "Inf" not in str(content) else {"b": "numeric"}
    )


def test_lists_and_objects_can_be_dropped(tmp_path: Path) -> None:
    content = lines({"a": 1, "l": [1], "o": {"x": 1}}, {"a": 2, "l": [], "o": None})
    assert cells(read(tmp_path, content, name="t.jsonl", drop=["l", "o"])) == {"a": [1, 2]}


def test_names_of_columns_are_in_the_files(tmp_path: Path) -> None:
    for content, name in ((lines({"a": 1}), "t.jsonl"), (arrow_file(TABLE), "t.arrow")):
        message = refused(tmp_path, content, name=name, columns=["z"])
        assert message.endswith(f"{name}: its columns have names in it; remove data.columns")
    message = refused(tmp_path, gzip.compress(parquet_of(TABLE)), name="t.parquet.gz")
    assert "is compressed in itself and read as it is; unpack it" in message
