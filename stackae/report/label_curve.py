"""The worth of labels: errors by number of labels, of the stack, its control and the baselines."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from stackae.report.plotting import BLUE, CLASS_COLOURS, GREEN, ORANGE, PURPLE, Figure, draw

LINES = {
    "pretrained": ("pretrained", GREEN),
    "scratch": ("from scratch", ORANGE),
    "logistic": ("logistic regression on the input", BLUE),
    "baseline": ("best baseline", PURPLE),
}
CODES = "_codes"
"""How the name of a baseline ends that is fitted to the columns and the codes."""


@dataclass(frozen=True)
class Point:
    """Test errors, in [0, 1], of one repetition with so many labels.

    `baseline` is the error of the baseline that was best by cross-validation, NaN where there is none;
    `baselines` are those of all, by name.
    """

    labels: int
    repeat: int
    pretrained: float
    scratch: float
    logistic: float
    baseline: float = math.nan
    baselines: Mapping[str, float] = field(default_factory=dict)

    def error(self, line: str) -> float:
        """Return the error of one of `LINES`, or of a baseline; NaN where there is none."""
        return float(getattr(self, line) if line in LINES else self.baselines.get(line, math.nan))


@dataclass(frozen=True)
class LabelCurve:
    """The points of a curve, in the order of their labels and repetitions."""

    points: Sequence[Point]

    @property
    def labels(self) -> list[int]:
        """The numbers of labels, ascending."""
        return sorted({point.labels for point in self.points})

    def errors(self, line: str, labels: int) -> np.ndarray:
        """Return a line's errors with so many labels, one per repetition.

        Lines are `pretrained`, `scratch`, `logistic`, `baseline`, and each baseline by its name.
        """
        return np.array([point.error(line) for point in self.points if point.labels == labels])

    @property
    def lines(self) -> list[str]:
        """Those of `LINES` that any point is of."""
        return [line for line in LINES if any(not math.isnan(point.error(line)) for point in self.points)]

    @property
    def baselines(self) -> list[str]:
        """The names of the baselines that any point has."""
        return list(dict.fromkeys(name for point in self.points for name in point.baselines))

    def mean(self, line: str) -> np.ndarray:
        """Return the mean error of a line for each number of labels."""
        return np.array([self.errors(line, labels).mean() for labels in self.labels])


def mean_errors(curve: LabelCurve) -> dict[str, dict[int, float]]:
    """Return each line's mean error by number of labels, baselines included, where there is one."""
    means = {line: zip(curve.labels, curve.mean(line), strict=True) for line in curve.lines + curve.baselines}
    return {
        line: {labels: float(mean) for labels, mean in found if not math.isnan(mean)}
        for line, found in means.items()
    }


def worth(curve: LabelCurve) -> str:
    """Say how many labels pretraining stands for: where the scratch curve reaches the pretrained error.

    Between measured numbers of labels the scratch curve is interpolated on logarithmic axes. One sentence per
    number of labels.
    """
    labels, scratch = curve.labels, curve.mean("scratch")
    sentences = []
    for index, (count, error) in enumerate(zip(labels, curve.mean("pretrained"), strict=True)):
        with_labels = f"with {count:,} labels"
        if error >= scratch[index]:
            lost = f"{_percent(error)}, scratch {_percent(scratch[index])}"
            sentences.append(f"{with_labels} pretraining gained nothing ({lost})")
            continue
        errors = f"{_percent(error)} where scratch has {_percent(scratch[index])}"
        beyond = next((k for k in range(index + 1, len(labels)) if scratch[k] <= error), None)
        if beyond is not None:
            more = _round(_reached(labels, scratch, beyond, error) - count)
            sentences.append(f"{with_labels} pretraining is worth about {more:,} more ({errors})")
        elif labels[-1] > count:
            sentences.append(f"{with_labels} it gives {errors}, more than {labels[-1]:,} labels give scratch")
        else:
            sentences.append(f"{with_labels} it gives {errors}")
    text = "; ".join(sentences) + "."
    return text[0].upper() + text[1:]


def _reached(labels: Sequence[int], scratch: np.ndarray, beyond: int, error: float) -> float:
    """Find at how many labels the scratch curve, falling from `beyond - 1` to `beyond`, has an error."""
    before, after = scratch[beyond - 1], scratch[beyond]
    if min(before, after, error) <= 0 or before <= error:
        return float(labels[beyond])
    share = math.log(before / error) / math.log(before / after)
    return float(labels[beyond - 1] * (labels[beyond] / labels[beyond - 1]) ** share)


