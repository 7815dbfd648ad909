"""Columns: what is found out of them, and tables that must have those of another."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_table import cells, column, numbered, read, refused

from stackae.data.tables.columns import Column

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
    assert "t.csv: data row 14, column 'n': 'x9' is not a finite number" in refused(tmp_path, few)
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
    assert f"data row 1, column 'n': '{cell}' is not a finite number" in message


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
    words["need_target"] = True
    assert "has no labels (no column 'y')" in refused(tmp_path, "n,c\n1,a\n", **words)
    assert "data.group: " in refused(tmp_path, "n,c,y\n1,a,no\n", **words)


def test_rows_without_header_may_lack_the_label_where_it_is_not_needed(tmp_path: Path) -> None:
    words = {"columns": ["c", "y", "n", "left"], "drop": ["left"], "target": "y", "need_target": False}
    for content in ("a,no,1,0\nb,no,2,0\n", "a,1,0\nb,2,0\n", "a,1\nb,2\n"):
        assert cells(read(tmp_path, content, like=LIKE, **words)) == {"n": [1, 2], "c": ["a", "b"]}
    words["need_target"] = True
    assert "has no labels (no column 'y')" in refused(tmp_path, "a,1\n", like=LIKE, **words)
    assert "5 cells" in refused(tmp_path, "a,no,1,0,0\n", like=LIKE, **words)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("n,y\n1,no\n", "has no 'c', unlike the rows to learn from"),
        ("n,C,y\n1,a,no\n", "has no 'c', unlike the rows to learn from; rename 'C'"),
        ("y\nno\n", "has no 'n', 'c',"),
        ("n,c,y,z\n1,a,no,4\n", "has 'z', unlike the rows to learn from; remove what is too much, or"),
        (
            "n,c,y\n1,a,no\nx,a,no\n",
            "data row 2, column 'n': 'x' is not a finite number, but the column is numeric",
        ),
        ("n,c\n1,a\n", "has no labels (no column 'y')"),
    ],
)
def test_a_table_unlike_the_other_is_refused(tmp_path: Path, content: str, says: str) -> None:
    assert says in refused(tmp_path, content, target="y", like=LIKE)


def test_columns_of_test_rows_alone_may_be_dropped(tmp_path: Path) -> None:
    assert len(read(tmp_path, "n,c,y,extra\n1,a,no,4\n", target="y", like=LIKE, drop=["extra"]).rows) == 1
    assert len(read(tmp_path, "n,c,y\n1,a,no\n2,a,no\n", target="y", drop=["extra"]).rows) == 2


def test_dates_are_times_and_true_and_false_numbers_in_text_as_in_parquet(tmp_path: Path) -> None:
    rows = [f"2024-01-{1 + row % 28:02},{'TRUE' if row % 2 else 'false'},{row % 3}" for row in range(40)]
    table = read(tmp_path, "\n".join(["when,flag,n", *rows]))
    assert [column.type for column in table.columns] == ["time", "numeric", "numeric"]
    assert cells(table)["flag"][:2] == [0, 1]
    assert column(table, "when").low == 1704067200
    few = read(tmp_path, "\n".join(["when,flag,n", *rows]).replace("TRUE", "perhaps"))
    assert column(few, "flag").type == "categorical"


def test_a_few_cells_that_are_no_times_are_refused(tmp_path: Path) -> None:
    rows = "".join(f"{'soon' if row == 7 else f'2024-01-{row:02}'},{row}\n" for row in range(1, 29))
    message = refused(tmp_path, "when,n\n" + rows)
    assert "data row 7, column 'when': 'soon' is not a time, but most of the column are" in message
    assert cells(read(tmp_path, "when,n\n" + rows, missing=["soon"]))["when"][6] is None


def test_what_signs_of_a_missing_value_take_is_said(tmp_path: Path) -> None:
    rows = [
        f"{'Total' if row == 5 else row},{'<0.5' if row % 9 == 0 else row},{'ab'[row % 2]}"
        for row in range(40)
    ]
    rows[3] = "3,3,None"
    table = read(tmp_path, "\n".join(["n,m,y", *rows]), target="y", missing=["Total", "<0.5", "None", "?"])
    assert table.remarks == (
        "6 cells are taken for missing, as data.missing says: 'Total' in 'n' (1), '<0.5' in 'm' (5)",
        "data.target 'y': 1 row has no label, since 'None' stands for a missing value; if it is a class, "
        "take it out of data.missing",
    )
    assert read(tmp_path, "n,y\n1,a\n2,b\n,\n?,a\n", target="y", missing=["?"]).remarks == ()
