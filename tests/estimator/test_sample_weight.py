"""Weights of rows do in fine-tuning what they say, and nothing elsewhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_blobs
from sklearn.ensemble import AdaBoostClassifier

from stackae import StackedAutoencoderClassifier
from stackae.estimator.weights import weigh


def classifier(**parameters: Any) -> StackedAutoencoderClassifier:
    pretraining = {"layers": (6,), "epochs": 1, "lr": 0.01, "accelerator": "cpu", "random_state": 0}
    finetuning = {"finetune_epochs": 20, "finetune_lr": 0.05, "dropout": 0.0, "input_dropout": 0.0}
    return StackedAutoencoderClassifier(**(pretraining | finetuning | parameters))


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    return make_blobs(n_samples=120, centers=3, n_features=4, cluster_std=0.5, random_state=0)


def folders(store: Path) -> Counter[str]:
    return Counter(folder.name.rpartition("-")[0] for folder in store.iterdir() if folder.is_dir())


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


def test_equal_points_get_the_weighted_share_of_their_labels() -> None:
    # Of each of two points a third of the rows has the label 0, and weights that make of it 3/4 and 1/8.
    x = np.repeat([[-1.0, 0.5], [1.0, -0.5]], 60, axis=0)
    y = np.tile([0, 1, 1], 40)
    weight = np.where(y == 0, np.repeat([6.0, 2 / 7], 60), 1.0) * 5

    fitted = classifier(finetune_epochs=200, batch_size=120, finetune_patience=None).fit(x, y, weight)

    np.testing.assert_allclose(fitted.predict_proba(x[[0, 60]])[:, 0], [3 / 4, 1 / 8], atol=0.03)


def test_a_row_of_weight_0_is_one_without_a_label(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    hidden = np.arange(len(y)) % 3 == 0

    fitted = classifier().fit(x, y, sample_weight=np.where(hidden, 0.0, 2.0))

    expected = classifier().fit(x, np.where(hidden, -1, y)).predict_proba(x)
    np.testing.assert_array_equal(fitted.predict_proba(x), expected)


def test_weights_change_fine_tuning_alone_and_are_part_of_its_key(
    tmp_path: Path, blobs: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = blobs
    weight = np.random.default_rng(0).uniform(0.1, 3.0, len(y))

    def chances(weight: np.ndarray | None) -> np.ndarray:
        fitted = classifier(store=tmp_path, finetune_epochs=2).fit(x, y, weight)
        found: np.ndarray = fitted.predict_proba(x)
        return found

    none, ones, some, twice, others = map(chances, (None, np.ones(len(y)), weight, 2 * weight, weight[::-1]))

    np.testing.assert_array_equal(none, ones)
    np.testing.assert_array_equal(some, twice)
    assert not np.array_equal(none, some)
    assert not np.array_equal(some, others)
    assert folders(tmp_path) == {"data": 1, "pretrain-1": 1, "finetune": 3}


def test_weights_of_rows_of_a_table_stay_with_them() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"job": rng.permutation(np.repeat(["a", "b"], 60)), "age": 1.0 * np.arange(120)})
    y = rng.integers(0, 2, 120)
    weight = np.where((frame["job"] == "a") == (y == 1), 50.0, 0.5)

    fitted = classifier(finetune_epochs=60).fit(frame, y, weight)

    np.testing.assert_array_equal(fitted.predict(frame), (frame["job"] == "a").astype(int))


def test_boosting_takes_it(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    weak = classifier(layers=(3,), finetune_epochs=2, finetune_lr=0.01)
    boosted = AdaBoostClassifier(weak, n_estimators=3, random_state=0).fit(x, y)

    assert boosted.score(x, y) > 0.5
