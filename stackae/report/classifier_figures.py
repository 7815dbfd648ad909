"""Figures of how well the classifier does: confusion, calibration, its most confident mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas
from scipy.special import softmax

from stackae.report.feature_figures import bare
from stackae.report.plotting import BLUE, INK, ORANGE, Figure, draw
from stackae.report.report_data import Facts

MISTAKES = 12
BINS = 10
# A matrix of more classes has no room for numbers.
NUMBERED = 12


@dataclass(frozen=True)
class Mistake:
    """A wrongly classified test row: its number from 0, its class, the predicted one and its probability."""

    row: int
    true: str
    predicted: str
    probability: float


def classifier_figures(facts: Facts) -> Iterator[Figure]:
    """Draw confusion matrix, reliability diagram and, of images, the most confident mistakes."""
    if "finetune" not in facts.logits:
        return
    yield _confusion(facts)
    yield _reliability(facts)
    if facts.is_image and (wrong := mistakes(facts)):
        yield _mistakes(facts, wrong)


def mistakes(facts: Facts) -> list[Mistake]:
    """Find the wrongly classified test rows with the highest confidence, the highest first."""
    probabilities = softmax(facts.logits["finetune"].astype(np.float64) / facts.temperature, axis=1)
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero((predicted != facts.y_test) & (facts.y_test >= 0))
    first = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [
        Mistake(
            int(row), facts.classes[facts.y_test[row]], facts.classes[predicted[row]], float(confidence[row])
        )
        for row in first
    ]


def _confusion(facts: Facts) -> Figure:
    counts = np.array(facts.results["classifier"]["test"]["confusion"])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = facts.classes

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        # The right ones are nearly all; a root lets the mistakes be seen.
        axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        if len(names) <= NUMBERED:
            for (true, predicted), count in np.ndenumerate(counts):
                ink = "white" if shares[true, predicted] > 0.4 else "#1b2a3a"
                axes.text(
                    predicted,
                    true,
                    f"{count:,}" if count else "",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=ink,
                )
        every = max(1, len(names) // 30)
        ticks = range(0, len(names), every)
        short = [name if len(name) <= 12 else name[:11] + "…" for name in names]
        axes.set_xticks(
            ticks, [short[tick] for tick in ticks], rotation=90 if max(map(len, short)) > 2 else 0
        )
        axes.set_yticks(ticks, [short[tick] for tick in ticks])
        axes.set(xlabel="predicted class", ylabel="true class")

    off = counts - np.diag(np.diag(counts))
    true, predicted = np.unravel_index(off.argmax(), off.shape)
    worst = (
        f" The commonest mistake: '{names[true]}' predicted as '{names[predicted]}', {off.max():,} times."
        if off.any()
        else " No mistakes."
    )
    return draw(
        "confusion",
        paint,
        alt=f"Confusion matrix of {counts.sum():,} test rows, {np.trace(counts):,} of them right.{worst}",
        caption=f"Confusion matrix on test rows; shades by the root of each class's share.{worst}",
        size=(4.4, 4.2),
    )


def _reliability(facts: Facts) -> Figure:
    logits = facts.logits["finetune"].astype(np.float64)
    mean_confidence, accuracy, share, places = _binned(facts, logits / facts.temperature)

    def paint(canvas: Canvas) -> None:
        axes, below = canvas.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        if facts.temperature != 1.0:
            axes.plot(*_binned(facts, logits)[:2], marker=".", color=ORANGE, alpha=0.6, label="before")
        axes.plot(mean_confidence, accuracy, marker="o", color=BLUE, label="as the model predicts")
        if facts.temperature != 1.0:
            axes.legend(loc="best", fontsize=7, frameon=False)
        axes.set(ylabel="accuracy", ylim=(0, 1.03), xlim=(0, 1))
        below.bar(places, share, width=0.8 / BINS, color=BLUE, alpha=0.6)
        below.set(
            xlabel="confidence: probability of the predicted class",
            ylabel="rows",
            yticks=[0, 1],
            yticklabels=["0", "all"],
        )

    figures = facts.results["classifier"]["test"]
    ece = figures["ece"] if facts.temperature == 1.0 else facts.results["calibration"]["test"]["after"]["ece"]
    return draw(
        "reliability",
        paint,
        alt=(
            f"Reliability diagram: of the rows classified with a confidence of {mean_confidence[-1]:.0%}, "
            f"{accuracy[-1]:.0%} are right; expected calibration error {ece:.3f}."
        ),
        caption=(
            "Reliability on test rows: on the dotted line, probabilities can be taken at their word "
            f"(expected calibration error {ece:.3f}).{_told(facts.results.get('calibration'))}"
        ),
        size=(4.4, 3.8),
    )


def _binned(facts: Facts, logits: np.ndarray) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return mean confidence, accuracy and share of the rows of each bin that has any, and its middle."""
    probabilities, labelled = softmax(logits, axis=1), facts.y_test >= 0
    confidence = probabilities.max(1)[labelled]
    correct = (probabilities.argmax(1) == facts.y_test)[labelled]
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    filled = [index for index in range(BINS) if (bins == index).any()]
    return (
        [float(confidence[bins == index].mean()) for index in filled],
        [float(correct[bins == index].mean()) for index in filled],
        [float((bins == index).mean()) for index in filled],
        [(index + 0.5) / BINS for index in filled],
    )


def _told(calibration: Mapping[str, Any] | None) -> str:
    """Say what the temperature did to the probabilities of the model."""
    if calibration is None:
        return ""
    if calibration["temperature"] == 1.0:
        return f" No temperature is in use: it would not lower the NLL of {calibration['rows']:,} rows."
    before, after = calibration["test"]["before"], calibration["test"]["after"]
    return (
        f" The model divides its logits by {calibration['temperature']:.3g}, fitted to "
        f"{calibration['rows']:,} rows that were not learnt from: on the test rows ECE from "
        f"{before['ece']:.3f} to {after['ece']:.3f}, NLL from {before['nll']:.3f} to {after['nll']:.3f}."
    )


def _mistakes(facts: Facts, wrong: list[Mistake]) -> Figure:
    def paint(canvas: Canvas) -> None:
        across = 6
        cells = canvas.subplots(-(-len(wrong) // across), across, squeeze=False).ravel()
        for axes in cells:
            bare(axes)
        for axes, mistake in zip(cells, wrong, strict=False):
            image = np.asarray(facts.x_test[mistake.row], dtype=np.float64)
            image = np.moveaxis(image, 0, -1).squeeze() if image.ndim == 3 else image
            axes.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1)
            axes.set_title(f"{mistake.true} → {mistake.predicted}\n{mistake.probability:.0%}", fontsize=7)

    listed = "; ".join(
        f"{mistake.true} predicted as {mistake.predicted} ({mistake.probability:.0%})"
        for mistake in wrong[:4]
    )
    return draw(
        "mistakes",
        paint,
        alt=f"The {len(wrong)} test images that were misclassified with the highest confidence: {listed}.",
        caption="The most confident mistakes: true class → predicted class, and its probability.",
        size=(4.8, 1.15 * -(-len(wrong) // 6) + 0.1),
        wide=True,
    )
