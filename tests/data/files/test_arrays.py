"""`.npy` files: mapped, joined, checked at the door, and their labels beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stackae.config import DataConfig
from stackae.data.read import Source, read_source
from stackae.errors import DataError

X = np.random.default_rng(0).normal(size=(5000, 2, 3)).astype(np.float32)
Y = np.arange(5000) % 3


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("y.npy", Y)
    np.save("more.npy", X)
    return tmp_path


def read(**words: Any) -> Source:
    return read_source(DataConfig.model_validate({"source": "x.npy"} | words))


def refused(**words: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(**words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_same_content_has_the_same_fingerprint_in_any_file(here: Path) -> None:
    np.savez("both.npz", x=X, y=Y)
    np.save("first.npy", np.asfortranarray(X[:1234]).astype(">f4"))
    np.save("last.npy", X[1234:])
    one = read(target="y.npy")
    for other in (read(source="both.npz"), read(source=("first.npy", "last.npy"), target="y.npy")):
        assert other.fingerprint == one.fingerprint
        assert other.labels.tolist() == Y.tolist()
        np.testing.assert_array_equal(other.rows.take(np.arange(5000)), X)
        chunks = list(other.rows.chunks())
        assert len(chunks) > 1
        np.testing.assert_array_equal(np.concatenate([raw for _, raw in chunks]), X)
        assert [first for first, _ in chunks] == np.cumsum([0, *(len(raw) for _, raw in chunks)])[
            :-1
        ].tolist()
    assert read().fingerprint != one.fingerprint


def test_one_file_of_labels_has_those_of_the_test_rows_last(here: Path) -> None:
    np.save("more.npy", X[:7])
    np.save("y.npy", np.array([*(Y.astype(str)), *"210", "", "2", "1", "0"]))
    source = read(test="more.npy", unlabelled="more.npy", target="y.npy")
    assert source.y_test is not None
    assert source.y_test.tolist() == [2, 1, 0, -1, 2, 1, 0]
    assert source.labels.tolist() == [*Y, *[-1] * 7, 2, 1, 0, -1, 2, 1, 0]
    assert len(source.all) == 5014


def test_what_cannot_be_learnt_from_is_named_with_its_row(here: Path) -> None:
    for row in (4000, 4999):
        x = X.copy()
        x[row, 1, 1] = np.nan
        np.save("x.npy", x)
        assert f"x.npy has 1 values that are NaN or infinite, the first in row {row:,};" in refused()
    x = X.astype(np.float64)
    x[3210, 0, 2] = -1e39
    np.save("x.npy", x)
    assert "x.npy has values beyond 3.4e38, the first in row 3,210" in refused()


@pytest.mark.parametrize(
    ("name", "array", "words", "says"),
    [
        ("y.npy", Y[:-1], {"target": "y.npy"}, "y.npy has shape (4999,), but there are 5,000 rows; give one"),
        (
            "y.npy",
            Y[:-1],
            {"target": "y.npy", "test": "more.npy"},
            "there are 5,000 rows and 5,000 for the test",
        ),
        ("y.npy", Y + 0.5, {"target": "y.npy"}, "y.npy has the label 0.5 (row 0)"),
        (
            "y.npy",
            Y * 0,
            {"target": "y.npy"},
            "one class only (0); at least two are needed, or remove data.target",
        ),
        (
            "z.npy",
            X[:, :1],
            {"source": ("x.npy", "z.npy")},
            "z.npy has rows of shape (1, 3), but x.npy of (2, 3)",
        ),
        (
            "z.npy",
            X.astype(np.uint8),
            {"test": "z.npy"},
            "x.npy is float32, but z.npy uint8; save both alike",
        ),
        ("z.npy", X[:0], {"source": "z.npy"}, "z.npy has no rows (shape (0, 2, 3))"),
        ("z.npy", X.astype(str), {"source": "z.npy"}, "z.npy is <U32; numbers are needed"),
        ("z.npy", Y, {"source": "z.npy"}, "z.npy has shape (5000,); (rows, features)"),
    ],
)
def test_faults_are_one_line(
    here: Path, name: str, array: np.ndarray, words: dict[str, Any], says: str
) -> None:
    np.save(name, array)
    assert says in refused(**words)


def test_files_that_are_no_arrays_are_one_line(here: Path) -> None:
    np.save("objects.npy", np.array([[1, None]], object), allow_pickle=True)
    assert "holds Python objects, which are never loaded" in refused(source="objects.npy")
    Path("text.npy").write_text("1,2,3\n" * 99)
    assert "text.npy: the array cannot be read (" in refused(source="text.npy")
    whole = Path("x.npy").read_bytes()
    Path("x.npy").write_bytes(whole[:-9])
    assert "x.npy: the array cannot be read (" in refused()
