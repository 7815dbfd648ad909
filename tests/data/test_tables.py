"""Tables: cells against Python's csv module, types, what is refused, and that blocks make no difference."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import gzip
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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stackae.config import DataConfig
from stackae.data import delimited, lines, parquet
from stackae.data.columns import Column
from stackae.data.tables import Table, read_table
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
    return pd.concat([chunk for _, chunk in table.rows.chunks()], ignore_index=True)


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


# ---- what is in the cells


def test_a_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    table = read(tmp_path, PEOPLE, target="y")
    assert cells(table) == {
        "age": [31, None, 47, 52, 31],
        "job": ["clerk", "smith", "cook", None, "cook"],
        "pay": [1.5, 2000, -0.5, 7, 0],
    }
    frame = whole(table)
    assert frame["age"].dtype == np.float64
    assert frame["job"].dtype == object
    assert table.columns == (
        Column("age", "numeric", 1, 3, 31, 52, None),
        Column("job", "categorical", 1, 3, None, None, None),
        Column("pay", "numeric", 0, 5, -0.5, 2000, None),
    )
    assert table.target is not None
    assert table.target.tolist() == ["no", "yes", "no", None, "yes"]
    assert table.group is None
    assert table.order is None


WORDS = st.text(st.sampled_from("ab,;'\" \n\té€"), max_size=6).map(lambda text: f"x{text}".strip())
CELLS = st.one_of(st.just(""), WORDS, st.integers(-9, 9).map(str))


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=40), st.sampled_from(",;\t|"))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cells_are_read_as_pythons_csv_module_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, ...]], separator: str
) -> None:
    # Blocks that end within rows, within quotes and within letters.
    monkeypatch.setattr(lines, "_READ", 7)
    monkeypatch.setattr(delimited, "_BLOCK", 200)
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows([("a", "b", "c"), *rows])
    path = write(tmp_path, text.getvalue())
    expected = list(csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=separator))[1:]
    config = DataConfig(separator=separator, missing=(), types=dict.fromkeys("abc", "categorical"))
    read = whole(read_table([path], config)).to_numpy()
    assert read.tolist() == [[cell.strip() or None for cell in row] for row in expected]


@pytest.mark.parametrize(("size", "step"), [(1 << 8, 50), (1 << 12, 1 << 10)])
def test_neither_types_nor_cells_depend_on_where_blocks_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, step: int
) -> None:
    rng = np.random.default_rng(0)
    # Numbers first, and the one cell that is none in the last block.
    lot = [f"{row},{row / 7!r},{'pqr'[row % 3]},{'zz' if row == 899 else row % 5}" for row in range(900)]
    content = "\n".join(["id,x,c,late", *lot])
    large = read(tmp_path, content, types={"late": "categorical"})
    monkeypatch.setattr(delimited, "_BLOCK", size)
    monkeypatch.setattr(lines, "_READ", step)
    small = read(tmp_path, content, types={"late": "categorical"})
    assert small.columns == large.columns
    assert small.digest == large.digest
    assert whole(small).equals(whole(large))
    assert whole(small)["x"].tolist() == [row / 7 for row in range(900)]
    rows = np.sort(rng.choice(900, 100, replace=False))
    assert small.rows.take(rows).equals(whole(large).iloc[rows].reset_index(drop=True))
    assert "data row 900, column 'late'" in refused(tmp_path, content)


def test_lines_within_quotes_may_go_on_in_the_next_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{row:0{1 + row % 9}}" for row in range(200)]
    content = "n,c\n" + "".join(f'{row},"a\n\nb,\n{row}"\n' for row in rows)
    for size in range(50, 58):
        monkeypatch.setattr(delimited, "_BLOCK", size)
        table = read(tmp_path, content, types={"n": "numeric", "c": "categorical"})
        assert cells(table)["c"] == [f"a\n\nb,\n{row}" for row in rows]


def test_digits_after_the_point_are_all_kept(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-100, 100)
    text = "a,b\n" + "".join(f"{number!r},{row}\n" for row, number in enumerate(numbers.tolist()))
    assert whole(read(tmp_path, text))["a"].tolist() == numbers.tolist()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_found(tmp_path: Path, separator: str) -> None:
    table = read(tmp_path, PEOPLE.replace(",", separator), target="y")
    assert cells(table) == cells(read(tmp_path, PEOPLE, target="y"))


def test_a_separator_within_cells_is_not_taken_for_that_between_them(tmp_path: Path) -> None:
    content = 'n;words, one, or more\n1;"a,b,c"\n2;d,e\n3;d,e\n'
    assert cells(read(tmp_path, content)) == {"n": [1, 2, 3], "words, one, or more": ["a,b,c", "d,e", "d,e"]}


def test_tsv_has_tabs_whatever_is_in_its_cells(tmp_path: Path) -> None:
    content = "n\ta, b, c\n1\tx, y, z\n2\tx, y, z\n3\tx, x, x\n"
    assert list(cells(read(tmp_path, content, name="t.tsv"))) == ["n", "a, b, c"]


def test_decimal_commas_become_points(tmp_path: Path) -> None:
    content = "n;t;day;c\n1,5;1.234,25;01.02.2024;x, y\n-,5;1.234.567;02.02.2024;a,1\n2e3;7;02.02.2024;a,1\n"
    table = read(tmp_path, content, decimal=",")
    assert cells(table) == {
        "n": [1.5, -0.5, 2000],
        "t": [1234.25, 1234567, 7],
        "day": ["01.02.2024", "02.02.2024", "02.02.2024"],
        "c": ["x, y", "a,1", "a,1"],
    }
    assert table.digest != read(tmp_path, content, types={"n": "categorical", "t": "categorical"}).digest


@pytest.mark.parametrize(
    ("cell", "remedy"), [("1,5", "set data.decimal: ','"), ("1,234.5", "take the commas between thousands")]
)
def test_numbers_with_commas_are_refused_with_their_remedy(tmp_path: Path, cell: str, remedy: str) -> None:
    content = f"n;c\n1.5;a\n{cell};b\n{cell};b\n"
    assert remedy in refused(tmp_path, content)
    assert remedy in refused(tmp_path, content, types={"n": "numeric"})


def test_quotes_behind_a_blank_are_quotes(tmp_path: Path) -> None:
    content = 'n, "w, v", k\n1, "a, b", "x ""y"""\n2, "a, ""b""", ""\n3, c,  d\n4, c, d\n'
    assert cells(read(tmp_path, content)) == {
        "n": [1, 2, 3, 4],
        "w, v": ["a, b", 'a, "b"', "c", "c"],
        "k": ['x "y"', None, "d", "d"],
    }


