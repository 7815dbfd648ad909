"""The preprocessing as modules of torch, so that an exported network takes rows as a source has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stackae.data.preprocessing.cycles import PERIODS, Cycle
from stackae.data.preprocessing.scaling import FittedScaling, Scaling
from stackae.data.preprocessing.table import TablePreprocessing

# Wichura 1988, algorithm AS 241 (PPND16): numerators and denominators, the highest power first. Its third
# part, for probabilities below 1.4e-11, is never reached.
_MIDDLE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_NEAR = 1e-7
"""How near to the first or the last quantile scikit-learn takes a number for it."""


class Divided(nn.Module):
    """Arrays divided by one factor."""

    def __init__(self, preprocessing: Scaling) -> None:
        super().__init__()
        self.scale = float(np.float32(preprocessing.scale))

    def forward(self, rows: Tensor) -> Tensor:
        return rows / self.scale


class EachScaled(nn.Module):
    """Arrays in double precision, of which each feature is scaled on its own."""

    def __init__(self, preprocessing: FittedScaling) -> None:
        super().__init__()
        self.scaler = scaler_module(preprocessing.scaler)

    def forward(self, rows: Tensor) -> Tensor:
        scaled: Tensor = self.scaler(rows.flatten(1))
        return scaled.float().view_as(rows)


class TableFront(nn.Module):
    """A table's numbers (rows, columns), in double precision and NaN if missing, and categories (rows, …).

    A category is its place in its column's `index`, one more than the last if it is missing, two
    more if it is not in there. Where there are no numbers or no categories, they are left out.
    """

    medians: Tensor

    def __init__(self, preprocessing: TablePreprocessing) -> None:
        super().__init__()
        self.numeric, self.indicated = len(preprocessing.numeric), list(preprocessing.indicated)
        self.scaled = len(preprocessing.medians)
        if self.scaled:
            # torch.export fails to save a tensor without elements.
            self.register_buffer("medians", torch.from_numpy(preprocessing.medians.astype(np.float64)))
        self.places = [place for place, _ in preprocessing.scalers]
        self.scalers = nn.ModuleList(scaler_module(scaler) for _, scaler in preprocessing.scalers)
        self.cycles = nn.ModuleList(
            CycleFeatures(cycle, preprocessing.numeric.index(cycle.column)) for cycle in preprocessing.cycles
        )
        self.sizes = [len(column.names) for column in preprocessing.categories]
        for index, column in enumerate(preprocessing.categories):
            self.register_buffer(f"feature_{index}", torch.from_numpy(column.feature.astype(np.int64)))

    def forward(self, *inputs: Tensor) -> Tensor:
        parts = []
        if self.numeric:
            numbers = inputs[0].double()
            missing = numbers.isnan()
            if self.scaled:
                known = torch.where(missing[:, : self.scaled], self.medians, numbers[:, : self.scaled])
                for place, scaler in zip(self.places, self.scalers, strict=True):
                    parts.append(scaler(known[:, place]).float())
            if self.indicated:
                parts.append(missing[:, self.indicated].float())
            parts += [cycle(numbers) for cycle in self.cycles]
        for index, size in enumerate(self.sizes):
            feature = self.get_buffer(f"feature_{index}")[inputs[-1][:, index]]
            parts.append((feature[:, None] == torch.arange(size)).float())
        return torch.cat(parts, 1)


class CycleFeatures(nn.Module):
    """The sine and cosine of a part of a column's times, in seconds since 1970 and NaN if missing."""

    def __init__(self, cycle: Cycle, column: int) -> None:
        super().__init__()
        self.column, self.unit = column, cycle.unit
        # As tensors: bare numbers would be rounded to single precision in an ONNX file.
        self.register_buffer("period", torch.tensor(PERIODS[cycle.part], dtype=torch.float64))

    def forward(self, numbers: Tensor) -> Tensor:
        seconds = numbers[:, self.column]
        missing = seconds.isnan()
        period, before = self.get_buffer("period")
        periods = (torch.where(missing, 0.0, seconds) + before) / period
        angle = (2 * math.pi * (periods - periods.floor()).float())[:, None]
        point = torch.cat([angle.sin(), angle.cos()], 1)
        point = torch.where(missing[:, None], 0.0, point)
        return (point + 1) / 2 if self.unit else point


class Standard(nn.Module):
    """The scaling of scikit-learn's StandardScaler."""

    mean: Tensor
    scale: Tensor

    def __init__(self, scaler: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(scaler.mean_))
        self.register_buffer("scale", torch.from_numpy(scaler.scale_))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


