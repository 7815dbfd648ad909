"""A run's report: the same sections as one self-contained HTML page or as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stackae.data.label_use import in_words
from stackae.metrics import per_class
from stackae.plan.baselines import in_short
from stackae.repetitions import averaged, every_stage
from stackae.report.baseline_section import baseline_section
from stackae.report.classifier_figures import classifier_figures, mistakes
from stackae.report.feature_figures import feature_figures
from stackae.report.importance_section import importance_section
from stackae.report.parts import Section, Table
from stackae.report.repetitions import repetition_section
from stackae.report.report_data import Facts
from stackae.report.training_figures import training_figures


@dataclass(frozen=True)
class Number:
    """A figure in large type and what it is."""

    name: str
    value: str


@dataclass(frozen=True)
class Report:
    """Everything a report says, whatever it is written as."""

    title: str
    subtitle: str
    verdict: str
    mood: str
    numbers: Sequence[Number]
    sections: Sequence[Section]
    environment: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    shows: str = ""


def build_report(facts: Facts, *, shows: str, tsne: bool = False) -> Report:
    """Draw the figures and put the sections in order, the verdict first; `shows` is the stages' digest."""
    results = facts.results
    data = results["data"]
    return Report(
        title=results["name"],
        subtitle=(
            f"{data['train']:,} training, {data['val']:,} validation and {data['test']:,} test rows of "
            f"{data['features']:,} features; {in_words(data)}; seed {results['seed']}"
        ),
        verdict=_verdict(results),
        mood=_mood(results),
        numbers=list(_numbers(results)),
        sections=list(_sections(facts, tsne=tsne)),
        environment=dict(results["environment"]),
        config=facts.config,
        shows=shows,
    )


def to_html(report: Report) -> str:
    """Render one page without any outside resource, for light and dark, wide and narrow screens."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("stackae.report", "."), autoescape=True)
    return environment.get_template("page.html.j2").render(vars(report))


def to_markdown(report: Report, folder: Path) -> str:
    """Return Markdown text; write its figures as SVG files into `folder`, beside the text."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {report.title}", report.subtitle, f"**{report.verdict}**"]
    lines += ["\n".join(f"- {number.name}: {number.value}" for number in report.numbers)]
    for section in report.sections:
        lines += [f"## {section.title}", *section.paragraphs]
        for figure in section.figures:
            path = folder / f"{figure.name}.svg"
            path.write_text(figure.svg)
            lines += [f"![{figure.alt}]({folder.name}/{path.name})", figure.caption]
        for table in section.tables:
            rows = [table.columns, ["---"] * len(table.columns), *table.rows]
            cells = ([cell.replace("|", "\\|") for cell in row] for row in rows)
            lines += [table.name, "\n".join(f"| {' | '.join(row)} |" for row in cells)]
    environment = "\n".join(f"- {name}: {value}" for name, value in report.environment.items())
    lines += ["## Configuration and environment", environment, f"```yaml\n{report.config}```"]
    return "\n\n".join(line for line in lines if line) + "\n"


def _verdict(results: Any) -> str:
    verdict = results["verdict"]
    if verdict and verdict["gain"] is not None:
        return str(verdict["text"])
    if results["classifier"]:
        error = f"{results['classifier']['test']['error']:.2%}".replace("%", " %")
        text = f"Test error {error}. Without a network from scratch beside it, the gain is unknown."
        return f"{text} {verdict['text']}" if verdict else text
    return "No classifier was trained: this run learned features alone."


def _mood(results: Any) -> str:
    verdict = results["verdict"]
    if verdict and verdict["baseline"] and verdict["baseline"]["use"] == "baseline":
        # Whatever pretraining gained: something else is to be used.
        return "bad"
    if not verdict or verdict["p"] is None or verdict["p"] >= 0.05:
        return "even"
    return "good" if verdict["gain"] > 0 else "bad"


