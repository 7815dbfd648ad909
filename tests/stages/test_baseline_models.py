"""The baselines against scikit-learn's classifiers fitted by hand, and their modules against them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from stackae.config import BaselineName
from stackae.plan.baselines import ORDER
from stackae.plan.baselines import STRENGTHS as COUNTED
from stackae.stages.baseline_models import STRENGTHS, choose, fit, left_out, probabilities
from stackae.stages.baseline_modules import as_module

SEED = 3
# Labels that spread have tests/stages/test_spreading.py.
SUPERVISED = [name for name in ORDER if name != "label_spreading"]
EACH = [(name, classes) for name in SUPERVISED for classes in (2, 4)]


def drawn(classes: int, rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    y = rng.permutation(np.arange(rows) % classes)
    centres = rng.normal(size=(classes, 9))
    scales = np.array([0.01, 1, 1, 1, 1, 1, 1, 1, 50])
    x = (centres[y] + 1.5 * rng.normal(size=(rows, 9))) * scales
    return x.astype(np.float32), y


def parts(rows: int, folds: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    fold = np.arange(rows) % folds
    return [(fold != number, fold == number) for number in range(folds)]


def by_hand(
    name: str, strength: dict[str, float], x: np.ndarray, y: np.ndarray, seed: int, trees: int
) -> Any:
    """A function from rows to probabilities, from scikit-learn's own guide."""
    model: Any
    match name:
        case "logistic_regression":
            scaler = StandardScaler().fit(x)
            model = LogisticRegression(C=strength["C"], max_iter=200, tol=1e-3).fit(scaler.transform(x), y)
            return lambda rows: model.predict_proba(scaler.transform(rows))
        case "extra_trees":
            tried = {1.0: 3, 3.0: 9}[strength["roots"]]
            leaf = int(strength["min_samples_leaf"])
            model = ExtraTreesClassifier(trees, max_features=tried, min_samples_leaf=leaf, random_state=seed)
            return model.fit(x, y).predict_proba
        case "boosting":
            leaf = int(strength["min_samples_leaf"])
            model = HistGradientBoostingClassifier(min_samples_leaf=leaf, early_stopping=False)
            return model.fit(x, y).predict_proba
    gamma = strength["gamma"] / (x.shape[1] * x.astype(np.float64).var())
    model = SVC(C=strength["C"], gamma=gamma).fit(x, y)

    def sharpened(rows: np.ndarray) -> np.ndarray:
        decisions = model.decision_function(rows)
        if decisions.ndim == 1:
            decisions = np.stack([0 * decisions, decisions], 1)
        shares: np.ndarray = softmax(strength.get("sharpness", 1.0) * decisions, axis=1)
        return shares

    return sharpened


@pytest.mark.parametrize(("name", "classes"), EACH)
def test_a_fit_is_scikit_learns(name: BaselineName, classes: int) -> None:
    x, y = drawn(classes)
    other, _ = drawn(classes, 300)
    for strength in STRENGTHS[name]:
        expected = by_hand(name, dict(strength), x, y, SEED, 40)(other)
        found = probabilities(fit(name, strength, x, y, SEED, trees=40), other, classes)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", SUPERVISED)
def test_the_strength_is_the_one_that_does_best_on_rows_left_out(name: BaselineName) -> None:
    x, y = drawn(4)
    found = {}
    for index, strength in enumerate(STRENGTHS[name]):
        shares = np.zeros((len(x), 4))
        for number, (fitted, judge) in enumerate(parts(len(x))):
            one = by_hand(name, dict(strength), x[fitted], y[fitted], SEED + number, 100)
            shares[judge] = one(x[judge])
        found[index] = (float((shares.argmax(1) == y).mean()), shares)
    best = max(found, key=lambda index: found[index][0])

    chosen = choose(name, x, y, parts(len(x)), 4, SEED)

    assert len(STRENGTHS[name]) == COUNTED[name]
    assert chosen.accuracy == found[best][0]
    assert dict(STRENGTHS[name][best]).items() <= dict(chosen.strength).items()
    if name == "svm":
        decisions = np.log(found[best][1])
        losses = {each: log_loss(y, softmax(each * decisions, axis=1)) for each in (0.25, 0.5, 1, 2, 4, 8)}
        sharpness = min(losses, key=lambda each: losses[each])
        assert chosen.strength["sharpness"] == sharpness
        np.testing.assert_allclose(chosen.probabilities, softmax(sharpness * decisions, axis=1), atol=1e-5)
    else:
        np.testing.assert_allclose(chosen.probabilities, found[best][1], atol=1e-6)


