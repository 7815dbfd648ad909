"""The rows, as an array or a DataFrame, and the labels that users of scikit-learn pass in, checked."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from stackae.data.tables.cells import Reading
from stackae.data.tables.columns import Column
from stackae.data.tables.frames import as_batch, is_frame, unsupported
from stackae.data.tables.normalised import normalise
from stackae.estimator.messages import as_value_errors

Codes = npt.NDArray[np.int64]
"""The number of each row's class, -1 where it has no label."""

_NUMBERS = (np.float64, np.float32)
_NO_LABEL = ("-1", "-1.0", "b'-1'")
"""What stands for no label, as a string."""
_TWO_CLASSES = ({"-1", "1"}, {"-1.0", "1.0"}, {"b'-1'", "b'1'"})
"""Labels, as strings, of which -1 is a class."""


def check_rows(estimator: Any, x: Any) -> Any:
    """Check rows to learn from; return an array (rows, features), or a DataFrame if not all are numbers.

    Sets the estimator's `n_features_in_` and, where columns have names, its `feature_names_in_`. Raises
    `ValueError` or `TypeError` where rows are none of these, or fewer than two.
    """
    x = _as_pandas(x)
    if not _is_table(x):
        checked = validate_data(estimator, x, dtype=_NUMBERS, ensure_min_samples=2)
        # Rows that lack numbers may come later, as in the other folds of a cross-validation.
        estimator._medians = np.median(checked, axis=0) if _is_frame(x) else None
        return checked
    validate_data(estimator, x, skip_check_array=True)
    if not hasattr(estimator, "feature_names_in_"):
        raise ValueError("X has columns whose names are not strings; rename them, as X.rename(columns=str)")
    if len(x) < 2:
        raise ValueError(f"X has {len(x)} sample(s), but at least 2 are needed")
    return x


def check_new_rows(estimator: Any, x: Any, *, table: bool) -> Any:
    """Check and return rows for a fitted estimator, of the same features as those that it learnt from."""
    x = _as_pandas(x)
    if not table:
        if estimator._medians is None or not _is_table(x):
            return validate_data(estimator, x, dtype=_NUMBERS, reset=False)
        validate_data(estimator, x, reset=False, skip_check_array=True)
        numbers = _numbers(x)
        return check_array(np.where(np.isnan(numbers), estimator._medians, numbers))
    validate_data(estimator, x, reset=False, skip_check_array=True)
    if not _is_frame(x):
        import pandas as pd

        x = pd.DataFrame(np.asarray(x, dtype=object), columns=estimator.feature_names_in_)
    return x


def number_labels(y: Any) -> tuple[npt.NDArray[Any], Codes]:
    """Return the classes, sorted, and the number of each row's class, -1 where it has no label.

    No label: -1, also as a string, unless -1 and 1 are all there is; '' among strings; None and NaN in an
    array of objects or of pandas. Raises `ValueError` where labels are none of a classifier, or of fewer than
    two classes.
    """
    if hasattr(y, "isna") and np.any(y.isna()):
        # Without a label in pandas, whose integers would become numbers of which some are NaN.
        y = np.asarray(y, dtype=object)
    y = column_or_1d(y, warn=True)
    labelled = _is_labelled(y)
    labels = y[labelled]
    if labels.dtype.kind == "O" and (numbers := np.array(labels.tolist())).dtype.kind in "biuf":
        # scikit-learn takes numbers for labels only where no string is among them.
        labels = numbers
    check_classification_targets(labels)
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        problem = f"one class only ({classes[0]})" if len(classes) else "no label"
        raise ValueError(f"y has {problem}; a classifier needs rows of at least two classes")
    codes = np.full(len(y), -1, np.int64)
    codes[labelled] = indices
    return classes, codes


def write_training_files(folder: Path, x: Any, y: Codes | None) -> dict[str, Any]:
    """Write rows and classes to files in a folder; return the settings of `data` that read them."""
    if isinstance(x, np.ndarray):
        np.save(folder / "X.npy", x)
        if y is None:
            return {"source": str(folder / "X.npy")}
        np.save(folder / "y.npy", y)
        return {"source": str(folder / "X.npy"), "target": str(folder / "y.npy")}
    import pyarrow as pa
    import pyarrow.parquet as pq

    batch = as_batch(x)
    dropped = unsupported(batch)
    for name, type_ in dropped.items():
        warnings.warn(
            f"X: column '{name}' is not used: its cells are of type {type_}, which are neither "
            "strings nor numbers nor times",
            stacklevel=2,
        )
    of_categories = {
        name for name, type_ in zip(batch.schema.names, x.dtypes, strict=True) if type_ == "category"
    }
    settings: dict[str, Any] = {
        "source": str(folder / "X.parquet"),
        "types": dict.fromkeys(sorted(of_categories - set(dropped)), "categorical"),
    }
    columns = {name: batch.column(name) for name in batch.schema.names if name not in dropped}
    if y is not None:
        settings["target"] = "y" + "_" * max(map(len, batch.schema.names))  # no column has this name
        columns[settings["target"]] = pa.array([str(code) if code >= 0 else None for code in y], pa.string())
    pq.write_table(pa.table(columns), folder / "X.parquet")
    return settings


def _is_frame(x: Any) -> bool:
    if not hasattr(x, "dtypes") or not hasattr(x, "columns"):
        return False
    import pandas as pd

    return isinstance(x, pd.DataFrame) and x.shape[1] > 0


def _is_table(x: Any) -> bool:
    return _is_frame(x) and (not _is_numeric(x) or bool(x.isna().to_numpy().any()))


def _is_numeric(frame: Any) -> bool:
    import pandas as pd

    return all(pd.api.types.is_numeric_dtype(type_) for type_ in frame.dtypes)


def _as_pandas(x: Any) -> Any:
    """Return a frame of Polars or of Arrow as one of pandas, whose cells are the same; all else as it is."""
    return as_batch(x).to_pandas() if is_frame(x) and not _is_frame(x) and not hasattr(x, "iloc") else x


def _numbers(frame: Any) -> npt.NDArray[np.float64]:
    """Return the cells of a frame as numbers, NaN where one is missing; ValueError where one is none."""
    batch = as_batch(frame)
    columns = [Column(name, "numeric", 0, 0, None, None, None) for name in batch.schema.names]
    with as_value_errors():
        rows = normalise(batch, columns, Reading())
    return np.column_stack([rows.numbers(column.name) for column in columns])


def _is_labelled(y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if y.dtype.kind in "OUS":
        import pandas as pd

        present = np.array([not pd.isna(label) and label not in ("", b"") for label in y], bool)
        marked = np.array([str(label) in _NO_LABEL for label in y], bool)
    else:
        assert_all_finite(y, input_name="y")
        present, marked = np.ones(len(y), bool), y == -1
    distinct = np.unique(y[present].astype(str) if y.dtype.kind == "O" else y[present])
    has_two_classes = {str(label) for label in distinct} in _TWO_CLASSES
    return present if has_two_classes else present & ~marked
