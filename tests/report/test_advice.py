"""What is said of the baselines: who is ahead by rows that validate, and never by those of the test."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import ttest_rel

from stackae.plan.baselines import Baseline
from stackae.report.advice import Advice, Candidates, Judged, advise

TREES, LINE = Baseline("extra_trees", "columns"), Baseline("logistic_regression", "columns and codes")


def right(val: int, test: int, rows: int = 1000) -> Judged:
    """A classifier that gets so many of a thousand rows right, the first ones."""
    return Judged(*(np.arange(rows) < share for share in (val, test)))


def advised(stack: Judged, trees: Judged, line: Judged, mean: Judged, blended: str | None = None) -> Advice:
    given = Candidates(stack, {TREES: trees, LINE: line}, mean, "extra_trees, svm")
    found = advise([given], folds=True, blended=blended)
    assert found is not None
    return found


def test_trees_that_are_ahead_are_to_be_used_instead() -> None:
    found = advised(right(609, 602), right(669, 671), right(500, 999), right(650, 999))
    assert found.use == "baseline"
    assert found.text == (
        "Extra trees on the columns are ahead of the stack (66.9 % to 60.9 % by cross-validation; "
        "67.1 % to 60.2 % on the test rows): use them instead."
    )
    assert (found.name, found.on, found.val["stack"], found.test["baseline"]) == (
        *("extra_trees", "columns"),
        *(0.609, 0.671),
    )


def test_the_test_rows_decide_nothing() -> None:
    found = advised(right(700, 100), right(669, 999), right(500, 999), right(650, 999))
    assert found.use == "stack"
    assert found.text == (
        "The stack is ahead of the best of the baselines, extra trees on the columns (70.0 % to 66.9 % by "
        "cross-validation; 10.0 % to 99.9 % on the test rows)."
    )


def test_a_small_lead_is_said_to_be_none_that_is_sure() -> None:
    found = advised(right(669, 600), right(500, 500), right(670, 600), right(500, 500))
    assert found.text.startswith(
        "Logistic regression on the columns and codes is ahead of the stack (67.0 % to 66.9 % by "
        "cross-validation; no clear difference, McNemar p = 1; "
    )
    assert "instead" not in found.text


def test_equals_are_called_so_and_the_stack_is_kept() -> None:
    found = advised(right(669, 600), right(669, 500), right(600, 600), right(500, 500))
    assert found.use == "stack"
    assert found.text.startswith(
        "The best of the baselines, extra trees on the columns, are as good as the stack"
    )


def test_a_mean_that_is_best_is_offered_and_one_that_is_there_is_told() -> None:
    given = right(609, 600), right(669, 671), right(500, 999), right(695, 690)
    found = advised(*given)
    assert (found.use, found.mean_with) == ("mean", "extra_trees, svm")
    assert found.text.endswith(
        "use them instead. Better still by cross-validation is the mean of the probabilities of the stack "
        "and of extra trees and the SVM (69.5 %; 69.0 % on the test rows): set finetune.blend: auto."
    )
    blended = advised(*given, blended="extra_trees, svm, logistic_regression on columns and codes")
    assert blended.text.endswith(
        "The model averages the stack's probabilities with those of extra trees, the SVM and logistic "
        "regression on the columns and codes: 69.5 %, and 69.0 % on the test rows."
    )
    assert "set finetune.blend" not in blended.text
    assert "instead" not in blended.text
    worse = advised(given[0], given[1], given[2], right(668, 690), blended="extra_trees")
    assert "use them instead. The model averages" in worse.text


def test_held_out_rows_are_called_by_their_name() -> None:
    found = advise([Candidates(right(1, 1), {TREES: right(2, 2)})], folds=False)
    assert found is not None
    assert "by the rows held out" in found.text
    assert json.loads(json.dumps(asdict(found)))["val"] == {"mean": None, "baseline": 0.002, "stack": 0.001}


def test_where_nothing_validates_nothing_is_advised() -> None:
    none = Judged(np.zeros(0, bool), np.ones(5, bool))
    assert advise([Candidates(none, {TREES: none})], folds=False) is None
    assert advise([Candidates(right(1, 1), {})], folds=True) is None


def test_over_repetitions_the_best_is_the_best_on_average() -> None:
    vals = {"stack": (600, 620, 610), "trees": (650, 500, 500), "line": (640, 655, 660)}
    stack, trees, line = ([right(val, val + 1) for val in vals[name]] for name in vals)
    found = advise(
        [
            Candidates(one, {TREES: two, LINE: three})
            for one, two, three in zip(stack, trees, line, strict=True)
        ],
        folds=True,
    )
    assert found is not None
    assert (found.name, found.use, found.mean_with) == ("logistic_regression", "baseline", None)
    assert found.val["baseline"] == pytest.approx(np.mean(vals["line"]) / 1000)
    assert found.test["stack"] == pytest.approx(np.mean(vals["stack"]) / 1000 + 0.001)
    assert found.p == pytest.approx(ttest_rel(vals["line"], vals["stack"]).pvalue)
    assert "(65.2 % to 61.0 % by cross-validation, means of 3 repetitions; " in found.text


def test_a_baseline_that_not_all_repetitions_have_is_not_the_best() -> None:
    first = Candidates(right(600, 600), {TREES: right(900, 900), LINE: right(500, 500)})
    second = Candidates(right(600, 600), {LINE: right(510, 510)})
    found = advise([first, second], folds=True)
    assert found is not None
    assert found.name == "logistic_regression"
    assert advise([first, Candidates(right(600, 600), {})], folds=True) is None
