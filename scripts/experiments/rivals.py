"""Classifiers of scikit-learn on the very rows, features and labels that a run's classifier had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.svm import SVC

from experiments.lab import Run
from stackae.config_file import load_config
from stackae.data.read import read_source
from stackae.data.splits import make_split

FEW = 2000
"""Up to so many labels the strengths of penalties are chosen on the validation rows; with more, the defaults
do as well, and a support vector machine takes too long to be fitted several times."""
MOST_FOR_SVM = 20_000

RIVALS: dict[str, tuple[Callable[[float, int], ClassifierMixin], tuple[float, ...]]] = {
    "logistic regression": (
        lambda strength, _: LogisticRegression(C=strength, max_iter=1000),
        (1.0, 0.01, 0.1, 10.0),
    ),
    "SVM, Gaussian kernel": (lambda strength, _: SVC(C=strength), (1.0, 0.1, 10.0)),
    "random forest, 300 trees": (lambda _, seed: RandomForestClassifier(300, random_state=seed), (1.0,)),
    "histogram boosting": (lambda _, seed: HistGradientBoostingClassifier(random_state=seed), (1.0,)),
}
"""How to make each of a strength and a seed, and the strengths to choose from, the default first."""


@dataclass(frozen=True)
class Score:
    """How well a classifier does on the test rows; the area under the ROC curve for two classes alone."""

    accuracy: float
    macro_f1: float
    auc: float | None


@dataclass(frozen=True, eq=False)
class Known:
    """The features and classes of a run's parts."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def rows_of(run: Run) -> Known:
    """The labelled training rows of a run, and its validation and test rows, as its network saw them."""
    config = load_config(run.folder / "config.yaml")
    source = read_source(config.data)
    split = make_split(source, config.data, config.seed, config.repeat)
    preprocess, y = source.preprocessing(split.train), source.labels

    def part(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = preprocess(source.all.take(rows))
        return x.reshape(len(x), -1), y[rows]

    return Known(*part(split.train[split.labelled]), *part(split.val), *part(split.test))


def rivals(known: Known, seed: int) -> dict[str, Score]:
    """Fits each to the labelled training rows, and scores it on the test rows."""
    found = {}
    for name, (make, strengths) in RIVALS.items():
        x, y = known.x, known.y
        if make(1.0, 0).__class__ is SVC and len(x) > MOST_FOR_SVM:
            some = np.random.default_rng(seed).choice(len(x), MOST_FOR_SVM, replace=False)
            x, y = x[some], y[some]
        tried = [make(strength, seed).fit(x, y) for strength in strengths[: None if len(x) <= FEW else 1]]
        # The first of several that are as good, and so the default.
        best = max(tried, key=lambda one: one.score(known.x_val, known.y_val)) if len(tried) > 1 else tried[0]
        found[name] = score(known.y_test, *_judged(best, known.x_test))
    return found


def score(y: np.ndarray, predicted: np.ndarray, positive: np.ndarray | None) -> Score:
    """The score of predicted classes and, for two classes, of how sure the second one was."""
    auc = None if positive is None else float(roc_auc_score(y, positive))
    return Score(float((predicted == y).mean()), float(f1_score(y, predicted, average="macro")), auc)


def score_of(run: Run, stage: str, y: np.ndarray) -> Score:
    """The score of the logits that a stage of a run left for the test rows."""
    logits = np.load(run.entry(stage) / "logits-test.npy")
    two = logits.shape[1] == 2
    return score(y, logits.argmax(1), logits[:, 1] - logits[:, 0] if two else None)


def _judged(model: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    predicted: np.ndarray = model.predict(x)
    if len(model.classes_) > 2:
        return predicted, None
    if hasattr(model, "decision_function"):
        return predicted, model.decision_function(x)
    return predicted, model.predict_proba(x)[:, 1]