def _numbers(results: Any) -> Iterator[Number]:
    percent, repetitions, stages = "{:.2%}".format, len(results.get("repetitions", ())), every_stage(results)
    results = averaged(results)
    mean = f", mean of {repetitions} repetitions" if repetitions else ""
    if results["classifier"]:
        yield Number(f"test error, pretrained{mean}", percent(results["classifier"]["test"]["error"]))
        if val := results["classifier"]["val"]:
            judged = "error out of fold" if results["data"].get("folds") else "validation error"
            yield Number(f"{judged}, pretrained{mean}", percent(val["error"]))
    if results["scratch"]:
        yield Number(f"test error, from scratch{mean}", percent(results["scratch"]["test"]["error"]))
    if alone := results.get("labels_alone"):
        yield Number(f"test error, from scratch with labels alone{mean}", percent(alone["test"]["error"]))
    verdict = results["verdict"]
    if verdict and verdict["baseline"]:
        best = verdict["baseline"]
        name = f"test error, {best['name'].replace('_', ' ')} on the {best['on']}{mean}"
        yield Number(name, percent(1 - best["test"]["baseline"]))
    if results["blend"]:
        blended = in_short(results["blend"]["with"])
        name = f"test error, mean with {blended}, which the model predicts{mean}"
        yield Number(name, percent(results["blend"]["test"]["error"]))
    if verdict and verdict["gain"] is not None:
        low, high = (f"{100 * end:+.2f}" for end in verdict["ci95"])
        yield Number(f"points gained, 95 % interval {low} to {high}", f"{100 * verdict['gain']:+.2f}")
        test = "paired t-test over the repetitions" if repetitions else "McNemar's exact test"
        yield Number(f"p, {test}", f"{verdict['p']:.2g}")
    yield Number("squared error per feature, whole stack", f"{results['reconstruction']['test']['mse']:.3g}")
    trained = sum(stage["seconds"] or 0.0 for stage in stages if not stage["reused"])
    reused = sum(stage["reused"] for stage in stages)
    yield Number(f"trained in this run; {reused} of {len(stages)} stages reused", f"{trained:.3g} s")


def _sections(facts: Facts, *, tsne: bool) -> Iterator[Section]:
    if facts.results.get("remarks"):
        yield Section("Remarks on the data", facts.results["remarks"])
    training = list(training_figures(facts))
    yield Section("The stack and its training", figures=training, tables=[_stages(facts.results)])
    strongest = [_strongest(facts)] if not facts.is_image and facts.filters is not None else []
    yield Section(
        "What the layers learned",
        figures=list(feature_figures(facts, tsne=tsne)),
        tables=[table for table in strongest if table is not None],
    )
    figures = list(classifier_figures(facts))
    if figures:
        tables = [_per_class(facts)]
        if not facts.is_image and (wrong := mistakes(facts)):
            rows = [[f"{m.row:,}", m.true, m.predicted, f"{m.probability:.1%}"] for m in wrong]
            tables.append(
                Table(
                    "Most confident mistakes",
                    ["test row", "true class", "predicted class", "probability"],
                    rows,
                )
            )
        yield Section("How well the classifier does", figures=figures, tables=tables)
    results = facts.results
    for section in (
        repetition_section(results),
        importance_section(results),
        baseline_section(averaged(results)),
    ):
        if section is not None:
            yield section


def _stages(results: Any) -> Table:
    def figure(metrics: Any, name: str) -> str:
        return f"{metrics[name]:.3g}" if name in metrics else ""

    rows = [
        [
            stage["stage"],
            "reused" if stage["reused"] else "trained",
            f"{stage['seconds'] or 0.0:.1f}",
            str(stage["epochs"] or ""),
            figure(stage["metrics"], "reconstruction_ratio"),
            figure(stage["metrics"], "effective_rank"),
            figure(stage["metrics"], "dead_units"),
            figure(stage["metrics"], "saturated_units"),
            stage["key"][:12],
        ]
        for stage in results["stages"]
    ]
    columns = ["stage", "", "seconds", "epochs", "error ratio", "effective rank", "dead", "saturated", "key"]
    return Table("Stages", columns, rows)


def _per_class(facts: Facts) -> Table:
    figures = per_class(facts.results["classifier"]["test"]["confusion"])
    rows = [
        [name, f"{figure['rows']:,}", _share(figure["recall"]), _share(figure["precision"])]
        for name, figure in zip(facts.classes, figures, strict=True)
    ]
    return Table("Per class, test rows", ["class", "rows", "recall", "precision"], rows)


def _share(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.2%}"


def _strongest(facts: Facts, units: int = 8, inputs: int = 4) -> Table | None:
    """List the inputs with the largest weights of the first layer's strongest units, by name."""
    weights = facts.filters
    assert weights is not None
    if weights.ndim != 2 or weights.shape[1] != len(facts.names):
        return None
    order = np.argsort(-np.square(weights).sum(1), kind="stable")[:units]
    rows = []
    for unit in order:
        top = np.argsort(-np.abs(weights[unit]), kind="stable")[:inputs]
        rows.append([f"{unit}", *(f"{facts.names[index]} {weights[unit, index]:+.2f}" for index in top)])
    return Table("Strongest inputs of the first layer's units", ["unit", *[""] * inputs], rows)
