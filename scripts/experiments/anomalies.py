"""Intrusions found without a label: by how badly an autoencoder of normal connections reconstructs them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from experiments.lab import Lab, Run
from experiments.section import table
from stackae.config_file import load_config
from stackae.data.files.paths import as_paths
from stackae.data.new_rows import read_rows

TESTS = ("KDDTest+.txt.gz", "KDDTest-21.txt.gz")
SEEDS = 3
UNLABELLED = (
    "data.test=null",
    "data.target=null",
    "data.classes={}",
    "data.drop=[attack, difficulty]",
    "finetune=null",
)
Detector = Callable[[np.ndarray], np.ndarray]
"""How unusual each row of features is."""


def intrusions(lab: Lab) -> Sequence[str]:
    """How well models that have seen normal connections alone tell attacks from them, on both test sets."""
    areas: dict[str, list[list[float]]] = {}
    (folder,) = as_paths("$STACKAE_DATA/nsl_kdd")
    normal = _normal(folder / "KDDTrain+.txt.gz", lab.runs / "nsl_kdd-normal.csv")
    for seed in range(SEEDS):
        name = f"nsl_kdd-normal-{seed}"
        run = lab.carry_out("nsl_kdd", f"data.source={normal}", *UNLABELLED, f"seed={seed}", name=name)
        detectors = _detectors(run.model.preprocessing(_rows(run, normal)[0]), seed)
        for at, test in enumerate(TESTS):
            raw, attack = _rows(run, folder / test)
            scores = {"reconstruction error of stackae": run.model.errors(raw)}
            scores |= {name: detect(run.model.preprocessing(raw)) for name, detect in detectors.items()}
            for name, score in scores.items():
                areas.setdefault(name, [[] for _ in TESTS])[at].append(float(roc_auc_score(attack, score)))
    rows = [
        [name, *(f"{np.mean(some):.4f} ({min(some):.4f} to {max(some):.4f})" for some in each)]
        for name, each in areas.items()
    ]
    head = (
        "Without a label: the area under the ROC curve of attacks against normal connections, of detectors "
        f"that have seen normal connections alone ({SEEDS} seeds):"
    )
    return [head, table(["detector", *(test.partition(".")[0] for test in TESTS)], rows)]


def _normal(train: Path, path: Path) -> Path:
    """Writes the training rows that are no attacks to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(train, "rt") as file:
        path.write_text("".join(line for line in file if ",normal," in line))
    return path


def _rows(run: Run, path: Path) -> tuple[Any, np.ndarray]:
    """The rows of a file, read as the run reads its own, and which of them are attacks."""
    config = load_config(run.folder / "config.yaml").data
    labelled = config.model_copy(update={"target": "attack", "drop": ("difficulty",)})
    given = read_rows(str(path), labelled, run.model.preprocessing)
    assert given.labels is not None
    return given.rows.take(np.arange(len(given.rows))), given.labels != "normal"


def _detectors(normal: np.ndarray, seed: int) -> dict[str, Detector]:
    forest = IsolationForest(n_estimators=300, random_state=seed).fit(normal)
    axes = PCA(n_components=0.95, random_state=seed).fit(normal)

    def residual(x: np.ndarray) -> np.ndarray:
        rest: np.ndarray = np.square(x - axes.inverse_transform(axes.transform(x))).sum(1)
        return rest

    return {
        "isolation forest, 300 trees": lambda x: -forest.score_samples(x),
        "PCA, 95 % of the variance: squared residual": residual,
    }
