"""What a report says of the columns of a table: what each is worth to the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure as Canvas

from stackae.report.parts import Section, Table
from stackae.report.plotting import GREEN, Figure, draw

SHOWN = 20


def importance_section(results: Mapping[str, Any]) -> Section | None:
    """Write the section on columns; None where the run has no table or no classifier."""
    found = results.get("importance")
    if found is None:
        return None
    title = "What a column is worth"
    if found["left_out"]:
        return Section(title, paragraphs=[f"Not measured: {found['left_out']}."])
    seen = "" if found["unseen"] else ", from which it had learnt in the end"
    text = (
        "How much the classifier's accuracy falls where a column's cells are permuted among "
        f"{found['rows']:,} rows that validate{seen}; mean and standard deviation of five permutations. "
        "Where two columns say the same, either seems to be worth little."
    )
    shown = found["columns"][:SHOWN]
    rows = [[each["column"], f"{100 * each['mean']:.2f}", f"{100 * each['std']:.2f}"] for each in shown]
    more = len(found["columns"]) - len(shown)
    name = "Columns by the fall of accuracy, points" + (f", without {more:,} more" if more else "")
    return Section(
        title, paragraphs=[text], figures=[_chart(shown)], tables=[Table(name, ["column", "fall", "±"], rows)]
    )


def _chart(columns: list[Mapping[str, Any]]) -> Figure:
    names = [each["column"] if len(each["column"]) <= 24 else each["column"][:23] + "…" for each in columns]
    means = [100 * each["mean"] for each in columns]
    deviations = [100 * each["std"] for each in columns]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        places = range(len(names))
        axes.barh(places, means, xerr=deviations, color=GREEN, height=0.6)
        axes.set_yticks(places, names)
        axes.set(xlabel="fall of accuracy without the column, points")
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()

    listed = "; ".join(f"{name} {value:.2f}" for name, value in zip(names, means, strict=True))
    return draw(
        "importance",
        paint,
        alt=f"Fall of accuracy, in points, where a column is permuted: {listed}.",
        caption="What each column is worth to the classifier, on rows that validate.",
        size=(6.4, 0.6 + 0.3 * len(names)),
        wide=True,
    )
