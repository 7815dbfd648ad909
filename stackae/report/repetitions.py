"""What a report says of a run's repetitions: a table, and what each of them gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stackae.repetitions import averaged, of_baseline
from stackae.report.parts import Section, Table
from stackae.report.plotting import GREEN, INK, ORANGE, Figure, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

Results = Mapping[str, Any]


def repetition_section(results: Results) -> Section | None:
    """Write the section on the repetitions; None where there is one."""
    if not results.get("repetitions"):
        return None
    paragraphs = [
        "Each repetition keeps other labels and fine-tunes from a new start; all share rows and pretraining. "
        "The verdict is on their means. The model, and all figures of this page that do not speak of "
        "repetitions, are those of the first.",
    ]
    gained = results["verdict"] is not None and results["verdict"]["gain"] is not None
    return Section(
        "Repetitions",
        paragraphs=paragraphs,
        figures=[_gains(results)] if gained else [],
        tables=[repetition_table(results)],
    )


def repetition_table(results: Results) -> Table:
    """List the test errors of each repetition, and their means."""
    best = (results["verdict"] or {}).get("baseline")
    columns = ["repetition", "pretrained"]
    columns += ["from scratch", "gain in points"] if results["scratch"] else []
    columns += [f"{best['name'].replace('_', ' ')} on the {best['on']}"] if best else []
    columns += ["what the model predicts"] if averaged(results)["blend"] else []

    def row(name: str, of: Results, gain: float | None) -> list[str]:
        cells = [name, _error(of["classifier"])]
        cells += [] if gain is None else [_error(of["scratch"]), f"{100 * gain:+.2f}"]
        cells += [_error(of_baseline(of, best["name"], best["on"]))] if best else []
        return cells + ([_error(of["blend"] or of["classifier"])] if len(columns) > len(cells) else [])

    gain = (results["verdict"] or {}).get("gain")
    rows = [row(str(each["repeat"]), each, each["gain"]) for each in results["repetitions"]]
    return Table("Test errors of the repetitions", columns, [*rows, row("mean", averaged(results), gain)])


def _error(part: Results | None) -> str:
    return "–" if part is None else f"{part['test']['error']:.2%}".replace("%", " %")


def _gains(results: Results) -> Figure:
    """Draw the gain of each repetition and their mean, each with its interval."""
    repetitions, verdict = results["repetitions"], results["verdict"]
    names = [f"repetition {each['repeat']}" for each in repetitions] + ["mean"]
    compared: Sequence[Results] = [*repetitions, verdict]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        for place, (name, each) in enumerate(zip(names, compared, strict=True)):
            colour = GREEN if name == "mean" else ORANGE
            low, high = (100 * end for end in each["ci95"])
            axes.plot([low, high], [place, place], color=colour, linewidth=3 if name == "mean" else 1)
            axes.plot(100 * each["gain"], place, "D" if name == "mean" else "o", color=colour)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="points gained over the network from scratch")
        axes.grid(visible=False, axis="y")
        axes.invert_yaxis()

    told = "; ".join(f"{name} {100 * each['gain']:+.2f}" for name, each in zip(names, compared, strict=True))
    return draw(
        "repetitions",
        paint,
        alt=f"Points gained over the network from scratch, by repetition: {told}.",
        caption=(
            "Points gained in each repetition, with its interval over the test rows, and their mean, with "
            "its interval over the repetitions (Student's t, 95 %)."
        ),
        size=(6.4, 0.9 + 0.28 * len(names)),
        wide=True,
    )
