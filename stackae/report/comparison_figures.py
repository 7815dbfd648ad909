"""Curves of several runs over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure as Canvas

from stackae.report.plotting import CLASS_COLOURS, Figure, draw

Histories = Mapping[str, Sequence[Mapping[str, float]]]
# What is drawn of a stage, the first of these that it has.
SHOWN = (("val_accuracy", "validation accuracy"), ("val_reconstruction", "validation reconstruction"))


def overlay(runs: Mapping[str, Histories]) -> list[Figure]:
    """Draw a figure per stage that any run has, with a line per run: its validation figure by epoch."""
    stages = dict.fromkeys(stage for histories in runs.values() for stage in histories)
    return [figure for stage in stages if (figure := _stage(stage, runs)) is not None]


def _stage(stage: str, runs: Mapping[str, Histories]) -> Figure | None:
    having = {name: histories[stage] for name, histories in runs.items() if histories.get(stage)}
    key, label = next(
        (shown for shown in SHOWN if any(shown[0] in rows[0] for rows in having.values())),
        ("train_loss", "loss"),
    )
    lines = {name: rows for name, rows in having.items() if key in rows[0]}
    if not lines:
        return None

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for index, (name, rows) in enumerate(lines.items()):
            style = ("-", "--", ":")[index // len(CLASS_COLOURS) % 3]
            colour = CLASS_COLOURS[index % len(CLASS_COLOURS)]
            epochs = [row["epoch"] for row in rows]
            axes.plot(epochs, [row[key] for row in rows], color=colour, linestyle=style, label=name)
        axes.set(xlabel="epoch", ylabel=label, title=stage)
        axes.legend()

    summary = "; ".join(
        f"{name}: {rows[-1][key]:.4g} after {len(rows)} epochs" for name, rows in lines.items()
    )
    return draw(
        f"overlay-{stage}",
        paint,
        alt=f"{label} of {stage} by epoch, a line per run. {summary}.",
        caption=f"{stage}: {label}.",
    )
