"""Figures of how a run was trained: the stack, each stage's curves, the time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from stackae.report.plotting import BLUE, FAINT, GREEN, INK, ORANGE, Figure, draw
from stackae.report.report_data import Facts

KIND = {"pretrain": BLUE, "unroll": BLUE, "length": GREEN, "finetune": GREEN, "scratch": ORANGE}


def training_figures(facts: Facts) -> Iterator[Figure]:
    """Draw the stack, the curves of the layers, those of the classifiers, the time of the stages."""
    yield _stack(facts)
    for stage, history in facts.histories.items():
        if stage.startswith(("pretrain", "unroll")) and history:
            yield _reconstruction(stage, history)
    # Where a length was sought, the curves that it was chosen by are of interest.
    fits = {"finetune": "length", "scratch": "scratch-length"}
    tuned = {
        name: facts.histories.get(length, facts.histories[name])
        for name, length in fits.items()
        if name in facts.histories
    }
    if tuned:
        yield _classifiers(tuned)
    yield _time(facts.results["stages"])


def _stack(facts: Facts) -> Figure:
    boxes = [("input", "×".join(map(str, facts.shape)), math.prod(facts.shape), INK)]
    for number, layer in enumerate(facts.plan.layers, 1):
        unit = "" if layer.config.unit == "dense" else f" {layer.config.unit}"
        text = f"{'×'.join(map(str, layer.code))}\n{layer.config.kind}{unit}, {layer.config.activation}"
        boxes.append(
            (f"layer {number}", f"{text}\n{layer.parameters:,} parameters", math.prod(layer.code), BLUE)
        )
    if facts.plan.labelled.finetune is not None:
        head = (math.prod(facts.plan.layers[-1].code) + 1) * len(facts.classes)
        boxes.append(
            ("softmax", f"{len(facts.classes)} classes\n{head:,} parameters", len(facts.classes), GREEN)
        )
    most = max(math.log(size + 1) for _, _, size, _ in boxes)

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.set_axis_off()
        axes.set_xlim(-0.1, len(boxes) - 0.1)
        axes.set_ylim(-0.62, 1.16)
        for position, (name, text, size, colour) in enumerate(boxes):
            height = 0.12 + 0.78 * math.log(size + 1) / most
            axes.add_patch(
                FancyBboxPatch(
                    (position + 0.22, 0.5 - height / 2),
                    0.36,
                    height,
                    boxstyle="round,pad=0,rounding_size=0.05",
                    facecolor=colour,
                    alpha=0.35,
                    edgecolor=colour,
                )
            )
            axes.text(position + 0.4, 1.06, name, ha="center", va="bottom", weight="bold")
            axes.text(position + 0.4, -0.08, text, ha="center", va="top", fontsize=8)
            if position:
                axes.annotate(
                    "",
                    (position + 0.19, 0.5),
                    (position - 0.39, 0.5),
                    arrowprops={"arrowstyle": "->", "color": INK},
                )

    summary = "; ".join(f"{name}: {' '.join(text.split())}" for name, text, _, _ in boxes)
    return draw(
        "stack",
        paint,
        alt=f"The stack from input to output. {summary}.",
        caption="The stack. The height of a box grows with the logarithm of its number of units.",
        size=(max(4.6, 1.5 * len(boxes)), 2.3),
        wide=len(boxes) > 3,
    )


def _reconstruction(stage: str, history: Sequence[dict[str, float]]) -> Figure:
    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        _line(axes, history, "train_loss", "training", BLUE)
        _line(axes, history, "val_reconstruction", "validation, clean", ORANGE)
        axes.set(xlabel="epoch", ylabel="loss per row", title=stage)
        if max(row["train_loss"] for row in history) > 20 * min(row["train_loss"] for row in history) > 0:
            axes.set_yscale("log")
        axes.legend()

    first, last = history[0], history[-1]
    return draw(
        f"curves-{stage}",
        paint,
        alt=(
            f"Curves of {stage} over {len(history)} epochs: the training loss goes from "
            f"{first['train_loss']:.4g} to {last['train_loss']:.4g}, the validation reconstruction from "
            f"{first['val_reconstruction']:.4g} to {last['val_reconstruction']:.4g}."
        ),
        caption=f"{stage}: training loss on corrupted input with all penalties, validation on clean input.",
    )


def _classifiers(tuned: dict[str, list[dict[str, float]]]) -> Figure:
    names = {"finetune": "pretrained", "scratch": "from scratch"}
    # Folds are judged at their end alone.
    judged = {stage: history for stage, history in tuned.items() if "val_accuracy" in history[0]}

    def paint(canvas: Canvas) -> None:
        above, *below = canvas.subplots(2 if judged else 1, 1, sharex=True, squeeze=False).ravel()
        for stage, history in tuned.items():
            _line(above, history, "train_loss", names[stage], KIND[stage])
        above.set(ylabel="training loss")
        above.legend()
        for axes in below:
            for stage, history in judged.items():
                errors = [row | {"error": 100 * (1 - row["val_accuracy"])} for row in history]
                _line(axes, errors, "error", names[stage], KIND[stage])
            axes.set(ylabel="validation error, %")
        (below or [above])[-1].set(xlabel="epoch")

    summary = "; ".join(
        f"{names[stage]}: {len(history)} epochs"
        + (
            f", best validation accuracy {max(row['val_accuracy'] for row in history):.2%}"
            if stage in judged
            else ""
        )
        for stage, history in tuned.items()
    )
    shown = "Training loss and validation error" if judged else "Training loss"
    return draw(
        "curves-classifiers",
        paint,
        alt=f"{shown} of the classifiers by epoch. {summary}.",
        caption="The classifiers: the pretrained network beside the same network from random weights.",
        size=(4.6, 3.8),
    )


def _line(axes: Axes, history: Sequence[dict[str, float]], key: str, label: str, colour: str) -> None:
    rows = [row for row in history if key in row]
    marker = "o" if len(rows) < 3 else None
    axes.plot(
        [row["epoch"] for row in rows], [row[key] for row in rows], color=colour, label=label, marker=marker
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _time(stages: Sequence[dict[str, Any]]) -> Figure:
    seconds = [stage["seconds"] or 0.0 for stage in stages]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        bars = axes.barh([stage["stage"] for stage in stages], seconds, color=BLUE, height=0.6)
        for bar, stage, took in zip(bars, stages, seconds, strict=True):
            bar.set_alpha(0.35 if stage["reused"] else 0.9)
            words = f" {took:.3g} s" + (", reused" if stage["reused"] else "")
            axes.text(took, bar.get_y() + bar.get_height() / 2, words, va="center")
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="seconds", xlim=(0, 1.3 * max([*seconds, 1e-9])))
        axes.spines["left"].set_color(FAINT)

    summary = ", ".join(
        f"{stage['stage']} {took:.3g} s{' (reused)' if stage['reused'] else ''}"
        for stage, took in zip(stages, seconds, strict=True)
    )
    return draw(
        "time",
        paint,
        alt=f"Seconds per stage: {summary}.",
        caption="The time each stage took when it was trained; pale: this run reused it from the store.",
        size=(4.6, 0.7 + 0.34 * len(stages)),
    )