@pytest.mark.parametrize("name", SUPERVISED)
def test_rows_count_by_their_weight(name: BaselineName) -> None:
    """A row that counts twice is as good as two."""
    x, y = drawn(2)
    weight = np.where(np.arange(len(x)) < 40, 2.0, 1.0)
    twice = np.concatenate([np.arange(40), np.arange(len(x))])
    strength = {"extra_trees": {"roots": 3.0, "min_samples_leaf": 1}}.get(name, dict(STRENGTHS[name][0]))
    if name == "logistic_regression":
        scaler = StandardScaler().fit(x)
        # The penalty stands beside a sum over rows, here of weights whose mean is 1.
        share = len(x) / len(twice)
        model = LogisticRegression(C=strength["C"] * share, max_iter=200, tol=1e-6)
        expected = model.fit(scaler.transform(x[twice]), y[twice]).predict_proba(scaler.transform(x))
        tolerance = 5e-3
    else:
        own = fit(name, strength, x, y, SEED, weight=7 * weight, trees=20)
        expected, tolerance = probabilities(own, x, 2), 1e-6
    found = probabilities(fit(name, strength, x, y, SEED, weight=weight, trees=20), x, 2)
    alike = probabilities(fit(name, strength, x, y, SEED, trees=20), x, 2)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    if name != "extra_trees":
        assert abs(found - alike).max() > 1e-3


def test_without_rows_to_judge_by_the_first_strength_is_taken() -> None:
    x, y = drawn(2)
    chosen = choose("extra_trees", x, y, [], 2, SEED)
    assert (dict(chosen.strength), chosen.accuracy) == ({"roots": 1.0, "min_samples_leaf": 1}, None)
    assert chosen.probabilities.shape == (0, 2)


def test_a_class_that_was_not_seen_has_no_probability() -> None:
    x, y = drawn(4)
    seen = y != 1
    for name in ORDER:
        shares = probabilities(fit(name, STRENGTHS[name][0], x[seen], y[seen], SEED, trees=40), x, 4)
        assert not shares[:, 1].any()
        np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)


def test_rows_held_out_are_judged_by_one_fit() -> None:
    x, y = drawn(2)
    judge = np.arange(len(x)) >= 100
    found = left_out("extra_trees", STRENGTHS["extra_trees"][0], x, y, [(~judge, judge)], 2, SEED)
    expected = ExtraTreesClassifier(100, random_state=SEED).fit(x[~judge], y[~judge]).predict_proba(x[judge])
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "classes"), EACH)
def test_a_module_has_the_probabilities_of_the_classifier(name: BaselineName, classes: int) -> None:
    x, y = drawn(classes)
    other, _ = drawn(classes, 1500)
    for strength in STRENGTHS[name]:
        model = fit(name, strength, x, y, SEED, trees=40)
        module = as_module(name, model, sharpness=2.0)
        module.check()
        with torch.no_grad():
            found = module(torch.from_numpy(other)).softmax(1).numpy()
            double = module.double()(torch.from_numpy(other).double()).softmax(1).numpy()
        expected = probabilities(model, other, classes, sharpness=2.0)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_allclose(double, expected, atol=2e-5)


def test_a_threshold_is_not_rounded_over_a_row() -> None:
    """Trees split between rows that lie next to each other in single precision."""
    low = np.float32(1)
    x = np.array([[low], [np.nextafter(low, np.float32(2))]] * 20, np.float32)
    y = np.array([0, 1] * 20)
    model = fit("extra_trees", STRENGTHS["extra_trees"][0], x, y, SEED, trees=40)
    module = as_module("extra_trees", model)
    np.testing.assert_allclose(
        module(torch.from_numpy(x)).softmax(1).numpy(), model.predict_proba(x), atol=1e-6
    )
