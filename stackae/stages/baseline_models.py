"""Classifiers of scikit-learn that are fitted to labelled rows, their strengths chosen by cross-validation.

Each takes features (rows, columns) in float32 and classes (rows,), and gives probabilities (rows, classes).
Trees and boosting do not mind how columns are scaled; the logistic regression standardises them; the SVM
takes them as the network does. Labels spread over rows without labels, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from stackae.config import BaselineName
from stackae.data.features import slices
from stackae.plan.cost import ITERATIONS, MANY, SEARCH_TREES, TREES
from stackae.stages.spreading import Spreading

Strength = Mapping[str, float]
"""What is chosen of a classifier, by the names of its parameters."""
Parts = Sequence[tuple[np.ndarray, np.ndarray]]
"""Masks of the rows to fit to and of those to judge by."""

STRENGTHS: Mapping[BaselineName, Sequence[Strength]] = {
    # How many times the columns' root each split looks at, and the fewest rows of a leaf.
    "extra_trees": [
        {"roots": roots, "min_samples_leaf": leaf} for roots, leaf in ((1.0, 1), (1.0, 3), (3.0, 1))
    ],
    "logistic_regression": [{"C": strength} for strength in (0.1, 0.001, 0.01, 1.0)],
    # Gamma in units of 1 / (columns × their variance).
    "svm": [{"C": strength, "gamma": gamma} for strength in (10.0, 1.0) for gamma in (0.25, 1.0)],
    "boosting": [{"min_samples_leaf": leaf} for leaf in (20, 5)],
    # What part of a row's label comes from its neighbours, in each round.
    "label_spreading": [{"alpha": alpha} for alpha in (0.9, 0.5, 0.99)],
}
"""The strengths that are tried, of which the first of several that are as good is taken."""
SHARPNESS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""By what an SVM's decisions may be multiplied before they become probabilities."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """A strength, and how well it does on rows that were not fitted to: None where there were none.

    `probabilities` (rows judged, classes) are in the order of the rows.
    """

    strength: Strength
    accuracy: float | None
    probabilities: np.ndarray


def make(name: BaselineName, strength: Strength, x: np.ndarray, seed: int, *, trees: int = TREES) -> Any:
    """Make a classifier of a strength for rows like x, not fitted yet."""
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    state, columns = seed % 2**32, x.shape[1]
    match name:
        case "logistic_regression":
            return make_pipeline(
                StandardScaler(), LogisticRegression(C=strength["C"], max_iter=200, tol=1e-3)
            )
        case "svm":
            variance = float(x.var(dtype=np.float64)) or 1.0
            return SVC(C=strength["C"], gamma=strength["gamma"] / (columns * variance), break_ties=True)
        case "extra_trees":
            return ExtraTreesClassifier(
                trees,
                max_features=min(columns, max(1, round(strength["roots"] * math.sqrt(columns)))),
                min_samples_leaf=int(strength["min_samples_leaf"]),
                random_state=state,
                n_jobs=-1 if len(x) >= MANY else None,
            )
        case "boosting":
            return HistGradientBoostingClassifier(
                max_iter=ITERATIONS,
                min_samples_leaf=int(strength["min_samples_leaf"]),
                early_stopping=False,
                random_state=state,
            )
    raise AssertionError(name)


def fit(
    name: BaselineName,
    strength: Strength,
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    *,
    weight: np.ndarray | None = None,
    trees: int = TREES,
    others: np.ndarray | None = None,
) -> Any:
    """Fit a classifier of a strength to rows, which count alike or in proportion to `weight`.

    Labels spread over `others` (rows, columns) too, whatever the weights.
    """
    if name == "label_spreading":
        return Spreading(x, y, x[:0] if others is None else others, seed).spread(strength["alpha"])
    model = make(name, strength, x, seed, trees=trees)
    if weight is None:
        model.fit(x, y)
    elif name == "logistic_regression":
        model.fit(x, y, logisticregression__sample_weight=weight / weight.mean())
    else:
        model.fit(x, y, sample_weight=weight / weight.mean())
    if name == "extra_trees":
        # Several threads would add the trees up in whichever order they end.
        model.set_params(n_jobs=1)
    return model


def probabilities(model: Any, x: np.ndarray, classes: int, sharpness: float = 1.0) -> np.ndarray:
    """Compute a fitted classifier's probabilities (rows, classes), 0 of classes that it has not seen.

    Those of an SVM are the softmax of its decisions, one against the rest, times `sharpness`.
    """
    found = np.zeros((len(x), classes), np.float32)
    for rows in slices(x):
        found[rows, model.classes_] = _of_chunk(model, np.asarray(x[rows]), sharpness)
    return found


def _of_chunk(model: Any, x: np.ndarray, sharpness: float) -> np.ndarray:
    shares: np.ndarray
    if hasattr(model, "predict_proba"):
        shares = model.predict_proba(x)
    else:
        decisions = model.decision_function(x)
        if decisions.ndim == 1:
            decisions = np.stack([np.zeros_like(decisions), decisions], 1)
        shares = softmax(sharpness * decisions, axis=1)
    return shares


def left_out(
    name: BaselineName,
    strength: Strength,
    x: np.ndarray,
    y: np.ndarray,
    parts: Parts,
    classes: int,
    seed: int,
    *,
    weight: np.ndarray | None = None,
    trees: int = SEARCH_TREES,
    sharpness: float = 1.0,
    graphs: Sequence[Spreading] = (),
) -> np.ndarray:
    """Compute probabilities of the judged rows, in their order, by a fit for each part that leaves it out.

    With folds these are out-of-fold probabilities of all rows, (rows judged, classes). `graphs` are those of
    the parts over which labels spread.
    """
    found = np.zeros((len(x), classes), np.float32)
    judged = np.zeros(len(x), bool)
    for number, (fitted, judge) in enumerate(parts):
        own = None if weight is None else weight[fitted]
        if graphs:
            model: Any = graphs[number].spread(strength["alpha"])
        else:
            model = fit(name, strength, x[fitted], y[fitted], seed + number, weight=own, trees=trees)
        found[judge] = probabilities(model, x[judge], classes, sharpness)
        judged |= judge
    return found[judged]


def choose(
    name: BaselineName,
    x: np.ndarray,
    y: np.ndarray,
    parts: Parts,
    classes: int,
    seed: int,
    *,
    weight: np.ndarray | None = None,
    others: np.ndarray | None = None,
) -> Chosen:
    """Choose the strength that is best on rows which a fit has not seen; the first where there are none.

    Extra trees are judged by smaller forests than the one that is kept in the end. Labels spread over
    `others` (rows, columns) too.
    """
    if not parts:
        first: Strength = STRENGTHS[name][0]
        return Chosen(first, None, np.zeros((0, classes), np.float32))
    judged = np.any([judge for _, judge in parts], axis=0)
    truth = y[judged]

    graphs = []
    if name == "label_spreading":
        beside = x[:0] if others is None else others
        fitted = enumerate(part for part, _ in parts)
        graphs = [Spreading(x[part], y[part], beside, seed + number) for number, part in fitted]

    def tried(strength: Strength) -> Chosen:
        found = left_out(name, strength, x, y, parts, classes, seed, weight=weight, graphs=graphs)
        return Chosen(strength, float((found.argmax(1) == truth).mean()), found)

    best = max(map(tried, STRENGTHS[name]), key=lambda each: each.accuracy or 0.0)
    return best if name != "svm" else _sharpened(best, truth)


def _sharpened(chosen: Chosen, y: np.ndarray) -> Chosen:
    """Choose how sharp an SVM's probabilities are, by their likelihood on rows that were not fitted to."""
    # A softmax's logarithms are its inputs, but for a constant in each row.
    decisions = np.log(np.maximum(chosen.probabilities, np.finfo(np.float32).tiny))
    sharpened = {each: softmax(each * decisions, axis=1) for each in SHARPNESS}

    def nll(sharpness: float) -> float:
        own = sharpened[sharpness][np.arange(len(y)), y]
        return float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean())

    best = min(SHARPNESS, key=nll)
    return Chosen({**chosen.strength, "sharpness": best}, chosen.accuracy, sharpened[best].astype(np.float32))