def test_line_ends_and_a_mark_at_the_start_do_not_matter(tmp_path: Path) -> None:
    expected = cells(read(tmp_path, PEOPLE, target="y"))
    for content in (
        PEOPLE.replace("\n", "\r\n"),
        PEOPLE.replace("\n", "\r"),
        PEOPLE.rstrip(),
        PEOPLE.replace("\n", "\n\n") + "\n\n",
        PEOPLE.encode("utf-8-sig"),
    ):
        assert cells(read(tmp_path, content, target="y")) == expected


def test_lines_that_start_with_the_comment_are_skipped(tmp_path: Path) -> None:
    content = "#by, hand, 1, 2\n" + PEOPLE.replace("47,", "# 12,a,1,no\n#\n47,")
    assert cells(read(tmp_path, content, target="y", comment="#")) == cells(
        read(tmp_path, PEOPLE, target="y")
    )


def test_names_are_given_where_there_is_no_header(tmp_path: Path) -> None:
    body = PEOPLE.partition("\n")[2]
    names = write(tmp_path, "age,continuous\njob,symbolic\n\n pay \ny\n", "names.txt")
    for columns in (["age", "job", "pay", "y"], str(names)):
        table = read(tmp_path, body, target="y", columns=columns)
        assert cells(table) == cells(read(tmp_path, PEOPLE, target="y"))


