"""Preprocessing of arrays, and that of both kinds on disk: it comes back as it was, or not at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from test_table_preprocessing import FRAME, SETTINGS, fitted, made

from stackae.data.preprocessing.categories import Categories
from stackae.data.preprocessing.load import load_preprocessing
from stackae.data.preprocessing.scaling import Scaling, fit_scaling
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.errors import ArtifactError

# ---- arrays

IMAGES = np.random.default_rng(0).integers(0, 200, (300, 3, 4)).astype(np.uint8)


def test_arrays_are_divided_and_come_back() -> None:
    scaling = Scaling((3, 4), 255.0, 0.0, 1.0)
    np.testing.assert_array_equal(scaling(IMAGES), IMAGES.astype(np.float32) / np.float32(255))
    np.testing.assert_allclose(scaling.inverse(scaling(IMAGES)), IMAGES, rtol=1e-6)
    assert scaling.names()[:5] == ["0,0", "0,1", "0,2", "0,3", "1,0"]


def test_fitted_scaling_scales_each_feature_on_its_own_and_keeps_the_shape() -> None:
    fitted_scaling = fit_scaling(IMAGES[:200], "standard")
    expected = (IMAGES - IMAGES[:200].mean(0)) / IMAGES[:200].std(0)
    np.testing.assert_allclose(fitted_scaling(IMAGES), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted_scaling.inverse(fitted_scaling(IMAGES)), IMAGES, rtol=1e-4, atol=1e-4)
    assert (fitted_scaling.low, fitted_scaling.high) == pytest.approx(
        (expected[:200].min(), expected[:200].max())
    )
    minmax = fit_scaling(IMAGES[:200], "minmax")
    assert (minmax.low, minmax.high) == (0, 1)
    assert minmax(IMAGES.astype(np.float32) + 1000).max() == 1


# ---- on disk


def again(preprocessing: Any, folder: Path) -> Any:
    """Saved and loaded, by way of JSON text."""
    return load_preprocessing(folder, json.loads(json.dumps(preprocessing.save(folder), allow_nan=False)))


@pytest.mark.parametrize("words", SETTINGS, ids=str)
def test_a_table_preprocessing_comes_back_from_disk_as_it_was(words: dict[str, Any], tmp_path: Path) -> None:
    preprocessing = fitted(**words)
    loaded = again(preprocessing, tmp_path)
    other = made(seed=1).assign(job="never seen")
    for frame in (preprocessing.read(FRAME), preprocessing.read(other)):
        np.testing.assert_array_equal(loaded(frame), preprocessing(frame))
        np.testing.assert_array_equal(loaded.unseen(frame), preprocessing.unseen(frame))
        np.testing.assert_array_equal(loaded.outside(frame), preprocessing.outside(frame))
    assert loaded.names() == preprocessing.names()
    assert loaded.blocks == preprocessing.blocks
    assert loaded.columns == preprocessing.columns
    assert (loaded.low, loaded.high) == (preprocessing.low, preprocessing.high)


@pytest.mark.parametrize("scaling", ["none", "standard", "minmax", "quantile"])
def test_array_preprocessing_comes_back_from_disk_as_it_was(scaling: str, tmp_path: Path) -> None:
    made = Scaling((3, 4), 255.0, 0.0, 0.8) if scaling == "none" else fit_scaling(IMAGES, scaling)
    loaded = again(made, tmp_path)
    np.testing.assert_array_equal(loaded(IMAGES), made(IMAGES))
    assert (loaded.shape, loaded.low, loaded.high) == (made.shape, made.low, made.high)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], **words: Any) -> None:
    """Changes the schema of a file of skops, in place."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(members["schema.json"])
    change(schema)
    members["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w", **words) as file:
        for name, content in members.items():
            file.writestr(name, content)