class MinMax(nn.Module):
    """The scaling of scikit-learn's MinMaxScaler, with clipping."""

    scale: Tensor
    least: Tensor

    def __init__(self, scaler: Any) -> None:
        super().__init__()
        assert scaler.clip
        self.register_buffer("scale", torch.from_numpy(scaler.scale_))
        self.register_buffer("least", torch.from_numpy(scaler.min_))
        self.low, self.high = map(float, scaler.feature_range)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale + self.least).clamp(self.low, self.high)


class Quantiles(nn.Module):
    """The scaling of scikit-learn's QuantileTransformer, to a normal distribution."""

    quantiles: Tensor
    references: Tensor
    near: Tensor

    def __init__(self, scaler: Any) -> None:
        super().__init__()
        assert scaler.output_distribution == "normal"
        self.register_buffer("quantiles", torch.from_numpy(np.ascontiguousarray(scaler.quantiles_)))
        self.register_buffer("references", torch.from_numpy(scaler.references_))
        self.register_buffer("near", torch.tensor(_NEAR, dtype=torch.float64))
        self.last = len(scaler.references_) - 1
        self.normal = NormalQuantile()

    def forward(self, x: Tensor) -> Tensor:
        below, up_to = self._count(x, equal=False), self._count(x, equal=True)
        left, right = (below - 1).clamp(0, self.last), below.clamp(0, self.last)
        low, high = self.quantiles.gather(0, left), self.quantiles.gather(0, right)
        start, end = self.references[left], self.references[right]
        width = high - low
        share = (x - low) / torch.where(width > 0, width, 1.0)
        between = start + (end - start) * share
        # On a quantile, and there may be several of the same value, the middle of their ranks.
        on = (self.references[right] + self.references[(up_to - 1).clamp(0, self.last)]) / 2
        rank = torch.where(up_to > below, on, between)
        rank = torch.where(x + self.near > self.quantiles[-1], 1.0, rank)
        rank = torch.where(x - self.near < self.quantiles[0], 0.0, rank)
        quantile: Tensor = self.normal(rank)
        return quantile

    def _count(self, x: Tensor, *, equal: bool) -> Tensor:
        """Count the quantiles of each feature that are below x or, with `equal`, at most x; by bisection."""
        low, high = (
            torch.zeros_like(x, dtype=torch.int64),
            torch.full_like(x, self.last + 1, dtype=torch.int64),
        )
        for _ in range(math.ceil(math.log2(self.last + 2))):
            middle = (low + high) // 2
            value = self.quantiles.gather(0, middle.clamp(max=self.last))
            after = (value <= x if equal else value < x) & (low < high)
            low, high = torch.where(after, middle + 1, low), torch.where(after, high, middle)
        return low


class NormalQuantile(nn.Module):
    """The quantiles of the normal distribution at ranks, clipped as scikit-learn does (Wichura 1988)."""

    def __init__(self) -> None:
        super().__init__()
        # As tensors: bare numbers would be rounded to single precision in an ONNX file.
        self.register_buffer("coefficients", torch.tensor([*_MIDDLE, *_TAIL], dtype=torch.float64))
        least = _NEAR - float(np.spacing(1.0))
        self.register_buffer("numbers", torch.tensor([least, 1 - least, 0.180625, 1.6], dtype=torch.float64))

    def forward(self, rank: Tensor) -> Tensor:
        over, under, over_tail, under_tail = self.get_buffer("coefficients")
        least, most, start, shift = self.get_buffer("numbers")
        rank = torch.minimum(torch.maximum(rank, least), most)
        centred = rank - 0.5
        square = start - centred * centred
        middle = centred * _polynomial(over, square) / _polynomial(under, square)
        far = torch.sqrt(-torch.log(torch.minimum(rank, 1 - rank))) - shift
        tail = _polynomial(over_tail, far) / _polynomial(under_tail, far)
        # The middle is where |centred| is at most 0.425.
        return torch.where(square >= 0, middle, torch.where(centred < 0, -tail, tail))


def _polynomial(coefficients: Tensor, x: Tensor) -> Tensor:
    value = torch.zeros_like(x)
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def scaler_module(scaler: Any) -> nn.Module:
    """Return the module that scales numbers in double precision as a scaler of `make_scaler` does."""
    if scaler is None:
        return nn.Identity()
    modules: dict[str, type[Standard | MinMax | Quantiles]] = {
        "StandardScaler": Standard,
        "MinMaxScaler": MinMax,
        "QuantileTransformer": Quantiles,
    }
    return modules[type(scaler).__name__](scaler)
