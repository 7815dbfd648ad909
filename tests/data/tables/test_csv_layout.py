"""What stands above, before and behind the rows of text files, and cells that blanks part."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_table import PEOPLE, cells, numbered, read, refused, whole, write

from stackae.config import DataConfig
from stackae.data.tables import csv_file, text_blocks
from stackae.data.tables.table import read_table

ROWS = "a,b,c\n1,2.5,x\n2,3.5,y\n3,-1,x\n"
EXPECTED = {"a": [1, 2, 3], "b": [2.5, 3.5, -1], "c": ["x", "y", "x"]}


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "content",
    [
        ROWS,
        "sep=,\n" + ROWS,
        '"sep=,"\n' + ROWS,
        "sep=;\n" + ROWS.replace(",", ";"),
        "SEP=\t\n" + ROWS.replace(",", "\t"),
        "Sales of 2024\n" + ROWS,
        "Sales of 2024\n\nby hand, of mine\n\n" + ROWS.replace(",", ";"),
        "Sales of 2024,,\n,,\n" + ROWS,
        '"Sales, 2024",,\n' + ROWS,
        "a,b,c\n1,2.5,x,\n2,3.5,y,\n3,-1,x,\n",
        "a,b,c\n1,2.5,x, \n2,3.5,y,\n3,-1,x,\n",
        "Sales of 2024\na,b,c\n1,2.5,x,\n2,3.5,y,\n3,-1,x,\n",
    ],
)
def test_what_is_around_the_rows_is_no_part_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, ends: str, small: bool
) -> None:
    if small:
        monkeypatch.setattr(text_blocks, "_READ", 5)
    assert cells(read(tmp_path, content.replace("\n", ends))) == EXPECTED


@pytest.mark.parametrize("names", ['"1","2","3"', "Ann,Bob,Cid", "7,9,12"])
@pytest.mark.parametrize("separator", [",", ";", " "])
def test_rs_names_of_rows_are_a_column_of_their_own(tmp_path: Path, names: str, separator: str) -> None:
    header, *rows = ROWS.splitlines()
    named = [f"{name},{row}" for name, row in zip(names.split(","), rows, strict=True)]
    table = read(tmp_path, "\n".join([header, *named, ""]).replace(",", separator))
    assert {name: column for name, column in cells(table).items() if name in EXPECTED} == EXPECTED
    assert table.columns[0].name == "column 1"


@pytest.mark.parametrize(
    "content",
    [
        # A name is missing in the header: nothing says which.
        "a,b\n1.5,2,x\n1.5,3,y\n2.5,-1,x\n",
        "a,b\n1.5,2,x,y\n1.5,3,y,y\n2.5,-1,x,y\n",
        "a,b\n1.5,2,x,y,z\n1.5,3,y,y,z\n2.5,-1,x,y,z\n",
    ],
)
def test_a_header_that_lacks_names_is_refused(tmp_path: Path, content: str) -> None:
    message = refused(tmp_path, content)
    assert "data row 1 has" in message
    assert "give the header 'a,b' a name for each cell, delete that line if it is a title, or" in message


def test_a_title_above_a_header_of_years_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path, "Sales of mine\nland,2019,2020\nx,1,2\ny,3,4\n")
    assert (
        "give the header 'Sales of mine' a name for each cell, delete that line if it is a title" in message
    )


def test_numbers_with_a_decimal_comma_show_which_line_is_a_title(tmp_path: Path) -> None:
    content = "Umsatz von uns\na;b;c\n1,5;2,5;x\n2,5;3,5;y\n3,5;-1,5;x\n"
    assert cells(read(tmp_path, content, decimal=","))["a"] == [1.5, 2.5, 3.5]


def test_a_separator_at_the_end_of_some_rows_is_named(tmp_path: Path) -> None:
    message = refused(tmp_path, numbered(30) + "1,a,\n")
    assert message.endswith("'1,a,'; remove the ',' at its end, or end every row with one")


def test_a_cell_behind_the_separator_that_ends_rows_is_not_lost(tmp_path: Path) -> None:
    rows = "".join(f"{row},2,x,\n" for row in range(150))
    message = refused(tmp_path, f"a,b,c\n{rows}1,2,x,lost\n")
    assert "data row 151 has 'lost' behind the ',' that ends other rows; remove it" in message


def test_names_for_rows_that_a_separator_ends(tmp_path: Path) -> None:
    content = "1,2.5,x,\n2,3.5,y,\n3,-1,x,\n"
    assert cells(read(tmp_path, content, columns=["a", "b", "c"])) == EXPECTED
    named = read(tmp_path, content, columns=["a", "b", "c", "d"])
    assert [column.name for column in named.columns if column.dropped is None] == ["a", "b", "c"]


def test_first_rows_are_no_titles_where_names_are_given(tmp_path: Path) -> None:
    content = "5,,\n1,2.5,x\n2,3.5,y\n"
    assert cells(read(tmp_path, content, columns=["a", "b", "c"]))["a"] == [5, 1, 2]
    assert "data row 1 has 1 cells" in refused(tmp_path, "5\n1,2,x\n2,3,y\n", columns=["a", "b", "c"])


def test_lines_may_break_within_the_names_of_a_header(tmp_path: Path) -> None:
    for ends in ("\n", "\r\n"):
        text = f'a,"b{ends}{ends}(in m)",c{ends}1,2.5,x{ends}2,3.5,y{ends}3,-1,x{ends}'
        assert list(cells(read(tmp_path, text)).values()) == list(EXPECTED.values())
    assert list(cells(read(tmp_path, 'a,"b\nc"\n1,2\n3,4\n'))) == ["a", "b\nc"]


# ---- blanks

AUTO = """\
18.0   8   307.0      130.0      3504.      12.0   70  1\t"chevrolet chevelle malibu"
15.0   8   350.0      165.0      3693.      11.5   70  1\t"buick skylark 320"
25.0   4   98.00      ?          2046.      19.0   71  1\t"ford pinto"
"""


def test_columns_that_blanks_align_are_read(tmp_path: Path) -> None:
    names = [*"abcdefgh", "car"]
    types = {"car": "categorical"}
    found = cells(read(tmp_path, AUTO, columns=names, missing=["?"], types=types, name="auto-mpg.data"))
    assert found["c"] == [307, 350, 98]
    assert found["d"] == [130, 165, None]
    assert found["car"] == ["chevrolet chevelle malibu", "buick skylark 320", "ford pinto"]


def test_blanks_around_rows_and_doubled_tabs_do_not_count(tmp_path: Path) -> None:
    housing = "  0.006  18.00   2 \n  0.027   0.00  17\n 12.500   0.00  17\t\n"
    expected = [[0.006, 18, 2], [0.027, 0, 17], [12.5, 0, 17]]
    assert whole(read(tmp_path, housing, columns=["a", "b", "c"])).to_numpy().tolist() == expected
    seeds = "1.5\t2\t\t3\n4\t\t5\t6\n7\t8\t9\n"
    found = whole(read(tmp_path, seeds, columns=["a", "b", "c"])).to_numpy().tolist()
    assert found == [[1.5, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("name\tage\nAnn Lee\t5\nBob Ray\t6\n", ["name", "age"]),
        ("a t,b t\n2024-01-01 10:00,2024-01-01 11:00\n2024-01-02 10:00,2024-01-02 11:00\n", ["a t", "b t"]),
        ("text;n\none two;1\nthree four;2\n", ["text", "n"]),
        ("a text\nsome words\nof mine and yours\n", ["a text"]),
        ("my text\nthree words here\nand three here\n", ["my text"]),
    ],
)
def test_blanks_within_cells_part_none(tmp_path: Path, content: str, names: list[str]) -> None:
    assert [column.name for column in read(tmp_path, content).columns] == names


WORDS = st.text(st.sampled_from("ab-éx"), min_size=1, max_size=4)


@given(
    st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=2, max_size=20),
    st.lists(st.sampled_from([" ", "  ", "\t", " \t "]), min_size=4, max_size=4),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_runs_of_blanks_are_read_as_pandas_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[str, ...]], gaps: list[str]
) -> None:
    monkeypatch.setattr(text_blocks, "_READ", 7)
    monkeypatch.setattr(csv_file, "_BLOCK", 200)
    first, second, third, last = gaps
    text = "".join(f"{first}{a}{second}{b}{third}{c}{last}\n" for a, b, c in [("u", "v", "w"), *rows])
    expected = pd.read_csv(io.StringIO(text), sep=r"\s+", dtype=str, keep_default_na=False)
    config = DataConfig(separator=" ", missing=(), types=dict.fromkeys("uvw", "categorical"))
    assert (
        whole(read_table([write(tmp_path, text)], config)).to_numpy().tolist() == expected.to_numpy().tolist()
    )


# ---- archives


def zipped(*files: tuple[str, str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", method) as file:
        for name, content in files:
            file.writestr(name, content)
    return archive.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_a_zipped_table_is_the_same_table(tmp_path: Path, method: int) -> None:
    plain = read(tmp_path, PEOPLE, target="y")
    content = zipped(("t.csv", PEOPLE), ("__MACOSX/._t.csv", "x"), ("a/.DS_Store", "x"), method=method)
    packed = read(tmp_path, content, name="t.csv.zip", target="y")
    assert whole(packed).equals(whole(plain))
    assert packed.digest == plain.digest


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"n,c\n1,2\n", "the file cannot be read (File is not a zip file); is it damaged?"),
        (zipped(("t.csv", numbered(999)))[:300], "the file cannot be read"),
        (zipped(("1.csv", PEOPLE), ("2.csv", PEOPLE)), "has 2 files ('1.csv', '2.csv'), but one table is"),
        (zipped(), "has no file in it"),
    ],
)
def test_archives_of_no_table_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in refused(tmp_path, content, name="t.csv.zip")


def test_a_zip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stackae.data.files import archive_safety

    monkeypatch.setattr(archive_safety, "MOST_UNASKED", 1 << 20)
    content: Any = zipped(("t.csv", "a,b\n" + "0" * (1 << 23) + ",1\n"))
    message = refused(tmp_path, content, name="t.csv.zip")
    assert "t.csv.zip: 't.csv' would decompress to" in message
    assert "if it is meant to, save it uncompressed" in message


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    content = bytearray(zipped(("t.csv", PEOPLE)))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert "'t.csv' is encrypted; unpack it" in refused(tmp_path, bytes(content), name="t.csv.zip")
