"""What users of scikit-learn give: rows as an array or a DataFrame, and labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

Codes = npt.NDArray[np.int64]
"""The number of each row's class, -1 where it has no label."""

_NUMBERS = (np.float64, np.float32)


def check_rows(estimator: Any, x: Any) -> Any:
    """Rows to learn from: an array (rows, features), or a DataFrame where not all of its cells are numbers.

    Sets the estimator's `n_features_in_` and, where columns have names, its `feature_names_in_`. Raises
    `ValueError` or `TypeError` where rows are none of these, or fewer than two.
    """
    if not _is_table(x):
        return validate_data(estimator, x, dtype=_NUMBERS, ensure_min_samples=2)
    validate_data(estimator, x, skip_check_array=True)
    if not hasattr(estimator, "feature_names_in_"):
        raise ValueError("X has columns whose names are no texts; rename them, as X.rename(columns=str)")
    if len(x) < 2:
        raise ValueError(f"X has {len(x)} sample(s), but at least 2 are needed")
    return _cells(x)


def check_more(estimator: Any, x: Any, *, table: bool) -> Any:
    """Rows for a fitted estimator, of the same features as those that it learnt from."""
    if not table:
        return validate_data(estimator, x, dtype=_NUMBERS, reset=False)
    validate_data(estimator, x, reset=False, skip_check_array=True)
    if not hasattr(x, "columns"):
        import pandas as pd

        x = pd.DataFrame(np.asarray(x, dtype=object), columns=estimator.feature_names_in_).infer_objects()
    return _cells(x)


def number_labels(y: Any) -> tuple[npt.NDArray[Any], Codes]:
    """The classes, sorted, and the number of each row's class.

    No label: -1 among numbers, unless -1 and 1 are all there is; in an array of objects -1, None, NaN and '';
    '' among texts. Raises `ValueError` where labels are none of a classifier, or of fewer than two classes.
    """
    y = column_or_1d(y, warn=True)
    known = _labelled(y)
    labels = y[known]
    if labels.dtype.kind == "O" and (numbers := np.array(labels.tolist())).dtype.kind in "biuf":
        # scikit-learn takes numbers for labels only where no text is among them.
        labels = numbers
    check_classification_targets(labels)
    classes, numbered = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        found = f"one class only ({classes[0]})" if len(classes) else "no label"
        raise ValueError(f"y has {found}; a classifier needs rows of at least two classes")
    codes = np.full(len(y), -1, np.int64)
    codes[known] = numbered
    return classes, codes


def write_rows(folder: Path, x: Any, y: Codes | None) -> dict[str, Any]:
    """Writes rows and classes to files in a folder; what of a config's `data` says how to read them."""
    if isinstance(x, np.ndarray):
        np.save(folder / "X.npy", x)
        if y is None:
            return {"source": str(folder / "X.npy")}
        np.save(folder / "y.npy", y)
        return {"source": str(folder / "X.npy"), "target": str(folder / "y.npy")}
    types = {name: "categorical" for name, type_ in x.dtypes.items() if type_ == "category"}
    described: dict[str, Any] = {"source": str(folder / "X.parquet"), "types": types}
    if y is not None:
        described["target"] = "y" + "_" * max(map(len, x.columns))  # no column has this name
        x = x.assign(**{described["target"]: [str(code) if code >= 0 else None for code in y]})
    x.to_parquet(folder / "X.parquet", index=False)
    return described


def _is_table(x: Any) -> bool:
    if not hasattr(x, "dtypes") or not hasattr(x, "columns"):
        return False
    import pandas as pd

    if not isinstance(x, pd.DataFrame) or x.shape[1] == 0:
        return False
    numeric = all(pd.api.types.is_numeric_dtype(type_) for type_ in x.dtypes)
    return not numeric or bool(x.isna().to_numpy().any())


def _cells(frame: Any) -> Any:
    """The frame with texts in each column that has neither numbers nor times."""
    import pandas as pd

    made = {}
    for name, column in frame.items():
        if pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
            made[name] = column
            continue
        there = column.notna().to_numpy()
        texts = np.full(len(column), None, object)
        texts[there] = [str(cell) for cell in column[there]]
        own = "category" if column.dtype == "category" else object
        made[name] = pd.Series(texts, index=column.index, dtype=own)
    return pd.DataFrame(made, index=frame.index)


def _labelled(y: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if y.dtype.kind == "O":
        import pandas as pd

        none = [pd.isna(label) or label == "" or label == -1 for label in y]
    elif y.dtype.kind in "US":
        none = [not label for label in y]
    else:
        assert_all_finite(y, input_name="y")
        none = (y == -1) & (set(np.unique(y)) != {-1, 1})
    return ~np.asarray(none, bool)