def hidden(node: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Puts a node among the attributes of the saved object."""
    return lambda schema: schema["content"]["content"].update(verbose=node)


def calls(module: str, name: str, argument: str) -> dict[str, Any]:
    """A node that calls a class with a text."""
    text = {
        "__class__": "str",
        "__module__": "builtins",
        "__loader__": "JsonNode",
        "content": json.dumps(argument),
    }
    arguments = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [text]}
    return {
        "__class__": name,
        "__module__": module,
        "__loader__": "ConstructorFromReduceNode",
        "content": arguments,
    }


def test_a_file_that_would_run_code_is_refused_before_it_does(tmp_path: Path) -> None:
    described = fitted().save(tmp_path)
    path, mark = tmp_path / "preprocessing.skops", tmp_path / "it-ran"
    rewritten(path, hidden(calls("logging", "FileHandler", str(mark))))
    with pytest.raises(ArtifactError, match=r"FileHandler|ConstructorFromReduceNode") as caught:
        load_preprocessing(tmp_path, described)
    assert len(str(caught.value).splitlines()) == 1
    assert not mark.exists()
    # The payload is a real one: trusted, it does what it says.
    skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    assert mark.exists()


@pytest.mark.parametrize(
    "node",
    [
        calls("builtins", "str", "one of our types, built by a call"),
        {"__class__": "FunctionTransformer", "__module__": "sklearn.preprocessing._function_transformer"}
        | {"__loader__": "ObjectNode"},
        {"__class__": "add", "__module__": "numpy", "__loader__": "FunctionNode", "content": "numpy.add"},
    ],
    ids=["a call", "an estimator", "a function"],
)
def test_what_skops_itself_would_trust_is_refused_where_we_never_save_it(
    node: dict[str, Any], tmp_path: Path
) -> None:
    described = fitted().save(tmp_path)
    rewritten(tmp_path / "preprocessing.skops", hidden(node))
    with pytest.raises(ArtifactError, match="which is no part of a preprocessing"):
        load_preprocessing(tmp_path, described)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def packed(path: Path) -> None:
    rewritten(path, lambda schema: None, compression=zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        packed,
        Path.unlink,
        lambda path: path.write_bytes(b"nothing"),
        lambda path: rewritten(path, lambda schema: schema.pop("content")),
        lambda path: rewritten(path, lambda schema: schema["content"]["content"].pop("transformers_")),
    ],
    ids=["cut", "compressed", "missing", "no zip", "without content", "without its parts"],
)
def test_a_damaged_file_is_noticed(damage: Callable[[Path], object], tmp_path: Path) -> None:
    described = fitted().save(tmp_path)
    damage(tmp_path / "preprocessing.skops")
    with pytest.raises(ArtifactError, match="damaged") as caught:
        load_preprocessing(tmp_path, described)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [{"type": "other"}, {"range": None}, {"columns": []}, {"columns": [{"name": 1}]}, {"seen": "x"}],
    ids=str,
)
def test_a_damaged_description_is_noticed(change: dict[str, Any], tmp_path: Path) -> None:
    described = fitted().save(tmp_path)
    with pytest.raises(ArtifactError, match="damaged"):
        load_preprocessing(tmp_path, described | change)


def test_what_older_versions_saved_is_read_as_they_read_it(tmp_path: Path) -> None:
    preprocessing = fitted()
    described = preprocessing.save(tmp_path)
    # They did not say how cells are read, and had categories in the spelling of their files.
    del described["cycles"], described["reading"]
    loaded = load_preprocessing(tmp_path, described)
    assert isinstance(loaded, TablePreprocessing)
    np.testing.assert_array_equal(loaded(loaded.read(FRAME)), preprocessing(preprocessing.read(FRAME)))
    known = Categories("flag", ["flag=True", "flag=2.0"], ("True", "2.0"), np.array([0, 1, -1, -1]))
    assert known.find(pa.array(["true", "2", None, "x"])).tolist() == [0, 1, 2, 3]
