"""The estimators keep scikit-learn's contract, and compute what their weights say."""

from __future__ import annotations

import contextlib
import pickle
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from conftest import REPOSITORY
from documents import executed
from faults.forked import context
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import stackae
from stackae import StackedAutoencoder, StackedAutoencoderClassifier
from stackae.committee import Committee
from stackae.data.preprocessing.sklearn_file import FITTED
from stackae.errors import ConfigError, DataError, TrainingError
from stackae.estimator.messages import as_value_errors
from stackae.estimator.validation import number_labels

QUICK: dict[str, Any] = {"layers": (8,), "epochs": 2, "lr": 0.01, "accelerator": "cpu"}
TUNED: dict[str, Any] = {
    "finetune_epochs": 15,
    "finetune_lr": 0.05,
    "dropout": 0.0,
    "input_dropout": 0.0,
    # Trees would take half of each fit's time; tests/stages/test_input_scale.py grows them.
    "input_scale": "none",
}


def transformer(**parameters: Any) -> StackedAutoencoder:
    return StackedAutoencoder(**(QUICK | {"random_state": 0} | parameters))


def classifier(**parameters: Any) -> StackedAutoencoderClassifier:
    return StackedAutoencoderClassifier(**(QUICK | TUNED | {"random_state": 0} | parameters))


def expected_to_fail(estimator: Any) -> dict[str, str]:
    if isinstance(estimator, StackedAutoencoder):
        return {}
    # What weights do is shown in test_sample_weight.py.
    why = "rows that are repeated are pretrained on and drawn for validation as often; weights touch neither"
    return {"check_sample_weight_equivalence_on_dense_data": why}


@parametrize_with_checks(
    [StackedAutoencoder(**QUICK, output="all"), StackedAutoencoderClassifier(**QUICK, **TUNED)],
    expected_failed_checks=expected_to_fail,
)
def test_scikit_learn_finds_no_fault(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    return make_blobs(n_samples=120, centers=3, n_features=5, cluster_std=0.5, random_state=0)


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 9, 200),
            "job": rng.choice(["a", "b", "c"], 200),
            "city": pd.Categorical(rng.choice([1, 2, 3], 200)),
            "since": pd.date_range("2020", periods=200),
        }
    )
    labels = np.where(frame["job"] == "a", "yes", "no")
    frame.loc[::7, "age"] = np.nan
    frame.loc[frame.index[frame["job"] == "b"][::5], "job"] = None
    return frame, labels


