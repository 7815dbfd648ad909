"""From a table's columns to numbers: imputed, scaled and one-hot, as fitted to training rows alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stackae.config import DataConfig
from stackae.data.preprocessing.categories import Categories, read_encoder
from stackae.data.preprocessing.cycles import Cycle, cycles_of
from stackae.data.preprocessing.scaling import extent, make_scaler
from stackae.data.preprocessing.sklearn_file import FITTED, save_fitted
from stackae.data.tables.cells import Reading
from stackae.data.tables.columns import Column
from stackae.data.tables.frames import as_batch
from stackae.data.tables.normalised import Normalised, normalise
from stackae.errors import DataError
from stackae.shallow.mixed import Block

_SCALINGS = ("standard", "minmax", "quantile", "none")


class TablePreprocessing:
    """A table's rows as rows (rows, features) in float32.

    `transformer` is the fitted ColumnTransformer of `fit_table`: its own `transform` gives the same numbers,
    but takes several times longer; what it lacks are `cycles`. `seen` (numeric columns, 2) is the range of
    each in the training rows. `reading` is how cells of new rows are read. `remarks` say what a person should
    know. Features are in the order of `numeric`, of which `scalers` scale places (the last columns may have
    no feature, as they have one value) and `indicated` have a feature that says whether the number is
    missing, of `cycles`, and of `categories`.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        transformer: Any,
        seen: np.ndarray,
        low: float,
        high: float,
        *,
        cycles: Sequence[Cycle] = (),
        reading: Reading | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        self.columns, self.transformer = tuple(columns), transformer
        self.seen, self.low, self.high = seen, low, high
        self.cycles, self.reading, self.remarks = tuple(cycles), reading or Reading(), tuple(remarks)
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
                self.numeric += [name for name in names if name not in self.numeric]
                self.indicated = [self.numeric.index(name) for name in names]
            elif part == "categories":
                self.categories = read_encoder(fitted, names)
        number = {column.name: number for number, column in enumerate(self.columns)}
        self.blocks: tuple[Block, ...] = (
            *(Block("numeric", 1, number[name]) for name in self.numeric[: len(self.medians)]),
            *(Block("binary", 1, number[self.numeric[index]]) for index in self.indicated),
            *(Block("numeric", 1, number[cycle.column]) for cycle in self.cycles for _ in cycle.names()),
            *(Block("categorical", len(each.names), number[each.column]) for each in self.categories),
        )
        self.shape = (sum(block.size for block in self.blocks),)

    @property
    def used(self) -> list[Column]:
        """The columns that become features."""
        return [column for column in self.columns if column.dropped is None]

    def names(self) -> list[str]:
        """Return the features' names, as 'age', 'age missing', 'when hour sin', 'job=clerk', 'job rare'."""
        return [
            *self.numeric[: len(self.medians)],
            *(f"{self.numeric[index]} missing" for index in self.indicated),
            *(name for cycle in self.cycles for name in cycle.names()),
            *(name for each in self.categories for name in each.names),
        ]

    def read(self, frame: Any) -> Normalised:
        """Read the rows of a frame as those of the training files; DataError where they are not as those."""
        return normalise(as_batch(frame, [column.name for column in self.used]), self.used, self.reading)

    def __call__(self, raw: Normalised) -> np.ndarray:
        """Make numbers of rows; DataError where a number is too large.

        A missing number is taken for the median of the training rows. A category that they did not have
        counts as a rare one, or if none was rare, all features of its column are 0.
        """
        numbers = self._numbers(raw)
        missing = np.isnan(numbers)
        start = len(self.medians)
        known = np.where(missing[:, :start], self.medians, numbers[:, :start])
        x = np.zeros((len(raw), *self.shape), np.float32)
        with np.errstate(over="ignore"):
            for place, scaler in self.scalers:
                values = known[:, place]
                # Scalers refuse to scale no rows.
                x[:, place] = scaler.transform(values) if scaler is not None and len(values) else values
        self._refuse_huge(x[:, :start], known)
        x[:, start : start + len(self.indicated)] = missing[:, self.indicated]
        start += len(self.indicated)
        for cycle in self.cycles:
            x[:, start : start + 2] = cycle.features(numbers[:, self.numeric.index(cycle.column)])
            start += 2
        for each in self.categories:
            feature = each.feature[each.find(raw.strings(each.column))]
            rows = np.flatnonzero(feature >= 0)
            x[rows, start + feature[rows]] = 1.0
            start += len(each.names)
        return x

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return rows as they are."""
        return x

    def unseen(self, raw: Normalised) -> np.ndarray:
        """Tell which rows (rows,) have a category that the training rows did not have; missing is none."""
        unseen = np.zeros(len(raw), bool)
        for each in self.categories:
            unseen |= each.find(raw.strings(each.column)) == each.unseen
        return unseen

    def outside(self, raw: Normalised) -> np.ndarray:
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
            "cycles": [asdict(cycle) for cycle in self.cycles],
            "reading": asdict(self.reading),
        }

    def _numbers(self, raw: Normalised) -> np.ndarray:
        """Return the numeric columns (rows, columns) in float64, NaN where a number is missing."""
        numbers = np.empty((len(raw), len(self.numeric)))
        for index, name in enumerate(self.numeric):
            numbers[:, index] = raw.numbers(name)
        return numbers

    def _refuse_huge(self, x: np.ndarray, numbers: np.ndarray) -> None:
        finite = np.isfinite(x)
        if not finite.all():
            row, index = np.argwhere(~finite)[0]
            raise DataError(
                f"column '{self.numeric[index]}', row {row + 1:,} of those given: {numbers[row, index]:g} is "
                "too large; correct it, or leave it empty"
            )


def fit_table(rows: Normalised, columns: Sequence[Column], config: DataConfig) -> TablePreprocessing:
    """Fit medians, scales and categories to training rows by scikit-learn.

    Features are in this order: numeric columns and elapsed times, by their scaling; for those with missing
    numbers in `rows` one that is 1 where it is missing; the parts of times that come again; categorical
    columns one-hot, of which a missing category is one, and those with fewer than `config.rare` rows are one
    together. Of a numeric column with one value it is left whether that is missing.
    Raises `DataError` where no column is left to use.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    used = [column for column in columns if column.dropped is None]
    categorical = [column.name for column in used if column.type == "categorical"]
    numbers = {column.name: rows.numbers(column.name) for column in used if column.type != "categorical"}
    seen = {name: _range(values) for name, values in numbers.items()}
    varied = [name for name, (low, high) in seen.items() if low < high]
    missing = [name for name, values in numbers.items() if np.isnan(values).any()]
    parts: list[tuple[str, Any, list[str]]] = []
    for scaling in _SCALINGS:
        chosen = [name for name in varied if _scaling_of(name, config) == scaling]
        imputer = SimpleImputer(strategy="median")
        scaler = make_scaler(scaling, len(rows))
        steps = [("impute", imputer), ("scale", scaler)]
        parts.append((scaling, Pipeline(steps if scaler is not None else steps[:1]), chosen))
    numeric = [name for _, _, names in parts for name in names]
    numeric += [name for name in missing if name not in numeric]
    indicated = [name for name in numeric if name in missing]
    parts.append(("missing", MissingIndicator(error_on_new=False), indicated))
    encoder = OneHotEncoder(
        min_frequency=config.rare,
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
        dtype=np.float32,
    )
    parts.append(("categories", encoder, categorical))
    # A part without columns would be saved unfitted.
    parts = [part for part in parts if part[2]]
    if not parts:
        raise DataError("no column is left to learn from; drop fewer in data.drop, or set one in data.types")
    transformer = ColumnTransformer(parts, sparse_threshold=0.0)
    # Arrays, whatever the caller's set_config asks of transformers.
    transformer = transformer.set_output(transform="default").fit(rows.frame())
    fitted = TablePreprocessing(
        columns,
        transformer,
        np.array([seen[name] for name in numeric], np.float64).reshape(-1, 2),
        0.0,
        0.0,
        cycles=[
            cycle
            for column in used
            if column.type == "time" and column.name in varied
            for cycle in cycles_of(
                column.name, numbers[column.name], unit=_scaling_of(column.name, config) == "minmax"
            )
        ],
        reading=Reading.of(config),
    )
    fitted.remarks = tuple(_remarks(fitted, [name for name in numbers if name not in varied], config.rare))
    fitted.low, fitted.high = extent(fitted, rows)
    return fitted


def _range(values: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest number, 0 where there is none: everything is beyond that."""
    known = values[~np.isnan(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def _remarks(fitted: TablePreprocessing, constant: Sequence[str], rare: int) -> Iterator[str]:
    """Yield a line on each column of which less is left than a person may think."""
    indicated = {fitted.numeric[index] for index in fitted.indicated}
    for name in constant:
        left = "only whether it is missing becomes a feature" if name in indicated else "it is not used"
        yield f"column '{name}' has one value in all training rows; {left}"
    for each in fitted.categories:
        if len(each.names) == 1:
            why = f", as each has fewer than {rare} rows" if each.names[0] == f"{each.column} rare" else ""
            yield (
                f"column '{each.column}' becomes one feature that is the same in all training rows: its "
                f"{len(each.index):,} categories are one{why}; lower data.rare, or drop the column"
            )


def _scaling_of(name: str, config: DataConfig) -> str:
    setting = config.types.get(name)
    return setting if setting in _SCALINGS else config.scaling or "standard"
