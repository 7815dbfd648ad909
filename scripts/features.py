"""Measures what codes are worth as features: `python scripts/features.py [SET …]`.

Pretrains the stack of configs/SET.yaml without fine-tuning, once, and fits scikit-learn's logistic regression
and extra trees to the columns, the codes of the last layer, the codes of all layers, and the columns with
these, with few and with all labels. Each result is a line of docs/features.jsonl, and is not measured again;
the tables of docs/features.md are made of these lines. Needs the data sets, in the folder that STACKAE_DATA
names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

# OpenMP reads it when torch is imported; it is what stackae's own entry sets.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import typer
from experiments.lab import Lab, Run
from experiments.section import put_section, table
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stackae.config_file import load_config
from stackae.data.read import read_source
from stackae.data.splits import make_split

SETS = {"isolet": (), "adult": (), "nsl_kdd": ("data.split.train=30000",)}
"""The sets, each a config, and what is changed in it."""
PRETRAINED_ALONE = (
    "finetune=null",
    "compare.probe=false",
    "report=false",
    "tracking.wandb=disabled",
    "seed=0",
)
LABELS = {"10 per class": (10, 3), "50 per class": (50, 3), "all": (None, 1)}
"""How many labels of each class, and how often they are drawn."""
MOST_ROWS = 10_000
"""Rows that a classifier is fitted to at most, drawn from those with a label."""
FEATURES: dict[str, dict[str, Any]] = {
    "columns": {},
    "codes of the last layer": {"layer": None},
    "codes of all layers": {"layer": "all"},
    "columns and codes of all layers": {"layer": "all", "with_input": True},
}
"""What is fitted to: the arguments of `encode`, or none for the preprocessed columns alone."""
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
TREES = 300

app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Line:
    """One result: of a classifier fitted to features, on the published test rows."""

    set: str
    labels: str
    repetition: int
    classifier: str
    features: str
    width: int
    rows: int
    accuracy: float
    strength: float | None

    @property
    def cell(self) -> tuple[str, str, int, str, str]:
        return self.set, self.labels, self.repetition, self.classifier, self.features


@app.command()
def features(
    sets: Annotated[
        list[str] | None, typer.Argument(metavar="[SET]...", help="Sets; all by default.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A change to the configs.")
    ] = None,
    docs: Annotated[Path, typer.Option(help="Folder of the documents.")] = Path("docs"),
    store: Annotated[Path, typer.Option(help="Folder of finished stages.")] = Path(".stackae"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
) -> None:
    """Measures what is not measured yet, and writes the tables; run it in the repository's root."""
    for name in sets or []:
        if name not in SETS:
            raise typer.BadParameter(f"'{name}'; use some of {', '.join(SETS)}", param_hint="SET")
    log = docs / "features.jsonl"
    docs.mkdir(exist_ok=True)
    lab = Lab(overrides or [], store, runs, docs / "pictures" / "features.png")
    pretrained = {
        name: lab.carry_out(name, *SETS[name], *PRETRAINED_ALONE, name=f"{name}-features")
        for name in sets or SETS
    }
    for labels in LABELS:
        for name, run in pretrained.items():
            with log.open("a") as file:
                for line in _measured(name, run, labels, {line.cell for line in _lines(log)}):
                    file.write(json.dumps(asdict(line)) + "\n")
                    file.flush()
                    print(line, flush=True)
            put_section(docs / "features.md", "results", _tables(_lines(log)), head="# Codes as features\n")


def _lines(log: Path) -> list[Line]:
    return [Line(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def _measured(name: str, run: Run, labels: str, known: set[tuple[str, str, int, str, str]]) -> Iterator[Line]:
    """Yields the results of a set that are not known yet, with so many labels."""
    per_class, repetitions = LABELS[labels]
    config = load_config(run.folder / "config.yaml")
    source = read_source(config.data)
    split, y = make_split(source, config.data, config.seed), source.labels
    for features, arguments in FEATURES.items():
        wanted = [
            (repetition, classifier)
            for repetition in range(repetitions)
            for classifier in ("logistic regression", "extra trees")
            if (name, labels, repetition, classifier, features) not in known
        ]
        encoded: dict[str, np.ndarray] = {}
        for repetition, classifier in wanted:
            if not encoded:
                encoded["test"] = _features(run, source.all.take(split.test), arguments)
            rows = _drawn(split.train, y, per_class, repetition)
            x = _features(run, source.all.take(rows), arguments)
            model = _classifier(classifier, repetition, folds=5 if per_class else 3).fit(x, y[rows])
            accuracy = float(model.score(encoded["test"], y[split.test]))
            strength = model.best_params_["logisticregression__C"] if hasattr(model, "best_params_") else None
            yield Line(
                name, labels, repetition, classifier, features, x.shape[1], len(rows), accuracy, strength
            )


def _features(run: Run, rows: Any, arguments: dict[str, Any]) -> np.ndarray:
    """The features of rows, by the model's public methods: of the columns alone those in front of a code."""
    if arguments:
        return run.model.encode(rows, **arguments)
    width = run.results.data["features"]
    return run.model.encode(rows, 1, with_input=True)[:, :width]


def _drawn(train: np.ndarray, y: np.ndarray, per_class: int | None, repetition: int) -> np.ndarray:
    """The numbers of the rows that are fitted to: so many of each class, or all up to MOST_ROWS."""
    rng = np.random.default_rng(repetition)
    labelled = train[y[train] >= 0]
    if per_class is None:
        return np.sort(rng.permutation(labelled)[:MOST_ROWS])
    classes = np.unique(y[labelled])
    return np.sort(
        np.concatenate([rng.permutation(labelled[y[labelled] == each])[:per_class] for each in classes])
    )


def _classifier(name: str, seed: int, *, folds: int) -> Any:
    if name == "extra trees":
        return ExtraTreesClassifier(TREES, random_state=seed)
    scaled = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200, tol=1e-3))
    return GridSearchCV(scaled, {"logisticregression__C": STRENGTHS}, cv=folds)


def _tables(lines: list[Line]) -> str:
    """A table of test accuracies for each classifier, with a column for each set and number of labels."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    for line in lines:
        found.setdefault((line.classifier, line.features, line.set, line.labels), []).append(line.accuracy)
    columns = [
        (name, labels)
        for name in SETS
        for labels in LABELS
        if any((name, labels) == key[2:] for key in found)
    ]
    parts = []
    for classifier in ("logistic regression", "extra trees"):
        means = {
            column: {
                features: float(np.mean(found[classifier, features, *column]))
                for features in FEATURES
                if (classifier, features, *column) in found
            }
            for column in columns
        }
        rows = [[features, *(_cell(means[column], features) for column in columns)] for features in FEATURES]
        parts.append(table([classifier, *(" ".join(column) for column in columns)], rows))
    return "\n\n".join(parts)


def _cell(means: dict[str, float], features: str) -> str:
    """The mean accuracy, in bold where it is the highest of its column."""
    if features not in means:
        return ""
    shown = f"{means[features]:.2%}"
    return f"**{shown}**" if means[features] == max(means.values()) else shown


if __name__ == "__main__":
    app()
