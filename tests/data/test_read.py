"""Sources: what each one holds, and what is refused at the door."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY

from stackae.config import DataConfig
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.read import Source, read_source
from stackae.errors import DataError

X = np.random.default_rng(0).normal(size=(6, 4))
Y = np.array([0, 1, 2, 0, 1, 2])


def npz(folder: Path, **arrays: Any) -> str:
    path = folder / "some.npz"
    np.savez(path, **arrays)
    return str(path)


def read(folder: Path, **arrays: Any) -> Source:
    return read_source(DataConfig(source=npz(folder, **arrays)))


def rows(source: Source) -> np.ndarray:
    """All rows but the test rows, as they lie in the file."""
    return np.asarray(source.rows.take(np.arange(len(source.rows))))


def published(source: Source) -> np.ndarray:
    assert source.test is not None
    return np.asarray(source.test.take(np.arange(len(source.test))))


def seen(source: Source) -> Preprocessing:
    """What the network sees of the rows."""
    return source.preprocessing(np.arange(len(source.rows)))


def refused(source: Any, **words: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_source(DataConfig.model_validate({"source": source} | words))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_digits() -> None:
    source = read_source(DataConfig())
    assert source.name == "digits"
    assert rows(source).shape == (1797, 8, 8)
    assert rows(source).max() == 16
    made = seen(source)
    assert (made.shape, made.low, made.high) == ((8, 8), 0, 1)
    np.testing.assert_array_equal(made(rows(source)), rows(source) / 16)
    assert source.classes == tuple("0123456789")
    assert source.y is not None
    assert set(source.y) == set(range(10))
    assert source.test is None
    assert source.y_test is None


def test_mnist_lies_below_the_root(tmp_path: Path) -> None:
    images = np.arange(4 * 2 * 2, dtype=np.uint8).reshape(4, 2, 2)
    for part in ("train", "t10k"):
        head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in images.shape)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x04" + bytes([7, 0, 9, 7]))
    source = read_source(DataConfig(source="mnist", root=str(tmp_path)))
    np.testing.assert_array_equal(rows(source), images)
    np.testing.assert_array_equal(published(source), images)
    assert source.y is not None
    assert source.y.tolist() == [7, 0, 9, 7]
    assert len(source.classes) == 10
    assert (seen(source)(images) == (images / np.float32(255)).astype(np.float32)).all()
    assert source.y_test is not None


@pytest.mark.skipif(
    "STACKAE_DATA" not in os.environ, reason="STACKAE_DATA does not name the folder of real data"
)
def test_fashion_mnist_has_its_classes_names() -> None:
    source = read_source(DataConfig(source="fashion_mnist"))
    assert source.classes[9] == "Ankle boot"
    assert source.y is not None
    x = rows(source)
    brightness = {name: x[source.y == c].mean() for c, name in enumerate(source.classes)}
    assert min(brightness, key=brightness.__getitem__) == "Sandal"  # a sandal covers the fewest pixels


# ---- .npz: what is accepted


def test_npz_with_everything(tmp_path: Path) -> None:
    source = read(tmp_path, x=X, y=Y, x_test=X[:2] + 1, y_test=np.array([2, 0]))
    np.testing.assert_array_equal(rows(source), X)
    np.testing.assert_array_equal(published(source), X[:2] + 1)
    assert source.y is not None
    assert source.y_test is not None
    assert (source.y.tolist(), source.y_test.tolist()) == ([0, 1, 2, 0, 1, 2], [2, 0])
    assert source.y.dtype == source.y_test.dtype == np.int64
    assert (source.name, source.classes) == ("some", ("0", "1", "2"))


def test_npz_without_labels(tmp_path: Path) -> None:
    source = read(tmp_path, x=X, x_test=X[:2])
    assert (source.y, source.y_test, source.classes) == (None, None, ())
    assert len(published(source)) == 2


@pytest.mark.parametrize(
    ("stored", "like", "scale"),
    [
        ("uint8", "uint8", 255),
        ("int64", "float32", 1),
        ("bool", "float32", 1),
        ("float16", "float16", 1),
        ("float32", "float32", 1),
        (">f8", "float64", 1),
        ("longdouble", "float64", 1),
    ],
)
def test_npz_number_types(tmp_path: Path, stored: str, like: str, scale: float) -> None:
    x = (np.arange(24).reshape(6, 4) % 2).astype(stored)
    source = read(tmp_path, x=x, x_test=x)
    made = seen(source)(rows(source))
    assert made.dtype == np.float32
    assert made.dtype.isnative, "torch refuses foreign byte orders"
    np.testing.assert_array_equal(made, (x.astype(float) / scale).astype(np.float32))
    assert source.fingerprint == read(tmp_path, x=x.astype(like), x_test=x.astype(like)).fingerprint


# ---- .npz: what is refused


def with_nan(*places: tuple[int, int]) -> np.ndarray:
    x = X.copy()
    for place in places:
        x[place] = np.nan
    return x


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": Y}, "there is no array 'x'"),
        ({"x": X, "Y": Y}, "unknown array 'Y'; did you mean 'y'?"),
        ({"x": X, "x_tst": X}, "unknown array 'x_tst'; did you mean 'x_test'?"),
        ({"x": X, "names": Y}, "unknown array 'names'; only x, y, x_test, y_test are read"),
        ({"x": X, "y": Y[:5]}, "y has shape (5,), but x has 6 rows"),
        ({"x": X, "y": Y[:, None]}, "y has shape (6, 1), but x has 6 rows"),
        ({"x": X, "y": Y, "x_test": X}, "no array 'y_test' to go with 'x_test'"),
        ({"x": X, "y": Y, "y_test": Y}, "'y_test' needs both 'y' and 'x_test'"),
        ({"x": X, "x_test": X, "y_test": Y}, "'y_test' needs both 'y' and 'x_test'"),
        ({"x": X, "y": Y, "x_test": X, "y_test": Y[:5]}, "y_test has shape (5,), but x_test has 6 rows"),
        ({"x": X, "x_test": X[:, :3]}, "x_test has rows of shape (3,), but x of (4,)"),
        ({"x": X, "x_test": X.astype(np.uint8)}, "x is float64, but x_test uint8; save both alike"),
        ({"x": X[:0]}, "x has no rows (shape (0, 4))"),
        ({"x": X[:, :0]}, "x has shape (6, 0)"),
        ({"x": X[0]}, "x has shape (4,)"),
        ({"x": X.astype(str)}, "numbers are needed"),
        ({"x": X + 1j}, "x is complex128; numbers are needed"),
        ({"x": X.astype(object)}, "x holds Python objects"),
        (
            {"x": X, "y": Y.astype(object)},
            "y holds Python objects, which are never loaded; save numbers, or str",
        ),
        (
            {"x": with_nan((4, 0), (2, 1), (2, 3))},
            "x has 3 values that are NaN or infinite, the first in row 2;",
        ),
        ({"x": X, "x_test": with_nan((1, 1)) * np.inf}, "x_test has 24 values that are NaN or infinite"),
        ({"x": np.where(np.isclose(X, X[3, 2]), 1e39, X)}, "x has values beyond 3.4e38, the first in row 3"),
        ({"x": X, "y": Y * 0 + 7}, "y has one class only (7)"),
        ({"x": X, "y": Y * 0 - 1}, "y has no label in any row"),
        ({"x": X, "y": np.array([0, 1, -2, 0, 1, 1])}, "y has the label -2 (row 2)"),
        ({"x": X, "y": Y + 0.5}, "y has the label 0.5 (row 0)"),
        ({"x": X, "y": np.array([0, 1, 2, 0, 1, np.inf])}, "y has the label inf (row 5)"),
        ({"x": X, "y": Y.astype("S")}, "integers or strings are needed, as y.astype(str)"),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y + 1},
            "y_test has the label '3' (row 2), which never occurs in y",
        ),
        (
            {"x": X, "y": Y, "x_test": X, "y_test": Y.astype(str)},
            "y is int64, but y_test <U21; save both alike",
        ),
    ],
)
def test_npz_faults_are_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    source = npz(tmp_path, **arrays)
    message = refused(source)
    assert message.startswith(f"{source}: ")
    assert says in message


def test_damaged_npz_files_are_one_line(tmp_path: Path) -> None:
    source = npz(tmp_path, x=X, y=Y)
    whole = Path(source).read_bytes()
    Path(source).write_bytes(whole[: len(whole) // 2])
    assert "not an .npz file" in refused(source)
    flipped = bytearray(whole)
    flipped[whole.index(X.tobytes())] ^= 1
    Path(source).write_bytes(flipped)
    assert "x cannot be read (Bad CRC-32" in refused(source)
    np.save(tmp_path / "alone.npy", X)
    (tmp_path / "alone.npy").rename(tmp_path / "alone.npz")
    assert "not an .npz file" in refused(str(tmp_path / "alone.npz"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("mnsit", "data.source: unknown source 'mnsit'; did you mean 'mnist'?"),
        ("Fashion-MNIST", "unknown source 'Fashion-MNIST'; did you mean 'fashion_mnist'?"),
        (
            "imagenet",
            "unknown source 'imagenet'; give a file's or folder's path, or one of digits, mnist, fashion",
        ),
        ("digits.npz", "there is no file 'digits.npz'"),
        ("nowhere/data", "there is no file 'nowhere/data'"),
        ("README.md", "'README.md' has none of the endings .csv, "),
        ("tests/config_file", "the folder 'tests/config_file' has no images"),
    ],
)
def test_unknown_sources(source: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert says in refused(source)


@pytest.mark.parametrize(
    ("source", "words", "says"),
    [
        ("digits", {"target": "y"}, "data.target: has no meaning for the source 'digits'"),
        ("digits", {"test": "x.npz"}, "data.test: has no meaning for the source 'digits'"),
        ("some.npz", {"group": "who"}, "data.group: has no meaning for the source"),
        ("some.npz", {"image_size": (8, 8)}, "data.image_size: has no meaning for the source"),
        ("some.npz", {"target": "y"}, "data.target: an .npz file has its labels in its array 'y'"),
        ("some.npz", {"test": "some.csv"}, "data.test: 'some.csv' is of another form"),
        ("some.npz", {"unlabelled": "none.npz"}, "data.unlabelled: there is no file 'none.npz'"),
        (("some.npz", "some.csv"), {}, "data.source: 'some.npz' and others are of several forms"),
        (("some.npz", "some.npz"), {}, "of .npz files one each is read"),
        ("full.npz", {"test": "some.npz"}, "there is an 'x_test' in it already"),
    ],
)
def test_settings_that_do_not_fit_the_source(
    source: Any, words: dict[str, Any], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("some.npz", x=X, y=Y)
    np.savez("full.npz", x=X, y=Y, x_test=X, y_test=Y)
    Path("some.csv").write_text("a,b\n1,2\n")
    assert says in refused(source, **words)


def test_a_table_of_nothing_but_labels_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,y\nu,p\nv,q\nw,p\n")
    said = refused(str(tmp_path / "t.csv"), target="y")
    assert "t.csv: no column is left to learn from ('id' is dropped: identifier)" in said


def test_labels_that_are_no_file_are_said_to_be_none(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    said = refused(str(tmp_path / "x.npy"), target="label")
    assert said.startswith("data.target: there is no file 'label'; for .npy files it is the path")


# ---- beside the source


def test_other_files_give_the_test_part_and_extra_rows(tmp_path: Path) -> None:
    for name, x, y in (("own", X, Y), ("test", X[:3] + 1, Y[:3]), ("more", X[:2] + 2, Y[:2])):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    words = {"source": "own", "test": "test", "unlabelled": "more"}
    files = {name: str(tmp_path / f"{file}.npz") for name, file in words.items()}
    source = read_source(DataConfig.model_validate(files))
    np.testing.assert_array_equal(rows(source), np.concatenate([X, X[:2] + 2]))
    np.testing.assert_array_equal(published(source), X[:3] + 1)
    assert source.extra == 2
    assert source.labels.tolist() == [0, 1, 2, 0, 1, 2, -1, -1, 0, 1, 2]
    together = npz(tmp_path, x=X, y=Y, x_test=X[:3] + 1, y_test=Y[:3])
    alike = [read_source(DataConfig(source=together, unlabelled=files["unlabelled"])), source]
    assert alike[0].fingerprint == alike[1].fingerprint
    assert read_source(DataConfig(source=together)).fingerprint != source.fingerprint


@pytest.mark.parametrize("test", ["own.csv", "./own.csv", ["more.csv", "own.csv"]])
def test_the_test_part_is_none_of_the_source(
    test: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own.csv", "more.csv"):
        Path(name).write_text("a,b,y\n1,2,p\n3,5,q\n4,4,p\n")
    said = refused("own.csv", target="y", test=test)
    assert said.startswith("data.test: 'own.csv' is in data.source too")


# ---- scaling


@pytest.mark.parametrize("pool", [False, True])
def test_test_rows_count_for_the_range_only_where_they_are_pooled(pool: bool, tmp_path: Path) -> None:
    x = np.arange(24.0).reshape(6, 4)
    path = npz(tmp_path, x=x, x_test=-x)
    source = read_source(DataConfig.model_validate({"source": path, "split": {"pool": pool}}))
    made = source.preprocessing(np.arange(3))
    assert (made.low, made.high) == (-23 if pool else 0, 23)


def test_a_scaling_is_fitted_to_the_training_rows_alone(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(5, 3, (40, 2, 3))
    path = npz(tmp_path, x=x)
    source = read_source(DataConfig(source=path, scaling="standard"))
    train = np.arange(0, 40, 2)
    made = source.preprocessing(train)(x)
    expected = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    np.testing.assert_allclose(made, expected, atol=1e-5)
    plain = read_source(DataConfig(source=path))
    assert source.fingerprint != plain.fingerprint
    assert read_source(DataConfig(source=path, scaling="none")).fingerprint == plain.fingerprint


# ---- fingerprint


def test_fingerprint_is_of_content_not_of_path_or_compression(tmp_path: Path) -> None:
    first = read(tmp_path, x=X, y=Y).fingerprint
    (tmp_path / "elsewhere").mkdir()
    other = tmp_path / "elsewhere" / "other.npz"
    np.savez_compressed(other, y=Y, x=np.asfortranarray(X).astype(">f8"))
    assert read_source(DataConfig(source=str(other))).fingerprint == first
    assert len(bytes.fromhex(first)) == hashlib.sha256().digest_size


def test_fingerprint_tells_contents_apart(tmp_path: Path) -> None:
    eight_bit = (np.arange(24) % 2).astype(np.uint8).reshape(6, 4)
    changed = X.copy()
    changed[5, 3] = np.nextafter(changed[5, 3], 1)
    variants: list[dict[str, np.ndarray]] = [
        {"x": X, "y": Y},
        {"x": changed, "y": Y},
        {"x": X.astype(np.float32), "y": Y},
        {"x": X.reshape(6, 2, 2), "y": Y},
        {"x": X, "y": Y[::-1]},
        {"x": X},
        {"x": X, "x_test": X},
        {"x": X, "y": Y, "x_test": X, "y_test": Y},
        {"x": eight_bit},
        {"x": eight_bit.astype(np.float32)},
    ]
    assert len({read(tmp_path, **arrays).fingerprint for arrays in variants}) == len(variants)


def test_reading_an_npz_file_loads_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys; from stackae.config import DataConfig; from stackae.data.read import read_source; "
        f"read_source(DataConfig(source={npz(tmp_path, x=X, y=Y)!r})); "
        "print({'torch', 'sklearn', 'pooch', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
