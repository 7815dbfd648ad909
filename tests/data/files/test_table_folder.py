"""Tables in several files: globs, folders, and partitions; and their commands on whole folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import Cli

from stackae.config import DataConfig
from stackae.data.forms import form_of
from stackae.data.read import Source, read_source
from stackae.data.tables.normalised import Normalised
from stackae.errors import DataError

FRAME = pd.DataFrame(
    {
        "a": np.random.default_rng(0).normal(size=120).round(4),
        "part": np.arange(120) % 3,
        "city": np.array(["São Paulo", "a/b", "c=d"])[np.arange(120) % 3],
        "y": np.where(np.arange(120) % 2, "no", "yes"),
    }
)


def partitioned(folder: Path, ending: str = ".parquet") -> Path:
    """The frame as Spark and pandas write it, a folder for each value, and what they leave beside it."""
    for (part, city), rows in FRAME.groupby(["part", "city"]):
        place = folder / f"part={part}" / f"city={str(city).replace('/', '%2F')}"
        place.mkdir(parents=True)
        plain = rows.drop(columns=["part", "city"])
        if ending == ".parquet":
            plain.to_parquet(place / "x.parquet", index=False)
        else:
            plain.to_csv(place / f"x{ending}", index=False)
    (folder / "_SUCCESS").write_text("")
    (folder / "_metadata.parquet").write_text("no table")
    (folder / ".x.csv.crc").write_text("")
    return folder


def source(paths: Any, **words: Any) -> Source:
    return read_source(DataConfig.model_validate({"source": paths, "target": "y"} | words))


def frame_of(found: Source) -> pd.DataFrame:
    rows = found.rows.take(np.arange(len(found.rows)))
    assert isinstance(rows, Normalised)
    return rows.frame()


def refused(paths: Any, **words: Any) -> str:
    with pytest.raises(DataError) as caught:
        source(paths, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def three(folder: Path) -> list[str]:
    folder.mkdir(exist_ok=True)
    for number in range(3):
        FRAME[number * 40 : number * 40 + 40].to_csv(folder / f"{number}.csv", index=False)
    return [str(folder / f"{number}.csv") for number in range(3)]


def test_a_list_a_glob_and_a_folder_name_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = three(tmp_path / "t")
    monkeypatch.setenv("HERE", str(tmp_path))
    names = [
        listed,
        str(tmp_path / "t"),
        str(tmp_path / "t" / "*.csv"),
        "$HERE/t/[0-9].csv",
        f"{tmp_path}/**/t",
    ]
    found = [source(name) for name in names]
    assert len({one.fingerprint for one in found}) == 1
    assert frame_of(found[1])["a"].tolist() == FRAME["a"].tolist()


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
def test_folders_called_as_values_are_columns(tmp_path: Path, ending: str) -> None:
    folder = partitioned(tmp_path / "t", ending)
    found = frame_of(source(str(folder)))
    expected = FRAME.sort_values(["part"], kind="stable").reset_index(drop=True)
    assert found["a"].tolist() == expected["a"].tolist()
    assert found["part"].tolist() == expected["part"].tolist()
    assert found["city"].tolist() == expected["city"].tolist()


def test_folders_called_as_values_may_be_labels_or_groups(tmp_path: Path) -> None:
    folder = partitioned(tmp_path / "t")
    found = source(str(folder), target="city", drop=["y"], group="part")
    assert found.classes == ("São Paulo", "a/b", "c=d")
    assert found.group is not None
    assert sorted(np.bincount(found.group)) == [40, 40, 40]


def test_a_partition_without_a_value_is_missing(tmp_path: Path) -> None:
    folder = partitioned(tmp_path / "t")
    (folder / "part=2").rename(folder / "part=__HIVE_DEFAULT_PARTITION__")
    part = frame_of(source(str(folder)))["part"]
    assert int(part.isna().sum()) == 40
    assert set(part.dropna()) == {0, 1}


def test_where_a_file_lies_says_nothing_unless_files_differ_in_it(tmp_path: Path) -> None:
    one, other = tmp_path / "run=1", tmp_path / "run=2"
    for place in (one, other):
        place.mkdir()
        FRAME.to_csv(place / "t.csv", index=False)
    found = source(str(one / "t.csv"))
    assert found.columns is not None
    assert [column.name for column in found.columns] == ["a", "part", "city"]
    assert found.fingerprint == source(str(other / "t.csv")).fingerprint
    # Neither does that of test rows, of which the source knows nothing.
    assert len(source(str(one / "t.csv"), test=str(other / "t.csv")).rows) == 120


def test_a_column_of_the_files_own_is_taken_before_that_of_folders(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"part={part}").mkdir()
        FRAME.to_csv(tmp_path / f"part={part}" / "t.csv", index=False)
    assert set(frame_of(source(str(tmp_path)))["part"]) == {0, 1, 2}


def test_partitions_change_the_fingerprint(tmp_path: Path) -> None:
    folder = partitioned(tmp_path / "t")
    before = source(str(folder)).fingerprint
    (folder / "part=2").rename(folder / "part=3")
    assert source(str(folder)).fingerprint != before


def test_files_without_rows_beside_others_do_not_count(tmp_path: Path) -> None:
    listed = three(tmp_path / "t")
    before = source(listed).fingerprint
    (tmp_path / "t" / "0a.csv").write_text("a,part,city,y\n")
    (tmp_path / "t" / "0b.csv").write_text("")
    assert source(str(tmp_path / "t")).fingerprint == before
    assert "there is a header, but no row below it" in refused(str(tmp_path / "t" / "0a.csv"))


def test_tables_of_several_kinds_in_a_folder_are_refused(tmp_path: Path) -> None:
    three(tmp_path / "t")
    (tmp_path / "t" / "README.txt").write_text("words\n")
    message = refused(str(tmp_path / "t"))
    assert "has tables that end in .csv and .txt; name those that are one table by a glob" in message
    assert f"'{tmp_path / 't' / '*'}.csv'" in message


def test_a_file_that_comes_twice_is_refused(tmp_path: Path) -> None:
    listed = three(tmp_path / "t")
    assert f"'{listed[0]}' comes twice" in refused([*listed, listed[0]])
    assert "comes twice" in refused([str(tmp_path / "t"), listed[1]])
    shutil.copy(listed[0], f"{listed[0]}.gz")
    assert "comes twice, compressed or not" in refused(str(tmp_path / "t"))


def test_tests_are_not_among_the_rows_to_learn_from(tmp_path: Path) -> None:
    listed = three(tmp_path / "t")
    for source_, test in ((str(tmp_path / "t"), listed[0]), (listed[0], str(tmp_path / "t"))):
        assert "is in data.source too" in refused(source_, test=test)


def test_a_glob_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    assert f"'{tmp_path}/*.csv' fits no file" in refused(f"{tmp_path}/*.csv")
    (tmp_path / "a[1].csv").write_text(FRAME.to_csv(index=False))
    assert len(source(str(tmp_path / "a[1].csv")).rows) == 120


def test_a_folder_with_images_is_one_of_images(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "labels.csv").write_text("file,label\n")
    assert form_of(str(tmp_path), "data").called == "a table"
    (tmp_path / "cat" / "1.png").write_text("")
    assert form_of(str(tmp_path), "data").called == "images"
    (tmp_path / "none").mkdir()
    assert form_of(str(tmp_path / "none"), "data").called == "images"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("t.xlsx", "'t.xlsx' is a workbook; save its sheet as CSV"),
        ("t.xls", "'t.xls' is a workbook; save its sheet as CSV"),
        ("t.json", "'t.json' is one JSON text; write an object per line to a .jsonl file"),
    ],
)
def test_files_of_other_programs_are_refused_with_the_way_to_save_them(
    tmp_path: Path, cli: Cli, name: str, says: str
) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    done = cli(["inspect", name], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_commands_work_on_whole_folders(tmp_path: Path, cli: Cli) -> None:
    partitioned(tmp_path / "t")

    def stackae(*words: str) -> str:
        done = cli(words, tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "t: a table, 120 rows, 3 columns" in stackae("inspect", "t", "--target", "y")
    glob = "t/part=*/city=*/*.parquet"
    assert "a table, 120 rows, 3 columns" in stackae("inspect", glob, "--target", "y")
    assert "a table, 80 rows, 3 columns" in stackae("inspect", "t/part=0", "t/part=1", "--target", "y")
    for words, name in ((["t"], "t"), ([glob], "t2"), (["t/part=0", "t/part=1", "t/part=2"], "t3")):
        stackae("init", *words, "--target", "y", "-o", f"{name}.yaml")
    for name in ("t2", "t3"):
        assert "86 training, 10 validation and 24 test rows" in stackae("plan", f"{name}.yaml")
    stackae("run", "t.yaml", "pretrain.epochs=1", "finetune.epochs=1", "tracking.wandb=disabled", "--quiet")

    def predicted(*words: str) -> pd.DataFrame:
        stackae("predict", "runs/t", *words, "-o", "found.csv", "--quiet")
        return pd.read_csv(tmp_path / "found.csv")

    found = predicted("t", "--keep", "part,y")
    assert found["part"].tolist() == sorted(FRAME["part"])
    assert set(found.loc[found["part"] == 1, "file"]) == {"t/part=1/city=a%2Fb/x.parquet"}
    assert found["row"].tolist() == [*range(1, 41)] * 3
    plain = predicted("t")
    assert plain.equals(found.drop(columns=["part", "y"]))
    assert predicted(glob).equals(plain)
    assert predicted("t/part=0", "t/part=1", "t/part=2").equals(plain)
    one = predicted("t/part=1/city=a%2Fb/x.parquet")
    assert one.equals(plain[40:80].drop(columns="file").reset_index(drop=True))
    assert "120 rows: accuracy" in stackae("evaluate", "runs/t", "t", "--quiet")

    for data, out in (("t", "t/found.csv"), ("t/*.csv", "t/found.csv")):
        shutil.copy(tmp_path / "found.csv", tmp_path / "t" / "found.csv")
        done = cli(["predict", "runs/t", data, "-o", out], tmp_path)
        assert done.returncode == 2
        assert "t/found.csv: is among the files that are read; name one elsewhere" in done.stderr
