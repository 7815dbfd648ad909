"""Tables as text: cells against Python's csv module, and that blocks make no difference."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_table import PEOPLE, cells, numbered, read, refused, whole, write

from stackae.config import DataConfig
from stackae.data.tables import csv_file, text_blocks
from stackae.data.tables.columns import Column
from stackae.data.tables.table import read_table


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
    monkeypatch.setattr(text_blocks, "_READ", 7)
    monkeypatch.setattr(csv_file, "_BLOCK", 200)
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
    monkeypatch.setattr(csv_file, "_BLOCK", size)
    monkeypatch.setattr(text_blocks, "_READ", step)
    small = read(tmp_path, content, types={"late": "categorical"})
    assert small.columns == large.columns
    assert small.digest == large.digest
    assert whole(small).equals(whole(large))
    assert whole(small)["x"].tolist() == [row / 7 for row in range(900)]
    rows = np.sort(rng.choice(900, 100, replace=False))
    assert small.rows.take(rows).frame().equals(whole(large).iloc[rows].reset_index(drop=True))
    assert "data row 900, column 'late'" in refused(tmp_path, content)


def test_lines_within_quotes_may_go_on_in_the_next_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{row:0{1 + row % 9}}" for row in range(200)]
    content = "n,c\n" + "".join(f'{row},"a\n\nb,\n{row}"\n' for row in rows)
    for size in range(50, 58):
        monkeypatch.setattr(csv_file, "_BLOCK", size)
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
    ("cell", "remedy"),
    [
        ("1,5", "set data.decimal: ',' if"),
        (
            "1,234",
            "set data.thousands: ',' if its comma stands between thousands, data.decimal: ',' if it is the",
        ),
    ],
)
def test_numbers_with_commas_are_refused_with_their_remedy(tmp_path: Path, cell: str, remedy: str) -> None:
    content = f"n;c\n1.5;a\n{cell};b\n{cell};b\n"
    assert remedy in refused(tmp_path, content)
    assert remedy in refused(tmp_path, content, types={"n": "numeric"})


def test_quotes_behind_a_space_are_quotes(tmp_path: Path) -> None:
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
def test_a_compressed_table_is_the_same_table(tmp_path: Path, ending: str) -> None:
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
    assert table.rows.take(np.array([1, 2])).frame()["a"].tolist() == [2, 3]


@pytest.mark.parametrize("ending", PACK)
def test_damaged_compressed_tables_are_refused(tmp_path: Path, ending: str) -> None:
    name = f"t.csv{ending}"
    packed = PACK[ending](numbered(5000, lambda row: str(row * row % 9973)).encode())
    for content in (b"n,c\n1,2\n", packed[: len(packed) // 2]):
        assert f"{name}: the file cannot be read" in refused(tmp_path, content, name=name)
