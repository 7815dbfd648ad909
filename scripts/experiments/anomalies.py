"""Intrusions found without a label: by how badly an autoencoder of normal connections reconstructs them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from experiments.lab import Lab
from experiments.section import table
from stackae.config_file import load_config
from stackae.data.given import read_rows

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
    for seed in range(SEEDS):
        normal, run = _normal(lab), f"nsl_kdd-normal-{seed}"
        model = lab.carry_out("nsl_kdd", f"data.source={normal}", *UNLABELLED, f"seed={seed}", name=run).model
        config = load_config(lab.runs / run / "config.yaml").data
        labelled = config.model_copy(update={"target": "attack", "drop": ("difficulty",)})

        def rows(path: Path, labelled=labelled, model=model) -> tuple[Any, np.ndarray]:
            given = read_rows(str(path), labelled, model.preprocessing)
            assert given.labels is not None
            return given.rows.take(np.arange(len(given.rows))), given.labels != "normal"

        detectors = _detectors(model.preprocessing(rows(normal)[0]), seed)
        for at, test in enumerate(TESTS):
            raw, attack = rows(_folder() / test)
            scores = {"reconstruction error of stackae": model.errors(raw)}
            scores |= {name: detect(model.preprocessing(raw)) for name, detect in detectors.items()}
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


def _folder() -> Path:
    return Path(os.path.expandvars("$STACKAE_DATA/nsl_kdd"))


def _normal(lab: Lab) -> Path:
    """The file of the training rows that are no attacks."""
    path = lab.runs / "nsl_kdd-normal.csv"
    lab.runs.mkdir(parents=True, exist_ok=True)
    with gzip.open(_folder() / "KDDTrain+.txt.gz", "rt") as file:
        path.write_text("".join(line for line in file if ",normal," in line))
    return path


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