def test_codes_and_reconstructions_are_what_the_weights_say(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = blobs
    x = x * [1, 10, 100, 1, 1] + 5
    fitted = transformer(layers=(8, 3), kind="plain").fit(x)

    lower, upper = (layer[1] for layer in fitted.model_.encoder.layers)
    scaler = fitted.model_.preprocessing.scaler
    codes = (x - scaler.mean_) / np.sqrt(scaler.var_)
    for linear in (lower, upper):
        weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        codes = np.maximum(codes @ weight.T + bias, 0.0)
    rows = codes
    for layer in fitted.model_.decoder.layers:
        linear = layer[0][0]
        rows = rows @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        rows = np.maximum(rows, 0.0) if len(rows[0]) == 8 else rows

    # The rows themselves reach the network in single precision.
    np.testing.assert_allclose(fitted.transform(x), codes, rtol=1e-4, atol=1e-5)
    given = rows * np.sqrt(scaler.var_) + scaler.mean_
    np.testing.assert_allclose(fitted.inverse_transform(codes), given, rtol=1e-4, atol=1e-3)
    # Training saw nine tenths of the rows, so only their mean and variance scale.
    assert scaler.n_samples_seen_ == 108
    assert list(fitted.get_feature_names_out()) == [f"stackedautoencoder{i}" for i in range(3)]
    with pytest.raises(ValueError, match="X has 4 features, but codes have 3"):
        fitted.inverse_transform(np.ones((2, 4)))


@pytest.mark.parametrize(
    "mark",
    [
        lambda y, hidden: np.where(hidden, -1, y),
        lambda y, hidden: np.where(hidden, -1, y.astype(object)),
        lambda y, hidden: np.where(hidden, None, y.astype(object)),
        lambda y, hidden: np.where(hidden, "", y.astype(str)),
        lambda y, hidden: pd.Series(y.astype(str)).mask(hidden),
        lambda y, hidden: np.where(hidden, "-1", y.astype(str)),
    ],
    ids=["-1", "object -1", "None", "empty text", "missing in a Series", "text -1"],
)
def test_rows_without_label_are_for_pretraining_alone(
    blobs: tuple[np.ndarray, np.ndarray], mark: Callable[[np.ndarray, np.ndarray], Any]
) -> None:
    x, y = blobs
    hidden = np.arange(len(y)) % 2 == 1

    fitted = classifier().fit(x, mark(y, hidden))

    assert [str(label) for label in fitted.classes_] == ["0", "1", "2"]
    # A tenth of all rows validates the layers; the labels of all that have one are learnt from.
    data = fitted.results_.data
    assert {name: data[name] for name in ("train", "val", "labelled", "folds")} == {
        "train": 108,
        "val": 12,
        "labelled": 60,
        "folds": 5,
    }
    assert np.mean(fitted.predict(x).astype(str) == y.astype(str)) > 0.9


def test_what_is_said_of_validation_is_said_by_networks_that_had_not_learnt_the_row() -> None:
    # Labels that nothing can be known of: who learns them all by heart is right, and nobody else.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(150, 40)), rng.integers(0, 2, 150)
    settings = {"finetune_epochs": 60, "finetune_lr": 0.02, "layers": (60,)}
    fitted = classifier(**settings).fit(x, y)
    assert fitted.results_.data["folds"] == 5
    assert fitted.score(x, y) > 0.9
    assert 0.3 < fitted.results_.classifier["val"]["accuracy"] < 0.7
    assert fitted.results_.classifier["test"] is None
    held_out = classifier(**settings, validation={"share": 0.2}).fit(x, y)
    assert held_out.results_.data["held_out"] == 30
    assert 0.2 < held_out.results_.classifier["val"]["accuracy"] < 0.8


@pytest.mark.parametrize(
    ("validation", "networks"), [("auto", 5), ("none", 1), ({"folds": 3}, 3), ({"share": 0.2}, 1)]
)
def test_validation_is_as_in_a_config(
    validation: Any, networks: int, blobs: tuple[np.ndarray, np.ndarray]
) -> None:
    x, y = blobs
    fitted = classifier(validation=validation).fit(x, y)
    model = fitted.model_.classifier
    assert (len(model) if isinstance(model, Committee) else 1) == networks
    assert (fitted.results_.classifier["val"] is None) == (validation == "none")
    np.testing.assert_allclose(fitted.predict_proba(x).sum(1), 1)


@pytest.mark.parametrize(
    ("validation", "says"),
    [
        ("fold", "validation: 'fold' is not allowed; use 'auto', 'none', or a mapping"),
        ({"folds": 1}, "validation.folds: 1 is not allowed; use a whole number of at least 2"),
        ({"folds": 50}, "validation: 50 folds of labelled rows asked for, but a class has only 40; ask for"),
    ],
)
def test_a_wrong_validation_is_named(
    validation: Any, says: str, blobs: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        classifier(validation=validation).fit(*blobs)
    assert "\n" not in str(raised.value)
    assert "finetune." not in str(raised.value)


@pytest.mark.parametrize(
    ("y", "classes", "codes"),
    [
        (np.array([-1, 1, 1], object), [-1, 1], [0, 1, 1]),
        (np.array([-1.0, 1.0, 1.0]), [-1, 1], [0, 1, 1]),
        (["-1", "1", "1"], ["-1", "1"], [0, 1, 1]),
        (["-1", "1", "2"], ["1", "2"], [-1, 0, 1]),
        (pd.array([7, None, 5], dtype="Int64"), [5, 7], [1, -1, 0]),
        (pd.Series([7, np.nan, 5]), [5, 7], [1, -1, 0]),
        (pd.Series([True, None, False]), [False, True], [1, -1, 0]),
        (pd.Categorical(["b", None, "a"]), ["a", "b"], [1, -1, 0]),
        (np.array([-1, True, False], object), [False, True], [-1, 1, 0]),
    ],
    ids=str,
)
def test_labels_are_numbered_and_those_that_are_none_are_not(
    y: Any, classes: list[Any], codes: list[int]
) -> None:
    found, numbered = number_labels(y)

    assert (found.tolist(), numbered.tolist()) == (classes, codes)


def test_minus_one_and_one_are_two_classes(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    fitted = classifier().fit(x, np.where(y == 0, 1, -1))

    assert fitted.classes_.tolist() == [-1, 1]
    assert fitted.results_.data["labelled"] == 120


@pytest.mark.parametrize(
    ("y", "says"),
    [([-1] * 120, "y has no label"), ([-1, 2] * 60, r"y has one class only \(2\)"), (None, "requires y")],
)
def test_labels_that_make_no_classifier_are_refused(
    blobs: tuple[np.ndarray, np.ndarray], y: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        classifier().fit(blobs[0], y)


def test_a_table_is_encoded_by_its_columns(table: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame, labels = table
    fitted = classifier(finetune_epochs=40).fit(frame, labels)
    chances = fitted.predict_proba(frame)

    assert fitted.score(frame, labels) > 0.95
    assert fitted.model_.preprocessing.names()[:3] == ["age", "since", "age missing"]
    assert "city=2" in fitted.model_.preprocessing.names()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(frame), chances)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_allclose(fitted.predict_proba(frame.to_numpy()), chances)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame.rename(columns={"job": "work"}))


def test_what_a_column_of_yes_and_no_becomes_by_missing_cells_is_still_yes_and_no() -> None:
    frame = pd.DataFrame({"job": ["a", "b"] * 20, "flag": [True, True, False, False] * 10})
    fitted = transformer(epochs=1).fit(frame)
    gaps = frame.astype({"flag": object})
    gaps.loc[0, "flag"] = None

    np.testing.assert_array_equal(fitted.transform(gaps)[1:], fitted.transform(frame)[1:])
    assert fitted.model_.preprocessing.numeric == ["flag"]


def test_numbers_that_are_missing_only_after_the_fit_are_taken_for_the_median(
    blobs: tuple[np.ndarray, np.ndarray],
) -> None:
    frame = pd.DataFrame(blobs[0], columns=list("abcde"))
    fitted = transformer(epochs=1).fit(frame)
    gaps, filled = frame.copy(), frame.copy()
    gaps.loc[3, "b"], filled.loc[3, "b"] = np.nan, frame["b"].median()

    np.testing.assert_array_equal(fitted.transform(gaps), fitted.transform(filled))
    with pytest.raises(ValueError, match="contains NaN"):
        fitted.transform(gaps.to_numpy())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"age": np.inf},
            "X: data row 1, column 'age': 'inf' is not a finite number, but most of the column are; correct "
            "it, or leave the column out",
        ),
        (
            {"age": 1.0, "job": "a", "city": "b", "since": "c"},
            "X: no column is left to learn from; give columns that are neither constant nor, as strings, all "
            "different",
        ),
    ],
)
def test_a_table_at_fault_is_a_value_error_that_speaks_of_no_files(
    change: dict[str, Any], says: str, table: tuple[pd.DataFrame, np.ndarray]
) -> None:
    frame, labels = table
    with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
        classifier().fit(frame.assign(**change), labels)


