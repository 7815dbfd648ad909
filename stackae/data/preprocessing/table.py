"""From a table's columns to numbers: imputed, scaled and one-hot, as fitted to training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.preprocessing.categories import Categories, read_encoder
from stackae.data.preprocessing.scaling import extent, make_scaler
from stackae.data.preprocessing.sklearn_file import FITTED, save_fitted
from stackae.data.tables.columns import Column
from stackae.errors import DataError
from stackae.shallow.mixed import Block

if TYPE_CHECKING:
    import pandas as pd

_SCALINGS = ("standard", "minmax", "quantile", "none")


class TablePreprocessing:
    """A table's rows as rows (rows, features) in float32.

    `transformer` is the fitted ColumnTransformer of `fit_table`: its own `transform` gives the same numbers,
    but takes several times longer. `seen` (numeric columns, 2) is the range of each in the training rows.
    Features are in the order of `numeric`, of which `scalers` scale places and `indicated` have a feature
    that says whether the number is missing, and of `categories`.
    """

    def __init__(
        self, columns: Sequence[Column], transformer: Any, seen: np.ndarray, low: float, high: float
    ) -> None:
        self.columns, self.transformer = tuple(columns), transformer
        self.seen, self.low, self.high = seen, low, high
        self.numeric: list[str] = []
        self.medians = np.empty(0)
        self.scalers: list[tuple[slice, Any]] = []
        self.indicated: list[int] = []
        self.categories: list[Categories] = []
        for part, fitted, names in transformer.transformers_:
            if part in _SCALINGS:
                place = slice(len(self.numeric), len(self.numeric) + len(names))
                self.numeric += names
                self.medians = np.append(self.medians, fitted.named_steps["impute"].statistics_)
                self.scalers.append((place, fitted.named_steps.get("scale")))
            elif part == "missing":
                self.indicated = [self.numeric.index(name) for name in names]
            elif part == "categories":
                self.categories = read_encoder(fitted, names)
        number = {column.name: number for number, column in enumerate(self.columns)}
        self.blocks: tuple[Block, ...] = (
            *(Block("numeric", 1, number[name]) for name in self.numeric),
            *(Block("binary", 1, number[self.numeric[index]]) for index in self.indicated),
            *(Block("categorical", len(each.names), number[each.column]) for each in self.categories),
        )
        self.shape = (sum(block.size for block in self.blocks),)

    def names(self) -> list[str]:
        """Return the features' names, as 'age', 'age missing', 'job=clerk', 'job missing', 'job rare'."""
        missing = [f"{self.numeric[index]} missing" for index in self.indicated]
        return [*self.numeric, *missing, *(name for each in self.categories for name in each.names)]

    def __call__(self, raw: pd.DataFrame) -> np.ndarray:
        """Make numbers of a DataFrame's rows; DataError where a column is absent or a cell is not a number.

        A missing number is taken for the median of the training rows. A category that they did not have
        counts as a rare one, or if none was rare, all features of its column are 0.
        """
        numbers = self._numbers(raw)
        missing = np.isnan(numbers)
        numbers[missing] = np.broadcast_to(self.medians, numbers.shape)[missing]
        x = np.zeros((len(raw), *self.shape), np.float32)
        with np.errstate(over="ignore"):
            for place, scaler in self.scalers:
                values = numbers[:, place]
                # Scalers refuse to scale no rows.
                x[:, place] = scaler.transform(values) if scaler is not None and len(values) else values
        start = len(self.numeric)
        self._refuse(~np.isfinite(x[:, :start]), numbers, "is too large")
        x[:, start : start + len(self.indicated)] = missing[:, self.indicated]
        start += len(self.indicated)
        for each in self.categories:
            feature = each.feature[each.find(_column(raw, each.column))]
            rows = np.flatnonzero(feature >= 0)
            x[rows, start + feature[rows]] = 1.0
            start += len(each.names)
        return x

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return rows as they are."""
        return x

    def unseen(self, raw: pd.DataFrame) -> np.ndarray:
        """Tell which rows (rows,) have a category that the training rows did not have; missing is none."""
        unseen = np.zeros(len(raw), bool)
        for each in self.categories:
            unseen |= each.find(_column(raw, each.column)) == each.unseen
        return unseen

    def outside(self, raw: pd.DataFrame) -> np.ndarray:
        """Tell which rows (rows,) have a number beyond the training range by more than half its width."""
        numbers, (low, high) = self._numbers(raw), self.seen.T
        margin = (high - low) / 2
        outside: np.ndarray = ((numbers < low - margin) | (numbers > high + margin)).any(axis=1)
        return outside

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the transformer into `folder`; return the rest for a JSON file."""
        save_fitted(self.transformer, folder / FITTED)
        return {
            "type": "table",
            "columns": [asdict(column) for column in self.columns],
            "seen": self.seen.tolist(),
            "range": [self.low, self.high],
        }

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the numeric columns (rows, columns) in float64, NaN where a number is missing."""
        import pandas as pd

        numbers = np.empty((len(frame), len(self.numeric)))
        for index, name in enumerate(self.numeric):
            column = _column(frame, name)
            if column.dtype.kind == "M":
                # Seconds, as they are read from files.
                column = (column - pd.Timestamp(0, tz=column.dt.tz)) / pd.Timedelta(seconds=1)
            if column.dtype != np.float64:
                cells, column = column, pd.to_numeric(column, errors="coerce")
                unparsed = np.flatnonzero(column.isna() & cells.notna())
                if len(unparsed):
                    cell = cells.iloc[unparsed[0]]
                    raise DataError(
                        f"column '{name}', row {unparsed[0] + 1:,} of those given: '{cell}' is not a number; "
                        "correct it, or leave it empty"
                    )
            numbers[:, index] = column.to_numpy(np.float64, na_value=np.nan)
        self._refuse(np.isinf(numbers), numbers, "is infinite")
        return numbers

    def _refuse(self, wrong: np.ndarray, numbers: np.ndarray, why: str) -> None:
        if wrong.any():
            row, index = np.argwhere(wrong)[0]
            raise DataError(
                f"column '{self.numeric[index]}', row {row + 1:,} of those given: {numbers[row, index]:g} "
                f"{why}; correct it, or leave it empty"
            )


def fit_table(frame: pd.DataFrame, columns: Sequence[Column], config: DataConfig) -> TablePreprocessing:
    """Fit medians, scales and categories to training rows by scikit-learn.

    Features are in this order: numeric columns, by their scaling; for those with missing numbers in `frame`
    one that is 1 where it is missing; categorical columns one-hot, of which a missing category is one, and
    those with fewer than `config.rare` rows are one together.
    Raises `DataError` where no column is left to use.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    used = [column for column in columns if column.dropped is None]
    if not used:
        raise DataError("no column is left to learn from; drop fewer in data.drop, or set one in data.types")
    numeric = [column.name for column in used if column.type == "numeric"]
    categorical = [column.name for column in used if column.type == "categorical"]
    parts: list[tuple[str, Any, list[str]]] = []
    for scaling in _SCALINGS:
        chosen = [name for name in numeric if _scaling_of(name, config) == scaling]
        imputer = SimpleImputer(strategy="median", keep_empty_features=True)
        scaler = make_scaler(scaling, len(frame))
        steps = [("impute", imputer), ("scale", scaler)]
        parts.append((scaling, Pipeline(steps if scaler is not None else steps[:1]), chosen))
    missing = [name for _, _, names in parts for name in names if frame[name].isna().any()]
    parts.append(("missing", MissingIndicator(error_on_new=False), missing))
    encoder = OneHotEncoder(
        min_frequency=config.rare,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
        dtype=np.float32,
    )
    parts.append(("categories", encoder, categorical))
    rows = frame[[*numeric, *categorical]].copy()
    # scikit-learn takes None and NaN for two categories.
    rows[categorical] = rows[categorical].astype(object).where(rows[categorical].notna(), None)
    # A part without columns would be saved unfitted.
    parts = [part for part in parts if part[2]]
    # Arrays, whatever the caller's set_config asks of transformers.
    transformer = ColumnTransformer(parts, sparse_threshold=0.0).set_output(transform="default").fit(rows)
    numbers = rows[[name for part, _, names in parts if part in _SCALINGS for name in names]]
    # Of a column without any number everything is beyond.
    seen = np.nan_to_num(np.column_stack([numbers.min(), numbers.max()]).astype(np.float64))
    fitted = TablePreprocessing(columns, transformer, seen, 0.0, 0.0)
    fitted.low, fitted.high = extent(fitted, rows)
    return fitted


def _scaling_of(name: str, config: DataConfig) -> str:
    setting = config.types.get(name)
    return setting if setting in _SCALINGS else config.scaling or "standard"


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"there is no column '{name}', which training had; add it, or name it so")
    column = frame[name]
    if column.ndim > 1:
        raise DataError(f"several columns are called '{name}'; give each a name of its own")
    return column