def _round(labels: float) -> int:
    """Round to two digits: more would pretend to know."""
    return int(float(f"{labels:.2g}"))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def table(curve: LabelCurve) -> list[list[str]]:
    """Return a row per number of labels: labels, then each line's mean error and its lowest and highest."""
    return [
        [f"{count:,}", *(_spread(curve.errors(line, count)) for line in curve.lines)]
        for count in curve.labels
    ]


def baseline_table(curve: LabelCurve) -> list[list[str]]:
    """Return a row per baseline: its name, then with each number of labels what `table` has of a line."""
    return [
        [_called(name), *(_spread(curve.errors(name, count)) for count in curve.labels)]
        for name in curve.baselines
    ]


def _spread(errors: np.ndarray) -> str:
    if np.isnan(errors).any():
        # Too dear for so few labels, in one repetition at least.
        return "–"
    return f"{_percent(errors.mean())} ({100 * errors.min():.2f} to {100 * errors.max():.2f})"


def _called(baseline: str) -> str:
    columns = baseline.removesuffix(CODES)
    return columns.replace("_", " ") + ("" if columns == baseline else " on columns and codes")


def headings(curve: LabelCurve) -> list[str]:
    """Return the names of the columns of `table`."""
    return ["labels", *(LINES[line][0] for line in curve.lines)]


def baseline_headings(curve: LabelCurve) -> list[str]:
    """Return the names of the columns of `baseline_table`."""
    return ["baseline", *(f"{count:,} labels" for count in curve.labels)]


def write_csv(curve: LabelCurve, path: Path) -> None:
    """Write a row per number of labels and repetition."""
    with path.open("w", newline="") as file:
        lines = [*LINES, *curve.baselines]
        writer = csv.writer(file)
        writer.writerow(["labels", "repeat", *(f"{line}_error" for line in lines)])
        for point in curve.points:
            errors = (point.error(line) for line in lines)
            cells = ("" if math.isnan(error) else error for error in errors)
            writer.writerow([point.labels, point.repeat, *cells])


def chart(curve: LabelCurve, title: str) -> Figure:
    """Draw the mean test error by number of labels, with bands from the lowest to the highest repetition.

    Each baseline is a thin line, dashed where it is fitted to the columns, dotted with the codes beside them.
    """

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for line in curve.lines:
            name, colour = LINES[line]
            spread = [curve.errors(line, count) for count in curve.labels]
            low, high = ([100 * pick(errors) for errors in spread] for pick in (np.min, np.max))
            axes.fill_between(curve.labels, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(curve.labels, 100 * curve.mean(line), marker="o", color=colour, label=name)
        kinds = list(dict.fromkeys(name.removesuffix(CODES) for name in curve.baselines))
        for name in curve.baselines:
            axes.plot(
                curve.labels,
                100 * curve.mean(name),
                marker=".",
                color=CLASS_COLOURS[5 + kinds.index(name.removesuffix(CODES))],
                linestyle=":" if name.endswith(CODES) else "--",
                linewidth=1.0,
                label=_called(name),
            )
        axes.set(xscale="log", yscale="log", xlabel="labels", ylabel="test error, %", title=title)
        axes.set_xticks(curve.labels, [f"{count:,}" for count in curve.labels])
        axes.minorticks_off()
        drawn = [*curve.lines, *curve.baselines]
        every = np.array([[point.error(line) for line in drawn] for point in curve.points])
        ticks = _ticks(100 * every[np.isfinite(every)])
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        if curve.baselines:
            canvas.legend(loc="outside right upper", fontsize=8)
        else:
            axes.legend()

    repeats = len({point.repeat for point in curve.points})
    summary = "; ".join(
        f"{count} labels: " + ", ".join(map(" ".join, zip(headings(curve)[1:], cells, strict=True)))
        for count, *cells in table(curve)
    )
    beside = f"; beside them {', '.join(map(_called, curve.baselines))}" if curve.baselines else ""
    return draw(
        "curve",
        paint,
        alt=f"Test error by number of labels on logarithmic axes. {summary}{beside}.",
        caption=f"Means of {repeats} repetitions; bands reach from the lowest to the highest. {worth(curve)}",
        size=(7.6, 3.8) if curve.baselines else (5.4, 3.6),
    )


def _ticks(errors: np.ndarray) -> list[float]:
    """Choose round values between the least and the greatest error."""
    steps = [digit * 10.0**power for power in range(-3, 3) for digit in (1, 2, 3, 5, 7)]
    low, high = errors.min(), errors.max()
    within = [step for step in steps if 0.9 * low <= step <= 1.1 * high]
    return within or [float(f"{low:.2g}")]
