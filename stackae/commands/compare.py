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
from stackae.report.comparison_figures import overlay
from stackae.report.page import Report, Section, Table, to_html
from stackae.report.verdict import paired

COLUMNS = ("run", "seed", "labelled", "validation error", "test error", "from scratch", "gain", "seconds")


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run: its results, its curves by stage, and the test rows with what they were taken for."""

    folder: Path
    results: dict[str, Any]
    histories: dict[str, list[dict[str, float]]]
    rows: list[tuple[str, str]]
    taken_for: np.ndarray

    @property
    def name(self) -> str:
        """The folder's name, which tells apart what is called alike."""
        return self.folder.name

    @property
    def right(self) -> np.ndarray:
        """Which test rows were classified rightly, (rows,)."""
        right: np.ndarray = self.taken_for == np.array([label for _, label in self.rows])
        return right


def compare(folders: Sequence[Path], out: Path) -> None:
    """Print the runs' table and paired tests, and write them with overlaid curves to an HTML page `out`."""
    if len(folders) < 2:
        raise ConfigError(f"compare: {len(folders)} run given; name at least two run folders")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"-o '{out}': there is no folder '{out.absolute().parent}'; make it first")
    runs = [read_run(folder) for folder in folders]
    rows, tests = [_row(run) for run in runs], list(_tests(runs))
    report = Report(
        title=" · ".join(run.name for run in runs),
        subtitle=f"{len(runs)} runs",
        verdict=tests[0],
        mood="even",
        numbers=(),
        sections=[
            Section("Runs", tables=[Table("Figures", COLUMNS, rows)]),
            Section("Paired tests", texts=tests),
            Section("Curves", figures=overlay({run.name: run.histories for run in runs})),
        ],
    )
    write_atomically(out, to_html(report))
    show_table(COLUMNS, rows)
    show_lines(*tests, f"Curves in {out}.")


def read_run(folder: Path) -> Finished:
    """Reads a run's folder; ArtifactError where it is none, or damaged."""
    try:
        results = json.loads((folder / "results.json").read_text())
        files = sorted((folder / "metrics").glob("*.csv"))
        histories = {path.stem: _numbers(path) for path in files}
        rows, taken_for = [], []
        if (folder / "test-predictions.csv").exists():
            with (folder / "test-predictions.csv").open(newline="") as file:
                for row in csv.DictReader(file):
                    rows.append((row["row"], row["class"]))
                    taken_for.append(row.get("pretrained", ""))
        run = Finished(folder, results, histories, rows, np.array(taken_for, dtype=str))
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
    results = run.results
    classifier, scratch, found = results["classifier"], results["scratch"], results["verdict"]
    return [
        run.name,
        str(results["seed"]),
        f"{results['data']['labelled']:,}",
        _percent(1 - classifier["val"]["accuracy"]) if classifier else "",
        _percent(classifier["test"]["error"]) if classifier else "",
        _percent(scratch["test"]["error"]) if scratch else "",
        f"{100 * found['gain']:+.2f}" if found else "",
        f"{sum(stage['seconds'] or 0.0 for stage in results['stages']):.1f}",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _tests(runs: Sequence[Finished]) -> Iterator[str]:
    """A sentence per pair of runs."""
    for one, other in combinations(runs, 2):
        both = f"{one.name} and {other.name}"
        if not (one.results["classifier"] and other.results["classifier"]):
            yield f"{both}: not compared, since one of them trained no classifier."
        elif one.rows != other.rows:
            yield f"{both}: not tested, since their test rows differ."
        else:
            found = paired(one.right, other.right)
            better = one.name if found.gain > 0 else other.name
            judged = f"{better} is better" if found.p < 0.05 else "no clear difference"
            yield f"{one.name} against {other.name}: {judged} ({found.evidence(len(one.rows))})."
