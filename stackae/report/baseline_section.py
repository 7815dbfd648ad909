"""What a report says of the baselines: a figure, a table, and which were left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.figure import Figure as Canvas

from stackae.plan.baselines import in_short
from stackae.report.left_out import left_out_line
from stackae.report.parts import Section, Table
from stackae.report.plotting import GREEN, INK, ORANGE, PURPLE, Figure, draw


def baseline_section(results: Mapping[str, Any]) -> Section | None:
    """Write the section on the baselines; None where none was fitted or left out."""
    baselines, left_out = results["baselines"], left_out_line(results["baselines_left_out"])
    if not baselines and not left_out:
        return None
    advice = (results["verdict"] or {}).get("baseline")
    paragraphs = [
        "Classifiers of scikit-learn, fitted to the same labelled rows. Their strengths are chosen by the "
        "rows that validate the networks, and so is the best of them; the test rows decide nothing.",
        *([advice["text"]] if advice else []),
        *([left_out] if left_out else []),
    ]
    if not baselines:
        return Section("Baselines", paragraphs=paragraphs[1:])
    rows = [[name, val, test, strength] for name, val, test, strength, _ in _rows(results)]
    columns = ["", "validated accuracy", "test accuracy", "strength"]
    return Section(
        "Baselines",
        paragraphs=paragraphs,
        figures=[_chart(results)],
        tables=[Table(f"The stack and the baselines{_means(results)}", columns, rows)],
    )


def _means(results: Mapping[str, Any]) -> str:
    repetitions = results.get("repetitions")
    return f", means of {len(repetitions)} repetitions" if repetitions else ""


def _rows(results: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, tuple[float, str]]]:
    """Yield name, accuracies and strength of each classifier, and what is drawn of it."""
    stacks = {"the stack": ("classifier", GREEN), "from scratch": ("scratch", ORANGE)}
    for name, (key, colour) in stacks.items():
        if results[key]:
            yield name, *_accuracies(results[key]), "", (results[key]["test"]["accuracy"], colour)
    if results["blend"]:
        blend = results["blend"]
        name = f"mean with {in_short(blend['with'])}"
        yield name, *_accuracies(blend), "", (blend["test"]["accuracy"], GREEN)
    for each in results["baselines"]:
        strength = ", ".join(f"{name} {value:g}" for name, value in each["strength"].items())
        name = f"{each['name'].replace('_', ' ')} on {each['on']}"
        yield name, *_accuracies(each), strength, (each["test"]["accuracy"], PURPLE)


def _accuracies(figures: Mapping[str, Any]) -> tuple[str, str]:
    val = figures["val"]
    return f"{val['accuracy']:.2%}" if val else "–", f"{figures['test']['accuracy']:.2%}"


def _chart(results: Mapping[str, Any]) -> Figure:
    rows = list(_rows(results))
    names = [name for name, *_ in rows]
    values = [100 * value for *_, (value, _) in rows]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.barh(names, values, color=[colour for *_, (_, colour) in rows], height=0.6)
        for place, value in enumerate(values):
            axes.text(value, place, f" {value:.1f}", va="center", fontsize=8, color=INK)
        axes.set(xlabel="test accuracy, %", xlim=(0, 1.12 * max(values)))
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()

    listed = "; ".join(f"{name} {value:.1f} %" for name, value in zip(names, values, strict=True))
    return draw(
        "baselines",
        paint,
        alt=f"Test accuracy of the stack and of the baselines: {listed}.",
        caption=(
            "Test accuracy of the stack, its control and the baselines on the same labelled rows"
            f"{_means(results)}."
        ),
        size=(6.4, 0.6 + 0.3 * len(rows)),
        wide=True,
    )
