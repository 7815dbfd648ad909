"""Labels of images in a table: which rows are of which files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stackae.config import DataConfig
from stackae.data.read import Source, read_source
from stackae.errors import DataError

FILES = ("1.png", "2.png", "sub/3.png", "sub/4.png")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts each test in a folder with four images in `pictures`, two of them below `pictures/sub`."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(FILES):
        draw(Path("pictures", name), number)


def draw(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), grey, np.uint8)).save(path)


def read(table: str, at: str = "labels.csv", **words: Any) -> Source:
    Path(at).parent.mkdir(exist_ok=True)
    Path(at).write_text(table)
    return read_source(DataConfig.model_validate({"source": "pictures", "target": at} | words))


def refused(table: str, **words: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(table, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels(source: Source) -> list[str | None]:
    """Each image's label, in the order of FILES."""
    greys = np.asarray(source.all.take(np.arange(len(source.all))))[:, 0, 0]
    found = dict(zip(greys.tolist(), source.labels.tolist(), strict=True))
    return [source.classes[found[grey]] if found[grey] >= 0 else None for grey in sorted(found)]


@pytest.mark.parametrize(
    "name",
    [
        str,  # below the images' folder
        "pictures/{}".format,  # below the table's folder, and the current one
        "./pictures/{}".format,
        lambda file: file.replace("/", "\\"),
        lambda file: Path(file).name,
        lambda file: Path(file).stem,
        lambda file: file.removesuffix(".png"),
        lambda file: f'"  {file}"',
    ],
)
def test_cells_name_files_in_any_plain_way(name: Any) -> None:
    rows = [f"{name(file)},{label}\n" for file, label in zip(FILES, "abab", strict=True)]
    assert labels(read("file,label\n" + "".join(reversed(rows)))) == ["a", "b", "a", "b"]
    assert labels(
        read("kind,image\n" + "".join(",".join(row.strip().split(",")[::-1]) + "\n" for row in rows))
    ) == [
        "a",
        "b",
        "a",
        "b",
    ]


def test_paths_start_at_the_table_or_at_the_current_folder() -> None:
    for start in ("../pictures", "pictures"):
        rows = "".join(f"{start}/{file},{label}\n" for file, label in zip(FILES, "abba", strict=True))
        assert labels(read("file,label\n" + rows, "tables/labels.csv")) == ["a", "b", "b", "a"]


def test_an_empty_label_is_none_and_numbers_are_classes() -> None:
    source = read("file,label\n1.png,10\n2.png,9.0\nsub/3.png,\nsub/4.png,NA\n")
    assert (labels(source), source.classes) == (["10", "9", None, None], ("9", "10"))


def test_a_file_may_be_called_like_a_missing_value() -> None:
    draw(Path("pictures/NA.png"), 4)
    source = read("id,label\n1,a\n2,b\n3,a\n4,b\nNA,a\n")
    assert labels(source) == ["a", "b", "a", "b", "a"]


def test_of_several_other_columns_that_called_label_is_taken() -> None:
    rows = "file,width,Label\n1.png,4,a\n2.png,4,b\nsub/3.png,4,a\nsub/4.png,4,b\n"
    assert labels(read(rows)) == ["a", "b", "a", "b"]
    assert "labels.csv: any of the columns 'width', 'kind' may be the labels; call theirs 'label'" in refused(
        rows.replace("Label", "kind")
    )


def test_separator_and_names_are_those_of_other_tables() -> None:
    rows = "1.png;a\n2.png;b\nsub/3.png;a\nsub/4.png;b\n"
    assert labels(read(rows, columns=["file", "kind"])) == ["a", "b", "a", "b"]
    assert "the first line is of '1.png' and no header" in refused(rows)


def test_test_images_have_rows_in_the_same_table() -> None:
    draw(Path("tests/1.png"), 4)
    draw(Path("tests/5.png"), 5)
    rows = "pictures/1.png,a\npictures/2.png,b\npictures/sub/3.png,a\npictures/sub/4.png,b\n"
    source = read(f"file,label\ntests/5.png,b\n{rows}tests/1.png,a\n", test="tests")
    assert labels(source) == ["a", "b", "a", "b", "a", "b"]
    assert source.test is not None
    assert len(source.test) == 2
    says = refused(f"file,label\n{rows}", test="tests")
    assert says.startswith("data.test: 'tests' has no labels (no row in 'labels.csv')")
    assert "data.unlabelled" in says
    assert "predict" in says
    assert "labels.csv: has no row for 'tests/5.png'; add one" in refused(
        f"file,label\n{rows}tests/1.png,a\n", test="tests"
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("file,label\n1.png,a\n2.png,b\n", "has no row for 'pictures/sub/3.png' and 1 more; add one"),
        (
            "file,label\n1.png,a\n2.png,b\nsub/3.png,a\nsub/4.png,b\n5.png,a\n6.png,a\n",
            "data row 5 is of '5.png', which is no image in 'pictures' (and 1 more rows like it); leave",
        ),
        (
            "file,label\n1.png,a\n2.png,b\n1.png,a\n",
            "data rows 1 and 3 are both of 'pictures/1.png'; leave one out",
        ),
        ("file,label\nx.png,a\n", "no column has the names of the images in 'pictures', such as '1.png'"),
        ("file\n1.png\n2.png\n", "has no column beside 'file'; add one with the labels"),
        ("file,file\n1.png,a\n", "several columns are called 'file'"),
        ("file,label\n1.png,\n2.png,\nsub/3.png,\nsub/4.png,\n", "no label in any row; remove data.target"),
        ("file,label\n1.png,a\n2.png,a\n3.png,a\n4.png,a\n", "has one class only (a)"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table: str, says: str) -> None:
    message = refused(table)
    assert message.startswith("labels.csv: ")
    assert says in message


def test_a_name_of_several_files_is_refused() -> None:
    draw(Path("pictures/sub/1.png"), 5)
    says = refused("file,label\n1.png,a\n2.png,b\n3.png,a\n4.png,b\n")
    assert "data row 1 is of '1.png', which several images are called" in says


def test_a_column_s_name_is_no_file() -> None:
    with pytest.raises(DataError, match=r"data\.target: there is no file 'label'; for images it is"):
        read_source(DataConfig(source="pictures", target="label"))


def test_names_of_folders_are_no_labels_then() -> None:
    source = read("file,label\n1.png,a\n2.png,b\nsub/3.png,\nsub/4.png,\n")
    assert source.classes == ("a", "b")