def test_rows_that_are_too_large_are_refused_after_the_fit_as_before(
    blobs: tuple[np.ndarray, np.ndarray],
) -> None:
    x, y = blobs
    with pytest.raises(ValueError, match=r"^X has values beyond 3\.4e38, the first in row 0; rescale them$"):
        transformer().fit(x * 1e200)
    fitted = classifier().fit(x, y)
    with pytest.raises(
        ValueError, match=r"^row 1 of those given: .* is not a finite number, or too large a one"
    ):
        fitted.predict(x * 1e200)


def test_a_frame_of_numbers_is_an_array(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = blobs
    frame = pd.DataFrame(x, columns=list("abcde"))
    of_array, of_frame = transformer().fit_transform(x), transformer().fit_transform(frame)

    np.testing.assert_allclose(of_array, of_frame, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["sparse", "k_sparse", "contractive", "variational", "rbm"])
def test_every_kind_survives_pickling(kind: str, blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = blobs
    fitted = transformer(layers=(8, 4), kind=kind, epochs=1, scaling="minmax").fit(x)
    again = pickle.loads(pickle.dumps(fitted))

    np.testing.assert_array_equal(again.transform(x), fitted.transform(x))
    assert again.inverse_transform(again.transform(x)).shape == x.shape


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"lr": -1}, "lr: -1 is not allowed; it must be above 0"),
        ({"kind": "sprase", "layers": (9, 8)}, "kind: 'sprase' is not allowed; did you mean 'sparse'?"),
        ({"layers": [{"widht": 3}]}, "layers[0].widht: unknown key; did you mean 'width'?"),
        ({"layers": 5}, "layers: 5 is not allowed; use a list of at least one {'width': n}"),
        ({"patience": 0}, "patience: 0 is not allowed; use a whole number of at least 1, 'auto', or None"),
        ({"epochs": None}, "epochs: None is not allowed; use a whole number of at least 0"),
        ({"corruption": "null"}, "corruption: 'null' is not allowed; use {'type': 'masking', …}, {'type': "),
        ({"layers": [{"width": 3, "tied": 1}]}, "layers[0].tied: 1 is not allowed; use True or False"),
        (
            {"layers": [{"width": 3, "loss": "bernoulli"}], "scaling": None},
            "; set 'loss': 'squared_error', or scale the data to [0, 1], as scaling='minmax' does",
        ),
        ({"corruption": {"type": "masking", "rate": 3}}, "corruption.rate: 3 is not allowed; it must be at"),
        ({"validation_fraction": 2}, "validation_fraction: 2 is not allowed; it must be between 0 and 1"),
        ({"output": "al"}, "output: 'al' is not allowed; use 'last' or 'all'"),
        ({"store": __file__}, f"store '{__file__}': '{__file__}' is a file; name a folder"),
    ],
)
def test_a_wrong_parameter_is_named(
    parameters: dict[str, Any], says: str, blobs: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        transformer(**parameters).fit(blobs[0])
    assert "\n" not in str(raised.value)


def test_a_setting_is_called_as_the_parameter_that_sets_it() -> None:
    with (
        pytest.raises(ValueError, match=r"^accelerator: no 'gpu' on this machine; use auto or cpu$"),
        as_value_errors(),
    ):
        raise ConfigError("trainer.accelerator: no 'gpu' on this machine; use auto or cpu")


@pytest.mark.parametrize(("parameter", "stage"), [("lr", "pretrain-1"), ("finetune_lr", "finetune")])
def test_training_that_diverges_names_the_parameter(
    parameter: str, stage: str, blobs: tuple[np.ndarray, np.ndarray]
) -> None:
    with pytest.raises(TrainingError, match=rf"^{stage}: .* is likely too high: set {parameter}=1e\+29"):
        classifier(**{parameter: 1e30}).fit(*blobs)


def test_labels_that_are_quantities_are_called_y(
    blobs: tuple[np.ndarray, np.ndarray], table: tuple[pd.DataFrame, np.ndarray]
) -> None:
    for rows in (blobs[0], table[0]):
        says = f"^y has {len(rows)} different values in {len(rows)} labelled rows, as quantities have; "
        with pytest.raises(ValueError, match=says):
            classifier().fit(rows, np.arange(len(rows)))


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("scaling", ["standard", "quantile"])
def test_codes_come_in_the_form_that_scikit_learn_is_told(
    output: str, scaling: str, blobs: tuple[np.ndarray, np.ndarray], table: tuple[pd.DataFrame, np.ndarray]
) -> None:
    pytest.importorskip(output)
    frame = pd.DataFrame(blobs[0], columns=list("abcde"), index=np.arange(120) + 7)
    for rows in (blobs[0], frame, table[0]):
        fitted = transformer(epochs=1, scaling=scaling).fit(rows)
        codes, again = fitted.transform(rows), fitted.inverse_transform(fitted.transform(rows))

        with sklearn.config_context(transform_output=output):
            # What was fitted without the setting, and what is fitted under it.
            found = [fitted.transform(rows), transformer(epochs=1, scaling=scaling).fit_transform(rows)]
            np.testing.assert_array_equal(fitted.inverse_transform(codes), again)
            loaded = fitted.model_.encode(rows)

        np.testing.assert_array_equal(loaded, codes)
        for codes_found in found:
            assert type(codes_found).__module__.partition(".")[0] == output
            assert list(codes_found.columns) == [f"stackedautoencoder{at}" for at in range(8)]
            np.testing.assert_array_equal(codes_found.to_numpy(), codes)
            if output == "pandas" and rows is frame:
                assert codes_found.index.equals(frame.index)


def test_codes_of_all_layers_come_with_names_and_survive(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, _ = blobs
    last = transformer(layers=(4, 3)).fit(x)
    fitted = clone(last.set_params(output="all")).fit(x)
    again = pickle.loads(pickle.dumps(fitted))

    found = again.set_output(transform="pandas").transform(x)
    assert list(found.columns) == list(fitted.get_feature_names_out())
    assert list(found.columns) == [
        *(f"layer_1_code_{unit}" for unit in range(1, 5)),
        *(f"layer_2_code_{unit}" for unit in range(1, 4)),
    ]
    model = fitted.model_
    np.testing.assert_array_equal(found.to_numpy(), np.hstack([model.encode(x, 1), model.encode(x, 2)]))
    # What a stack makes of codes it makes of the last ones.
    decoded = fitted.inverse_transform(fitted.transform(x))
    np.testing.assert_allclose(decoded, model.reconstruct(x), rtol=1e-5)


def test_codes_of_a_step_become_a_frame_that_the_next_step_takes(
    blobs: tuple[np.ndarray, np.ndarray],
) -> None:
    piped = make_pipeline(StandardScaler(), transformer(epochs=1), classifier()).set_output(
        transform="pandas"
    )
    piped.fit(*blobs)

    assert piped[-1].feature_names_in_[0] == "stackedautoencoder0"


def test_a_run_is_used_as_ever_whatever_scikit_learn_is_told(
    tmp_path: Path, table: tuple[pd.DataFrame, np.ndarray]
) -> None:
    table[0].assign(label=table[1]).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "run.yaml").write_text(
        f"data: {{source: {tmp_path}/rows.csv, target: label}}\nlayers: [{{width: 4}}]\n"
        "pretrain: {epochs: 1}\nfinetune: {epochs: 1}\ntracking: {wandb: disabled}\n"
    )
    rows = pd.read_csv(tmp_path / "rows.csv")

    for output in ("default", "pandas"):
        with sklearn.config_context(transform_output=output):
            stackae.run(tmp_path / "run.yaml", out=tmp_path / output, store=tmp_path / f"store {output}")
            found = stackae.load(tmp_path / output).predict_proba(rows)
            stackae.load(tmp_path / "default").predict_proba(rows)
        if output == "default":
            expected = found

    np.testing.assert_array_equal(found, expected)
    fitted = [(tmp_path / output / "model" / FITTED).read_bytes() for output in ("default", "pandas")]
    assert len(fitted[0]) == len(fitted[1])


def test_masked_values_are_not_taken_for_what_is_under_the_mask(
    blobs: tuple[np.ndarray, np.ndarray],
) -> None:
    x, _ = blobs
    masked = np.ma.masked_greater(x, 1.0)
    says = re.escape(f"X has {int((x > 1).sum())} values that are masked; fill them, as X.filled(0)")
    fitted = transformer(epochs=1).fit(np.ma.masked_array(x))
    for use in (transformer().fit, fitted.transform):
        with pytest.raises(ValueError, match=says):
            use(masked)
    with pytest.raises(DataError, match=r"values of the array are masked, .* as x\.filled\(0\)"):
        fitted.model_.encode(masked)
    np.testing.assert_array_equal(
        fitted.transform(np.ma.masked_array(x)), transformer(epochs=1).fit_transform(x)
    )


def test_masked_labels_are_none(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    hidden = np.arange(len(y)) % 2 == 1

    assert classifier().fit(x, np.ma.masked_array(y, mask=hidden)).results_.data["labelled"] == 60


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda frame: frame.iloc[:0], r"X has no rows \(shape \(0, 4\)\); give at least one"),
        (lambda frame: frame[[]], r"X has no columns \(shape \(200, 0\)\); give at least one"),
        (lambda frame: pd.DataFrame(), "X has no rows"),
        (
            lambda frame: pd.concat([frame, frame[["age"]]], axis=1),
            "X: several columns are called 'age'; give each a name of its own",
        ),
    ],
    ids=["rows", "columns", "both", "twice"],
)
def test_frames_without_rows_or_columns_or_with_one_twice_are_refused(
    given: Callable[[pd.DataFrame], pd.DataFrame], says: str, table: tuple[pd.DataFrame, np.ndarray]
) -> None:
    frame, labels = table
    numbers = frame[["age"]].fillna(0).assign(job=1.0, city=2.0, since=np.arange(200))
    for rows in (frame, numbers):
        fitted = transformer(epochs=1).fit(rows)
        for use in (transformer().fit, fitted.transform, lambda x: classifier().fit(x, labels[: len(x)])):
            with pytest.raises(ValueError, match=f"^{says}"):
                use(given(rows))