def test_columns_without_a_name_are_called_by_their_place(tmp_path: Path) -> None:
    assert list(cells(read(tmp_path, ",n\n0,1\n1,2\n"))) == ["column 1", "n"]


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_table_is_the_same_table(tmp_path: Path, ending: str) -> None:
    plain = read(tmp_path, PEOPLE, target="y")
    packed = read(tmp_path, PACK[ending](PEOPLE.encode()), name=f"t.csv{ending}", target="y")
    assert whole(packed).equals(whole(plain))
    assert packed.digest == plain.digest


def test_several_files_are_one_table_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    first = write(tmp_path, "a,b,y\n1,x,no\n2,z,no\n", "1.csv")
    second = write(tmp_path, "y;b;a\nyes;x;3\n", "2.csv")
    table = read_table([first, second], DataConfig(target="y"))
    assert len(table.rows) == 3
    assert cells(table) == {"a": [1, 2, 3], "b": ["x", "z", "x"]}
    assert table.target is not None
    assert table.target.tolist() == ["no", "no", "yes"]
    assert table.rows.take(np.array([1, 2]))["a"].tolist() == [2, 3]


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
    monkeypatch.setattr(parquet, "_CELLS", 14)
    table = read(tmp_path, parquet_of(given), name="t.parquet")
    assert whole(table)["c"].tolist() == given["c"].to_pylist()
    assert max(len(chunk) for _, chunk in table.rows.chunks()) == 7
    assert table.rows.take(np.array([6, 7, 99]))["n"].tolist() == [6, 7, 99]


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
    assert list(cells(table)) == ["n"]
    assert table.group is not None
    assert table.group.tolist() == ["ann", "bob", "ann"]
    order = read(tmp_path, content, order="when").order
    assert order is not None
    assert np.diff(order).tolist() == [-(17.5 * 3600), 5.5 * 3600 + 0.25]


def test_a_row_without_group_or_time_is_named_in_whatever_block_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_BLOCK", 64)
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


# ---- what columns are


def test_columns_that_say_nothing_are_not_used(tmp_path: Path) -> None:
    rows = [f"{row},k,,{row % 2 or ''},person {row},{row % 3}" for row in range(1500)]
    table = read(tmp_path, "\n".join(["n,same,none,half,who,left", *rows]), drop=["left"])
    assert {column.name: column.dropped for column in table.columns} == {
        "n": None,
        "same": "constant",
        "none": "all missing",
        "half": None,  # whether it is missing says something
        "who": "identifier",
        "left": "asked",
    }
    assert list(cells(table)) == ["n", "half"]
    assert column(table, "who").distinct == 1001


def test_a_quote_within_a_name_is_no_open_one(tmp_path: Path) -> None:
    assert list(cells(read(tmp_path, 'size ("),n\n1,2\n3,4\n'))) == ['size (")', "n"]


def test_texts_that_all_differ_are_an_identifier_also_in_few_rows(tmp_path: Path) -> None:
    table = read(tmp_path, "n,who,job\n1,ann,cook\n2,bob,cook\n3,eve,smith\n")
    assert column(table, "who").dropped == "identifier"
    assert column(table, "job").dropped is None


def test_types_say_otherwise(tmp_path: Path) -> None:
    rows = [f"{row % 4},k,person {row}" for row in range(1500)]
    types = {"code": "categorical", "same": "categorical", "who": "categorical"}
    table = read(tmp_path, "\n".join(["code,same,who", *rows]), types=types)
    assert [column.name for column in table.columns] == list(types)
    assert {(column.type, column.dropped) for column in table.columns} == {("categorical", None)}
    assert cells(table)["code"][:5] == ["0", "1", "2", "3", "0"]
    scaled = read(tmp_path, "\n".join(["code,same,who", *rows]), types={"code": "quantile"})
    assert column(scaled, "code").type == "numeric"


