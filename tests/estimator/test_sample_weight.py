"""Weights of rows do in fine-tuning what they say, and nothing elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from stackae.estimator.weights import weigh

CLASSES = np.array(["a", "b", "c"])
CODES = np.array([0, 1, 2, 2, -1])


def test_weights_are_on_average_1_over_the_rows_that_count() -> None:
    weighted = weigh([1, 2, 0, 6, 5], CLASSES, CODES)

    assert weighted.classes.tolist() == ["a", "b", "c"]
    assert weighted.codes.tolist() == [0, 1, -1, 2, -1]
    np.testing.assert_allclose(weighted.weights, np.array([1, 2, 0, 6, 0]) / 3)


def test_a_class_without_weight_is_none() -> None:
    weighted = weigh(np.array([1, 0, 2, 1, 1]), CLASSES, CODES)

    assert weighted.classes.tolist() == ["a", "c"]
    assert weighted.codes.tolist() == [0, -1, 1, 1, -1]


@pytest.mark.parametrize("weight", [None, 3.0, [2, 2, 2, 2, 7], pd.Series([0.1] * 5), np.ones(5, int)])
def test_rows_that_count_alike_have_no_weights(weight: Any) -> None:
    weighted = weigh(weight, CLASSES, CODES)

    assert weighted.weights is None
    assert weighted.codes.tolist() == CODES.tolist()


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        ([1.0] * 4, r"^sample_weight has shape \(4,\), but X has 5 rows; give one for each$"),
        (np.ones((5, 2)), r"^sample_weight has shape \(5, 2\), but X has 5 rows"),
        ([1, 1, -2, 1, 1], r"^sample_weight has -2 in row 2; give no weight below 0$"),
        ([1, 1, np.nan, 1, 1], r"sample_weight contains NaN"),
        ([0, 0, 0, 0, 1], r"^sample_weight is zero for each row with a label; "),
        ([0, 0, 1, 2, 1], r"^y has one class only \(c\) where sample_weight is above 0; "),
        (np.ma.masked_equal([1, 1, 2, 1, 1], 2), r"^sample_weight has 1 values that are masked; fill them"),
    ],
    ids=["few", "two each", "negative", "NaN", "zero", "one class", "masked"],
)
def test_weights_that_are_none_are_refused(weight: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        weigh(weight, CLASSES, CODES)