@pytest.mark.parametrize("name", ["age", "job"])
def test_a_loaded_model_refuses_a_column_that_is_there_twice(
    name: str, table: tuple[pd.DataFrame, np.ndarray]
) -> None:
    frame, labels = table
    model = classifier(epochs=1, finetune_epochs=1).fit(frame, labels).model_

    with pytest.raises(DataError, match=f"^several columns are called '{name}'; give each a name"):
        model.predict(pd.concat([frame, frame[[name]]], axis=1))


def test_columns_that_are_not_used_are_named_with_the_reason(table: tuple[pd.DataFrame, np.ndarray]) -> None:
    frame = table[0].assign(same="x", id=[f"row {n}" for n in range(200)])

    with pytest.warns(UserWarning, match="is not used") as warned:
        transformer(epochs=1).fit(frame)

    told = [warning for warning in warned if "is not used" in str(warning.message)]
    assert [str(warning.message) for warning in told] == [
        "X: column 'same' is not used: constant",
        "X: column 'id' is not used: identifier",
    ]
    assert {warning.filename for warning in told} == {__file__}


def test_too_few_rows_to_spare_all_validate(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = blobs
    few = [*np.flatnonzero(y == 0)[:3], *np.flatnonzero(y == 1)[:1]]
    fitted = classifier().fit(x[few], y[few])

    assert {name: fitted.results_.data[name] for name in ("train", "val")} == {"train": 4, "val": 4}


def test_a_fit_draws_no_report_that_nobody_would_find(
    blobs: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("stackae.pipeline.write_report", lambda *given: drawn.append(given))
    transformer(epochs=1).fit(blobs[0])

    assert not drawn


def test_validation_rows_are_drawn_from_each_class() -> None:
    x, y = make_blobs(n_samples=[60, 30, 10], n_features=4, random_state=0)
    data = classifier().fit(x, y).results_.data

    assert (data["train"], data["val"]) == (90, 10)


def test_the_callers_generators_go_on_as_if_nothing_was(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    expected = np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
    classifier().fit(*blobs)

    assert np.random.get_state()[1].tolist() == expected[0]  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), expected[1])


def folders(store: Path) -> Counter[str]:
    return Counter(folder.name.rpartition("-")[0] for folder in store.iterdir() if folder.is_dir())


def test_a_search_shares_layers(tmp_path: Path, blobs: tuple[np.ndarray, np.ndarray]) -> None:
    grid = {"layers": [(8, 4), (8, 6)], "dropout": [0.0, 0.3]}
    GridSearchCV(classifier(store=tmp_path, finetune_epochs=2), grid, cv=2, refit=False).fit(*blobs)

    assert folders(tmp_path) == {"data": 2, "pretrain-1": 2, "pretrain-2": 4, "finetune": 8}


def test_fits_in_threads_do_not_disturb_each_other(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    def chances(seed: int) -> np.ndarray:
        found: np.ndarray = classifier(random_state=seed, dropout=0.5).fit(*blobs).predict_proba(blobs[0])
        return found

    with ThreadPoolExecutor(2) as threads:
        side_by_side = list(threads.map(chances, range(4)))

    np.testing.assert_array_equal(side_by_side, [chances(seed) for seed in range(4)])


def test_pipelines_and_processes_take_it(blobs: tuple[np.ndarray, np.ndarray]) -> None:
    piped = make_pipeline(StandardScaler(), classifier())
    with ProcessPoolExecutor(1, context()) as pool:
        scores = pool.submit(cross_val_score, piped, *blobs, cv=2).result()

    assert scores.min() > 0.9


def test_the_page_on_python_works(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        names = executed(REPOSITORY / "docs" / "python.md")

    y = load_digits().target
    assert names["classifier"](names["x"]).shape == (len(y), 10)
    assert names["regression"].trainer.callback_metrics["loss"] < 1
    assert names["reconstruction"].shape == names["x"].shape
    np.testing.assert_array_equal(names["again"], names["model"].reconstruct(names["rows"]))
    assert names["search"].best_score_ > 0.3
    assert folders(tmp_path / "search") == {"data": 3, "pretrain-1": 3, "pretrain-2": 5, "finetune": 9}