def test_a_few_texts_among_numbers_are_refused_and_many_make_categories(tmp_path: Path) -> None:
    few = numbered(20, lambda row: "x9" if row == 13 else str(row))
    assert "t.csv: data row 14, column 'n': 'x9' is no finite number" in refused(tmp_path, few)
    assert "data.missing" in refused(tmp_path, few)
    assert cells(read(tmp_path, few, missing=["x9"]))["n"][13] is None
    assert cells(read(tmp_path, few, types={"n": "categorical"}))["n"][12:14] == ["12", "x9"]
    many = numbered(20, lambda row: f"x{row % 4}" if row % 5 == 0 else "7")
    assert column(read(tmp_path, many), "n").type == "categorical"


@pytest.mark.parametrize("sign", ["?", "-", "."])
def test_a_sign_among_numbers_is_refused_however_often_it_is_there(tmp_path: Path, sign: str) -> None:
    content = numbered(20, lambda row: sign if row % 2 else str(row))
    assert f"data row 2, column 'n': '{sign}'" in refused(tmp_path, content)
    assert cells(read(tmp_path, content, missing=[sign]))["n"][:3] == [0, None, 2]


@pytest.mark.parametrize("cell", ["1e999", "inf", "-Infinity", "1,234", "3,5"])
def test_cells_that_are_nearly_numbers_are_refused_however_many(tmp_path: Path, cell: str) -> None:
    content = "n;c\n" + "".join(f"{row if row % 2 else cell};{'ab'[row % 2]}\n" for row in range(20))
    message = refused(tmp_path, content)
    assert f"data row 1, column 'n': '{cell}' is no finite number" in message


def test_addresses_and_versions_are_categories(tmp_path: Path) -> None:
    content = "ip,n\n" + "".join(f"192.168.0.{row % 5},{row}\n" for row in range(20))
    assert column(read(tmp_path, content), "ip").type == "categorical"


# ---- tables like the one before


LIKE = (
    Column("n", "numeric", 0, 9, 0, 8, None),
    Column("c", "categorical", 0, 2, None, None, None),
    Column("same", "numeric", 0, 1, 3, 3, "constant"),
)


def test_a_table_like_another_has_its_columns_and_types(tmp_path: Path) -> None:
    content = "y,c,n\nno,1,5\nyes,2,6\n"
    table = read(tmp_path, content, target="y", like=LIKE)
    assert table.columns == LIKE
    assert cells(table) == {"n": [5, 6], "c": ["1", "2"]}
    assert table.target is not None
    assert table.target.tolist() == ["no", "yes"]


def test_target_group_and_order_may_be_absent_where_they_are_not_needed(tmp_path: Path) -> None:
    words = {"target": "y", "group": "g", "like": LIKE, "need_target": False}
    assert read(tmp_path, "n,c\n1,a\n", **words).target is None
    some = read(tmp_path, "n,c,y,g\n1,a,no,\n", **words)
    assert some.target is not None
    assert some.target.tolist() == ["no"]
    assert "no column 'y'" in refused(tmp_path, "n,c\n1,a\n", **{**words, "need_target": True})


def test_rows_without_header_may_lack_the_label_where_it_is_not_needed(tmp_path: Path) -> None:
    words = {"columns": ["c", "y", "n", "left"], "drop": ["left"], "target": "y", "need_target": False}
    for content in ("a,no,1,0\nb,no,2,0\n", "a,1,0\nb,2,0\n", "a,1\nb,2\n"):
        assert cells(read(tmp_path, content, like=LIKE, **words)) == {"n": [1, 2], "c": ["a", "b"]}
    assert "2 cells" in refused(tmp_path, "a,1\n", like=LIKE, **{**words, "need_target": True})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("n,y\n1,no\n", "has no 'c', unlike the rows to learn from"),
        ("n,C,y\n1,a,no\n", "has no 'c', unlike the rows to learn from; rename 'C'"),
        ("y\nno\n", "has no 'n', 'c',"),
        ("n,c,y,z\n1,a,no,4\n", "has 'z', unlike the rows to learn from; remove what is too much, or"),
        (
            "n,c,y\n1,a,no\nx,a,no\n",
            "data row 2, column 'n': 'x' is no finite number, but the column is numeric",
        ),
        ("n,c\n1,a\n", "data.target: "),
    ],
)
def test_a_table_unlike_the_other_is_refused(tmp_path: Path, content: str, says: str) -> None:
    assert says in refused(tmp_path, content, target="y", like=LIKE)


