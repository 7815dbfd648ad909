"""Scaling of numbers: arrays by one factor, or each feature on its own as fitted to training rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stackae.data.preprocessing.sklearn_file import FITTED, save_fitted

_CHUNK = 16_384
_QUANTILES = 1_000


@dataclass(frozen=True)
class Scaling:
    """Arrays as they are, divided by `scale`: 255 for 8-bit images."""

    shape: tuple[int, ...]
    scale: float
    low: float
    high: float
    blocks: None = None
    remarks: tuple[str, ...] = ()

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Scale raw rows (rows, *shape) to float32."""
        x: np.ndarray = raw.astype(np.float32) / np.float32(self.scale)
        return x

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return rows (rows, *shape) in the units of the source."""
        return x * np.float32(self.scale)

    def names(self) -> list[str]:
        """Return a name for each number of a row: its place."""
        return _places(self.shape)

    def save(self, folder: Path) -> dict[str, Any]:
        """Return all of it for a JSON file; nothing is written."""
        return {
            "type": "scaling",
            "shape": list(self.shape),
            "scale": self.scale,
            "range": [self.low, self.high],
        }


@dataclass(frozen=True, eq=False)
class FittedScaling:
    """Arrays of which each feature is scaled on its own, by a fitted scaler of scikit-learn."""

    shape: tuple[int, ...]
    scaler: Any
    low: float
    high: float
    blocks: None = None
    remarks: tuple[str, ...] = ()

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        """Scale raw rows (rows, *shape) to float32."""
        scaled = self.scaler.transform(raw.reshape(len(raw), -1).astype(np.float64))
        x: np.ndarray = scaled.astype(np.float32).reshape(len(raw), *self.shape)
        return x

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Return rows (rows, *shape) in the units of the source."""
        unscaled = self.scaler.inverse_transform(x.reshape(len(x), -1).astype(np.float64))
        raw: np.ndarray = unscaled.astype(np.float32).reshape(x.shape)
        return raw

    def names(self) -> list[str]:
        """Return a name for each number of a row: its place."""
        return _places(self.shape)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the scaler into `folder`; return the rest for a JSON file."""
        save_fitted(self.scaler, folder / FITTED)
        return {"type": "fitted", "shape": list(self.shape), "range": [self.low, self.high]}


def fit_scaling(rows: np.ndarray, scaling: str) -> FittedScaling:
    """Fit `standard`, `minmax` or `quantile` to each feature of training rows (rows, *shape)."""
    scaler = make_scaler(scaling, len(rows))
    assert scaler is not None
    # Whatever the caller's set_config asks of transformers.
    scaler.set_output(transform="default")
    scaler.fit(rows.reshape(len(rows), -1).astype(np.float64))
    fitted = FittedScaling(rows.shape[1:], scaler, 0.0, 0.0)
    low, high = extent(fitted, rows)
    return replace(fitted, low=low, high=high)


def make_scaler(scaling: str, rows: int) -> Any:
    """Make scikit-learn's scaler of a name, to be fitted to so many rows; None for `none`.

    `minmax` clips what is beyond the training rows, so that a loss for [0, 1] fits all other rows too;
    `quantile` makes the values of a feature normally distributed, by their ranks.
    """
    from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, StandardScaler

    match scaling:
        case "standard":
            return StandardScaler()
        case "minmax":
            return MinMaxScaler(clip=True)
        case "quantile":
            # Of all rows: a sample of them would be drawn from NumPy's global generator.
            quantiles = min(_QUANTILES, rows)
            return QuantileTransformer(
                n_quantiles=quantiles, output_distribution="normal", subsample=None, random_state=0
            )
    assert scaling == "none", scaling
    return None


def extent(preprocessing: Callable[[Any], np.ndarray], raw: Any) -> tuple[float, float]:
    """Find the least and the greatest value of raw rows after preprocessing, in constant memory."""
    ranges = []
    for start in range(0, len(raw), _CHUNK):
        x = preprocessing(raw[start : start + _CHUNK])
        ranges.append((float(x.min()), float(x.max())))
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)


def _places(shape: tuple[int, ...]) -> list[str]:
    """Return a name for each number of a row: its place, as '12' or '3,4'."""
    return [",".join(map(str, place)) for place in np.ndindex(*shape)]
