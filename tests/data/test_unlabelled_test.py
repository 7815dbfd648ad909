"""A `data.test` without labels: one line that names what it can be given to instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stackae.config import DataConfig
from stackae.data.read import read_source
from stackae.errors import DataError

X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.array([0, 1, 2, 0, 1, 2])


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": range(6), "c": [*"xyzxyz"]} | columns)


def csv(**columns: Any) -> dict[str, Any]:
    table(y=[*"ababab"]).to_csv("train.csv", index=False)
    table(**columns).to_csv("test.csv", index=False)
    return {"source": "train.csv", "test": "test.csv", "target": "y"}


def headerless(**columns: Any) -> dict[str, Any]:
    table(y=[*"ababab"]).to_csv("train.csv", index=False, header=False)
    table(**columns).to_csv("test.csv", index=False, header=False)
    return {"source": "train.csv", "test": "test.csv", "target": "y", "columns": ["a", "c", "y"]}


def parquet() -> dict[str, Any]:
    table(y=[*"ababab"]).to_parquet("train.parquet")
    table().to_parquet("test.parquet")
    return {"source": "train.parquet", "test": "test.parquet", "target": "y"}


def npz(**labels: Any) -> dict[str, Any]:
    np.savez("train.npz", x=X, y=Y)
    np.savez("test.npz", x=X, **labels)
    return {"source": "train.npz", "test": "test.npz"}


def npy(y: np.ndarray) -> dict[str, Any]:
    for name, array in (("train", X), ("test", X), ("y", y)):
        np.save(f"{name}.npy", array)
    return {"source": "train.npy", "test": "test.npy", "target": "y.npy"}


def images(test: str = "test") -> dict[str, Any]:
    for number, name in enumerate(("train/a/1", "train/b/1", f"{test}/1", f"{test}/2")):
        path = Path(f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    return {"source": "train", "test": "test"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (csv, "no column 'y'"),
        (lambda: csv(y=[""] * 6), "no row has one"),
        (headerless, "no column 'y'"),
        (lambda: headerless(y=[""] * 6), "no row has one"),
        (parquet, "no column 'y'"),
        (npz, "no array 'y'"),
        (lambda: npz(y=Y * 0 - 1), "no row has one"),
        (lambda: npy(Y), "after those of data.source there are none in 'y.npy'"),
        (images, "no row has one"),
    ],
)
def test_it_is_one_line_with_both_remedies(
    data: Callable[[], dict[str, Any]], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = data()

    with pytest.raises(DataError) as caught:
        read_source(DataConfig.model_validate(words))

    assert str(caught.value) == (
        f"data.test: '{words['test']}' has no labels ({why}), and nothing can be tested without; name it in "
        "data.unlabelled to pretrain on its rows, and give it to 'stackae predict' for their classes"
    )
    # The remedy works.
    source = read_source(DataConfig.model_validate(words | {"test": None, "unlabelled": words["test"]}))
    assert source.extra == len(source.rows) // 2


def test_a_target_that_is_misspelt_is_told_from_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = csv(Y=[*"ababab"])
    with pytest.raises(DataError, match=r"test\.csv has no column 'y'; did you mean 'Y'\?"):
        read_source(DataConfig.model_validate(words))


def test_without_labels_to_learn_from_none_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = csv() | {"target": None, "drop": ["y"]}
    assert len(read_source(DataConfig.model_validate(words)).all) == 12


def test_labels_of_arrays_may_say_that_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = npy(np.append(Y, Y * 0 - 1))
    with pytest.raises(DataError, match=r"^data\.test: 'test\.npy' has no labels \(no row has one\)"):
        read_source(DataConfig.model_validate(words))


def test_an_x_test_of_the_file_itself_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y, x_test=X, y_test=Y * 0 - 1)
    with pytest.raises(DataError, match=r"a\.npz: x_test has no labels \(no row has one\)"):
        read_source(DataConfig(source=str(tmp_path / "a.npz")))
