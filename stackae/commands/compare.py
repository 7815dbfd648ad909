"""`stackae compare`: finished runs in one table, overlaid curves, paired tests on the same test rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from stackae.console import show_lines, show_table
from stackae.errors import ArtifactError, ConfigError
from stackae.machine.disk import write_atomically
from stackae.plan.baselines import in_short
from stackae.repetitions import averaged, every_stage
from stackae.report.comparison_figures import overlay
from stackae.report.page import Report, to_html
from stackae.report.parts import Section, Table
from stackae.report.verdict import paired

COLUMNS = (
    "run",
    "seed",
    "labelled",
    "validation error",
    "test error",
    "from scratch",
    "best baseline",
    "blended",
    "gain",
    "seconds",
)


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run: its results, its curves by stage, its test rows (number, class) and predictions."""

    folder: Path
    results: dict[str, Any]
    histories: dict[str, list[dict[str, float]]]
    rows: list[tuple[str, str]]
    predicted: np.ndarray

    @property
    def name(self) -> str:
        """The folder's name, which tells apart what is called alike."""
        return self.folder.name

    @property
    def correct(self) -> np.ndarray:
        """Whether each test row was classified correctly: boolean (rows,)."""
        correct: np.ndarray = self.predicted == np.array([label for _, label in self.rows])
        return correct


def compare(folders: Sequence[Path], out: Path) -> None:
    """Print the runs' table and paired tests, and write them with overlaid curves to an HTML page `out`."""
    if len(folders) < 2:
        raise ConfigError(f"compare: {len(folders)} run given; name at least two run folders")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"-o '{out}': there is no folder '{out.absolute().parent}'; make it first")
    runs = [read_run(folder) for folder in folders]
    rows, tests = [_row(run) for run in runs], list(_tests(runs))
    notes = [
        f"{run.name}: means of {len(repetitions)} repetitions; what is tested and drawn is its first."
        for run in runs
        if (repetitions := run.results.get("repetitions"))
    ]
    report = Report(
        title=" · ".join(run.name for run in runs),
        subtitle=f"{len(runs)} runs",
        verdict=tests[0],
        mood="even",
        numbers=(),
        sections=[
            Section("Runs", paragraphs=notes, tables=[Table("Figures", COLUMNS, rows)]),
            Section("Paired tests", paragraphs=tests),
            Section("Curves", figures=overlay({run.name: run.histories for run in runs})),
        ],
    )
    write_atomically(out, to_html(report))
    show_table(COLUMNS, rows)
    show_lines(*notes, *tests, f"Curves in {out}.")


def read_run(folder: Path) -> Finished:
    """Read a run's folder; ArtifactError where it is none, or damaged."""
    try:
        results = json.loads((folder / "results.json").read_text())
        files = sorted((folder / "metrics").glob("*.csv"))
        histories = {path.stem: _numbers(path) for path in files}
        rows, predicted = [], []
        if (folder / "test-predictions.csv").exists():
            with (folder / "test-predictions.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    rows.append((row["row"], row["class"]))
                    predicted.append(row.get("blended") or row.get("pretrained", ""))
        run = Finished(folder, results, histories, rows, np.array(predicted, dtype=str))
        _row(run)
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder}: no results in this folder; name the folder of a finished run"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise ArtifactError(
            f"{folder}: damaged ({type(fault).__name__}: {fault}); run its config again"
        ) from None
    return run


def _numbers(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _row(run: Finished) -> list[str]:
    results = averaged(run.results)
    classifier, scratch, verdict = results["classifier"], results["scratch"], results["verdict"]
    blend = results.get("blend")
    return [
        run.name,
        str(results["seed"]),
        f"{results['data']['labelled']:,}",
        _percent(1 - classifier["val"]["accuracy"]) if classifier and classifier["val"] else "",
        _percent(classifier["test"]["error"]) if classifier else "",
        _percent(scratch["test"]["error"]) if scratch else "",
        _baseline(verdict),
        f"{_percent(blend['test']['error'])} {in_short(blend['with'])}" if blend else "",
        f"{100 * verdict['gain']:+.2f}" if verdict and verdict["gain"] is not None else "",
        f"{sum(stage['seconds'] or 0.0 for stage in every_stage(results)):.1f}",
    ]


def _baseline(verdict: Any) -> str:
    """Return the test error of the best baseline by cross-validation, and its name."""
    best = verdict and verdict.get("baseline")
    return f"{_percent(1 - best['test']['baseline'])} {best['name'].replace('_', ' ')}" if best else ""


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _tests(runs: Sequence[Finished]) -> Iterator[str]:
    """Yield a sentence per pair of runs."""
    for first, second in combinations(runs, 2):
        both = f"{first.name} and {second.name}"
        if not (first.results["classifier"] and second.results["classifier"]):
            yield f"{both}: not compared, since one of them trained no classifier."
        elif first.rows != second.rows:
            yield f"{both}: not tested, since their test rows differ."
        else:
            comparison = paired(first.correct, second.correct)
            better = first.name if comparison.gain > 0 else second.name
            outcome = f"{better} is better" if comparison.p < 0.05 else "no clear difference"
            evidence = comparison.evidence(len(first.rows))
            yield f"{first.name} against {second.name}: {outcome} ({evidence})."