def test_columns_of_test_rows_alone_may_be_dropped(tmp_path: Path) -> None:
    assert len(read(tmp_path, "n,c,y,extra\n1,a,no,4\n", target="y", like=LIKE, drop=["extra"]).rows) == 1
    assert len(read(tmp_path, "n,c,y\n1,a,no\n2,a,no\n", target="y", drop=["extra"]).rows) == 2


# ---- what is refused


@pytest.mark.parametrize(
    ("content", "words", "says"),
    [
        ("", {}, "the file is empty"),
        ("\n \n", {}, "the file is empty"),
        ("# a\n", {"comment": "#"}, "the file is empty"),
        ("a,b\n", {}, "there is a header, but no row below it"),
        (bytes(range(256)), {}, "is no text in UTF-8 (line 1 has a zero byte as its byte 1)"),
        (b"PK\x03\x04\x14\0\0\0", {}, "is no text in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), {}, "is no text in UTF-8"),
        (
            "a,b\n1,2\n3,é\n".encode("latin-1"),
            {},
            "is no text in UTF-8 (line 3 has the byte 0xe9 as its byte 3)",
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
        ('a,"b\nc"\n1,2\n', {}, "a name in the header goes on in the next line"),
        ("# made by x\n1,2\n", {"columns": ["a", "b"]}, "if that is no row, set data.comment"),
        ("a b\n1 2\n", {"target": "b"}, "has no column 'b'; its columns are 'a b'; set data.separator"),
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
        (PEOPLE, {"types": {"job": "numeric"}}, "data row 1, column 'job': 'clerk' is no finite number"),
        ("a,y\n1,\n2,NA\n", {"target": "y"}, "column 'y' has no label in any row"),
        (PEOPLE, {"group": "job"}, "data row 4, column 'job': there is no value, but data.group needs one"),
        (PEOPLE, {"order": "age"}, "data row 2, column 'age': there is no value, but data.order needs one"),
        (PEOPLE, {"order": "y"}, "data row 1, column 'y': 'no' is no number and no time such as 2024-03-02"),
        ("a,t\n1,2024-01-01\n2,soon\n", {"order": "t"}, "data row 2, column 't': 'soon' is no time such as"),
    ],
)
def test_bad_tables_are_refused(
    tmp_path: Path, content: str | bytes, words: dict[str, Any], says: str
) -> None:
    assert says in refused(tmp_path, content, **words)


@pytest.mark.parametrize("ending", PACK)
def test_damaged_packed_tables_are_refused(tmp_path: Path, ending: str) -> None:
    name = f"t.csv{ending}"
    packed = PACK[ending](numbered(5000, lambda row: str(row * row % 9973)).encode())
    for content in (b"n,c\n1,2\n", packed[: len(packed) // 2]):
        assert f"{name}: the file cannot be read" in refused(tmp_path, content, name=name)


@pytest.mark.parametrize("damage", ["cut", "overwritten", "other"])
def test_damaged_parquet_tables_are_refused(tmp_path: Path, damage: str) -> None:
    content = parquet_of(pa.table({"n": range(1000), "c": [f"q{row}" for row in range(1000)]}))
    content = {
        "cut": content[:-30],
        "overwritten": content[:20] + b"\xff" * 380 + content[400:],
        "other": PEOPLE.encode(),
    }[damage]
    assert "t.parquet: is no Parquet file that can be read" in refused(tmp_path, content, name="t.parquet")


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
