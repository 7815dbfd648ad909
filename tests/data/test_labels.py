"""Labels: which classes they are, what these are called, and what is no class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_read import X, npz, read, refused

from stackae.config import DataConfig
from stackae.data.read import read_source


@pytest.mark.parametrize(
    ("y", "index", "classes"),
    [
        ([5, -1, 3, 5, 10, -1], [1, -1, 0, 1, 2, -1], ("3", "5", "10")),
        ([5.0, np.nan, 3.0, 5.0, 10.0, -1.0], [1, -1, 0, 1, 2, -1], ("3", "5", "10")),
        (["b", "", "a", "b", "Z", ""], [2, -1, 1, 2, 0, -1], ("Z", "a", "b")),
        ([True, False, True, True, False, False], [1, 0, 1, 1, 0, 0], ("0", "1")),
    ],
)
def test_npz_labels_become_indices_of_sorted_classes(
    tmp_path: Path, y: list[Any], index: list[int], classes: tuple[str, ...]
) -> None:
    source = read(tmp_path, x=X, y=np.array(y), x_test=X, y_test=np.array(y[::-1]))
    assert source.y is not None
    assert source.y_test is not None
    assert source.y.tolist() == index
    assert source.y_test.tolist() == index[::-1]
    assert source.classes == classes


def test_labels_get_other_names(tmp_path: Path) -> None:
    path = npz(tmp_path, x=X, y=np.array(["usual", "bad", "cold", "", "bad", "usual"]))
    source = read_source(DataConfig(source=path, classes={"usual": "z", "*": "rest"}))
    assert source.classes == ("rest", "z")
    assert source.labels.tolist() == [1, 0, 0, -1, 0, 1]
    assert "no row has the label 'usal'; did you mean 'usual'?" in refused(path, classes={"usal": "z"})
    assert "y has one class only (rest)" in refused(path, classes={"*": "rest"})


def test_a_table_s_target_has_labels(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,\n2,NA\n")
    says = refused(str(tmp_path / "t.csv"), target="y")
    assert says == "data.target 'y': data.source has no label in any row; remove data.target"


def test_classes_of_a_built_in_source_get_other_names() -> None:
    source = read_source(DataConfig(classes={"0": "none", "*": "some"}))
    plain = read_source(DataConfig())
    assert source.classes == ("none", "some")
    assert (source.labels == (plain.labels > 0)).all()
    assert source.fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(50),
        np.arange(50).astype(str),
        (np.arange(50) % 40 / 8).astype(str),
        np.arange(50) % 40 * 1000,
    ],
)
def test_a_quantity_is_no_class(labels: np.ndarray, tmp_path: Path) -> None:
    said = refused(npz(tmp_path, x=np.zeros((50, 2)), y=labels))
    assert f"y has {len(set(labels))} different values in 50 labelled rows, as quantities have" in said


def test_many_classes_of_few_rows_are_classes(tmp_path: Path) -> None:
    assert len(read(tmp_path, x=np.zeros((50, 2)), y=np.arange(50) % 25).classes) == 25
    assert len(read(tmp_path, x=np.zeros((50, 2)), y=np.arange(50) % 26).classes) == 26
    letters = np.array([*"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"ABCDEFGHIJKLM", *[""] * 61])
    assert len(read(tmp_path, x=np.zeros((100, 2)), y=letters).classes) == 26
    assert len(read(tmp_path, x=np.zeros((20, 2)), y=np.arange(20)).classes) == 20


@pytest.mark.parametrize(
    "y", [[-1, 1, 1, -1, 1, 1], [-1.0, 1.0, 1.0, -1.0, np.nan, 1.0]], ids=["int", "float"]
)
def test_minus_one_and_one_are_two_classes_where_they_are_all(tmp_path: Path, y: list[float]) -> None:
    source = read(tmp_path, x=X, y=np.array(y), x_test=X, y_test=np.ones(6))
    assert source.classes == ("-1", "1")
    assert source.y is not None
    assert source.y.tolist() == [-1 if label != label else int(label > 0) for label in y]
    assert source.y_test is not None
    assert source.y_test.tolist() == [1] * 6
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", np.array(y))
    files = DataConfig(source=str(tmp_path / "x.npy"), target=str(tmp_path / "y.npy"))
    assert read_source(files).labels.tolist() == source.y.tolist()
    rows = "".join(f"{row},{row % 3},{label}\n" for row, label in enumerate(y))
    (tmp_path / "t.csv").write_text("a,b,y\n" + rows)
    table = read_source(DataConfig(source=str(tmp_path / "t.csv"), target="y"))
    assert (table.classes, table.labels.tolist()) == (source.classes, source.y.tolist())


def test_without_the_other_class_minus_one_is_no_label(tmp_path: Path) -> None:
    assert "y has one class only (1)" in refused(npz(tmp_path, x=X, y=np.array([1, 1, 1, np.nan, 1, 1])))
    assert "y has no label in any row" in refused(npz(tmp_path, x=X, y=np.full(6, -1)))
