"""Fitted scikit-learn objects on disk: nothing that is read runs code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stackae.errors import ArtifactError

FITTED = "preprocessing.skops"
"""The file in a model folder that holds what was fitted."""

_TYPES = {
    "builtins.dict",
    "builtins.list",
    "builtins.slice",
    "builtins.str",
    "builtins.tuple",
    "numpy.dtype",
    "numpy.float32",
    "numpy.float64",
    "numpy.ndarray",
    "sklearn.compose._column_transformer.ColumnTransformer",
    "sklearn.impute._base.MissingIndicator",
    "sklearn.impute._base.SimpleImputer",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing._data.MinMaxScaler",
    "sklearn.preprocessing._data.QuantileTransformer",
    "sklearn.preprocessing._data.StandardScaler",
    "sklearn.preprocessing._encoders.OneHotEncoder",
}
"""The types in our files. skops itself trusts far more, as every estimator and function of scikit-learn."""

_LOADERS = {
    "DTypeNode",
    "DictNode",
    "JsonNode",
    "ListNode",
    "NdArrayNode",
    "ObjectNode",
    "SliceNode",
    "TupleNode",
    "TypeNode",
}
"""The loaders by which skops may build them: none of these calls a function that the file names."""


def save_fitted(fitted: Any, path: Path) -> None:
    """Write a fitted scikit-learn object in the format of skops."""
    import skops.io

    skops.io.dump(fitted, path)


def load_fitted(path: Path) -> Any:
    """Read what `save_fitted` wrote; ArtifactError where it is missing, damaged, or holds any other type."""
    import skops.io

    try:
        content = path.read_bytes()
        foreign = _type_names(content) - _TYPES - _LOADERS
        fitted = None if foreign else skops.io.loads(content, trusted=["numpy.dtype"])
        if fitted is not None:
            # What earlier versions wrote leaves it to the caller's set_config.
            fitted.set_output(transform="default")
    except Exception as fault:  # whatever a damaged file makes skops do
        raise ArtifactError(
            f"{path}: damaged or missing ({type(fault).__name__}); run the config again"
        ) from None
    if foreign:
        raise ArtifactError(
            f"{path}: holds '{min(foreign)}', which is no part of a preprocessing and is not loaded; "
            "run the config again"
        )
    return fitted


def _type_names(content: bytes) -> set[str]:
    """List the names of all types and loaders in a file; ValueError where it needs more memory than disk."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        if any(member.compress_type != zipfile.ZIP_STORED for member in file.infolist()):
            raise ValueError("compressed")
        return set(_types(json.loads(file.read("schema.json"))))


def _types(node: Any) -> Iterator[str]:
    """Yield the full names of all types in a file's schema, and the names of their loaders."""
    if isinstance(node, dict):
        if "__loader__" in node or "__class__" in node or "__module__" in node:
            yield f"{node.get('__module__')}.{node.get('__class__')}"
            yield str(node.get("__loader__"))
        for part in node.values():
            yield from _types(part)
    elif isinstance(node, list):
        for part in node:
            yield from _types(part)
