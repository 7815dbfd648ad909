"""Runs on tables: what of the config moves their keys, what is fitted to which rows, what the model takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Cli
from stage_runs import Finished

import stackae
from stackae.config import Config, DataConfig
from stackae.data.new_rows import read_rows
from stackae.data.read import read_source
from stackae.errors import ConfigError, DataError
from stackae.plan import Plan, make_plan
from stackae.shallow.mixed import Mixed

ROWS = 400
ROWS_TEST = 60


def table(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    income = rng.normal(50, 10, rows)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "income": income.round(2),
            "job": rng.choice(["clerk", "nurse", "smith"], rows, p=[0.5, 0.3, 0.2]),
            "who": [f"p{number}" for number in rng.integers(0, 40, rows)],
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.permutation(rows), "h"),
            "good": np.where(income + rng.normal(0, 5, rows) > 50, "yes", "no"),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tables")
    own = table(ROWS, 0)
    own.loc[7, "job"] = "pilot"
    own.to_csv(made / "own.csv", index=False)
    table(ROWS_TEST, 1).to_csv(made / "test.csv", index=False)
    table(50, 2).drop(columns=["good"]).to_csv(made / "more.csv", index=False)
    return made


def described(folder: Path, **data: Any) -> Config:
    names = {"source": "own.csv", "test": "test.csv"} | {
        key: data.pop(key) for key in ("source", "test", "unlabelled") if key in data
    }
    files = {name: None if file is None else str(folder / file) for name, file in names.items()}
    return Config.model_validate(
        {
            "data": files | {"target": "good", "drop": ["who", "when"]} | data,
            "layers": [{"width": 8, "corruption": {"type": "swap"}}, {"width": 4}],
            "pretrain": {"epochs": 2, "batch_size": 50},
            "finetune": {"epochs": 2},
            "trainer": {"accelerator": "cpu", "precision": "32-true"},
            "report": False,
        }
    )


def planned(config: Config) -> Plan:
    return make_plan(config, read_source(config.data))


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return Finished(described(folder), tmp_path_factory.mktemp("run"))


# ---- keys


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("rare", 2),
        ("scaling", "minmax"),
        ("types", {"age": "categorical"}),
        ("types", {"age": "quantile"}),
        ("classes", {"yes": "a", "no": "b"}),
        ("drop", ["who", "when", "age"]),
        ("missing", ["nurse"]),
        ("test", None),
        ("unlabelled", "more.csv"),
    ],
)
def test_what_changes_the_numbers_of_a_table_moves_its_key(setting: str, value: Any, folder: Path) -> None:
    assert planned(described(folder, **{setting: value})).data.key != planned(described(folder)).data.key


def test_what_changes_nothing_moves_no_key(folder: Path) -> None:
    key = planned(described(folder)).data.key
    for setting, value in (("scaling", "standard"), ("classes", {"yes": "true"}), ("labels", 30)):
        assert planned(described(folder, **{setting: value})).data.key == key
    digits = described(folder).model_copy(update={"data": DataConfig()})
    tables_only = DataConfig(rare=3, separator=";", comment="#", missing=("?",))
    assert planned(digits).data.key == planned(digits.model_copy(update={"data": tables_only})).data.key


# ---- losses


def test_a_table_with_categories_or_indicators_gets_the_mixed_loss(folder: Path) -> None:
    layers = planned(described(folder)).layers
    assert [layer.loss for layer in layers] == ["mixed", "squared_error"]
    assert isinstance(layers[0].objective().loss, Mixed)
    numbers = described(folder, drop=["who", "when", "income", "job"])
    assert planned(numbers).layers[0].loss == "squared_error"
    assert planned(described(folder, drop=numbers.data.drop, scaling="minmax")).layers[0].loss == "bernoulli"


@pytest.mark.parametrize(
    ("number", "layer", "says"),
    [
        (1, {"width": 4, "loss": "mixed"}, r"layers\[1\]\.loss: 'mixed' is for a first layer on a table"),
        (0, {"width": 4, "loss": "mixed", "kind": "rbm"}, "and not for kind 'rbm'; set loss: auto"),
        (0, {"width": 4, "loss": "bernoulli"}, "set loss: squared_error, or scale the data to"),
    ],
)
def test_losses_that_do_not_fit_are_refused(number: int, layer: Any, says: str, folder: Path) -> None:
    config = described(folder).model_dump(mode="json", by_alias=True)
    config["layers"][number] = layer
    with pytest.raises(ConfigError, match=says):
        planned(Config.model_validate(config))


def test_the_mixed_loss_is_for_tables(folder: Path) -> None:
    config = {"data": {"source": "digits"}, "layers": [{"width": 4, "loss": "mixed"}]}
    with pytest.raises(ConfigError, match="and not for data 'digits'; set loss: auto"):
        planned(Config.model_validate(config))


def test_a_boltzmann_machine_takes_a_table_as_numbers(folder: Path) -> None:
    config = described(folder, scaling="minmax").model_dump(mode="json", by_alias=True)
    config["layers"] = [{"width": 4, "kind": "rbm"}]
    assert planned(Config.model_validate(config)).layers[0].loss == "bernoulli"


# ---- what stages see


def test_the_preprocessing_is_fitted_to_the_training_rows_alone(finished: Finished, folder: Path) -> None:
    own = pd.read_csv(folder / "own.csv")
    split = finished.plan.split
    assert split.test.tolist() == list(range(ROWS, ROWS + ROWS_TEST))
    names = finished.plan.preprocessing.names()
    made = {part: finished.array("data", f"features-{part}") for part in ("train", "val", "test")}
    for column in ("age", "income"):
        train = own[column].iloc[split.train]
        filled = train.fillna(train.median())
        for part, rows in (("train", own.iloc[split.train]), ("val", own.iloc[split.val])):
            expected = (rows[column].fillna(train.median()) - filled.mean()) / filled.std(ddof=0)
            np.testing.assert_allclose(made[part][:, names.index(column)], expected, atol=1e-5)
    assert (made["train"][:, names.index("job=nurse")] == (own["job"].iloc[split.train] == "nurse")).all()
    assert made["test"].shape == (ROWS_TEST, len(names))
    labels = finished.array("data", "labels-val")
    assert (labels == (own["good"].iloc[split.val] == "yes")).all()


def test_extra_rows_are_pretrained_on(folder: Path) -> None:
    plan = planned(described(folder, unlabelled="more.csv"))
    without = planned(described(folder))
    assert len(plan.split.train) == len(without.split.train) + 50
    assert plan.split.labelled.sum() == without.split.labelled.sum()
    assert len(plan.split.val) == len(without.split.val)


def test_a_column_of_groups_or_times_divides_the_rows(folder: Path) -> None:
    own = pd.read_csv(folder / "own.csv")
    split = planned(described(folder, test=None, drop=["when"], group="who")).split
    people = [set(own["who"].iloc[rows]) for rows in (split.train, split.val, split.test)]
    assert sum(map(len, people)) == len(set.union(*people))
    split = planned(described(folder, test=None, drop=["who"], order="when")).split
    when = own["when"].sort_values()
    assert sorted(own["when"].iloc[split.test]) == when[-len(split.test) :].tolist()
    assert own["when"].iloc[split.train].max() < own["when"].iloc[split.val].min()


def test_a_class_of_the_test_part_that_training_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    own, test = pd.read_csv(folder / "own.csv"), pd.read_csv(folder / "test.csv")
    test.loc[4, "good"] = "maybe"
    own.to_csv(tmp_path / "own.csv", index=False)
    test.to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"has the label 'maybe' \(data row 5\), which never occurs"):
        planned(described(tmp_path))
    plan = planned(described(tmp_path, classes={"yes": "yes", "*": "other"}))
    assert plan.classes == ("other", "yes")


def test_a_table_without_a_target_is_pretrained_on(folder: Path) -> None:
    config = described(folder, target=None, drop=["who", "when", "good"])
    with pytest.raises(
        ConfigError, match=r"has no labels; name their column in data\.target, or set finetune"
    ):
        planned(config)
    assert planned(config.model_copy(update={"finetune": None})).classes == ()


# ---- the model


def test_the_model_takes_a_frame_by_the_names_of_its_columns(finished: Finished, folder: Path) -> None:
    model = stackae.load(finished.run)
    frame = pd.read_csv(folder / "test.csv")
    calibration = finished.results.calibration
    assert calibration is not None
    logits = finished.array("finetune", "logits-test") / calibration["temperature"]
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(frame), expected, atol=1e-5)
    turned = frame[frame.columns[::-1]].set_index(np.arange(ROWS_TEST) * 7.5)
    assert (model.predict_proba(turned) == model.predict_proba(frame)).all()
    np.testing.assert_allclose(model.encode(frame), finished.array("pretrain-2", "features-test"), atol=1e-5)
    with pytest.raises(DataError, match="there is no column 'job'"):
        model.predict(frame.drop(columns="job"))
    with pytest.raises(DataError, match="takes a table, a DataFrame with the columns 'age', 'income', 'job'"):
        model.predict(np.zeros((3, 3)))


def test_the_errors_of_a_tables_rows_add_up_to_the_loss(finished: Finished, folder: Path) -> None:
    model = stackae.load(finished.run)
    frame = pd.read_csv(folder / "test.csv")
    x = torch.from_numpy(finished.array("data", "features-test"))
    *upper, first = model.decoder.layers
    with torch.no_grad():
        code = model.encoder(x)
        for layer in upper:
            code = layer(code)
        total = Mixed(finished.plan.preprocessing.blocks or ())(first[0](code), x)
    errors = model.errors(frame)
    assert errors.shape == (ROWS_TEST,)
    np.testing.assert_allclose(errors.mean(), total.item(), rtol=1e-5)
    names = finished.plan.preprocessing.names()
    shares = model.reconstruct(frame)[:, [names.index(f"job={job}") for job in ("clerk", "nurse", "smith")]]
    assert (shares > 0).all()
    assert (shares.sum(axis=1) <= 1 + 1e-6).all()


def test_rows_unlike_the_training_data_are_told_with_their_reasons(finished: Finished, folder: Path) -> None:
    model = stackae.load(finished.run)
    val = pd.read_csv(folder / "own.csv").iloc[finished.plan.split.val]
    assert model.reasons(val)["reconstruction"].sum() <= 1
    odd = pd.read_csv(folder / "test.csv").head(3)
    odd["age"] = [40, 400, 40]
    odd["job"] = ["clerk", "clerk", "astronaut"]
    reasons = model.reasons(odd)
    assert reasons["unseen category"].tolist() == [False, False, True]
    assert reasons["out of range"].tolist() == [False, True, False]
    assert model.unlike(odd).tolist() == [False, True, True]


# ---- rows that are given later


def test_a_file_without_the_target_is_read_for_the_model(finished: Finished, folder: Path) -> None:
    model, data = stackae.load(finished.run), finished.plan.config.data
    with_labels = read_rows(str(folder / "test.csv"), data, model.preprocessing)
    assert with_labels.labels is not None
    assert with_labels.labels.tolist() == pd.read_csv(folder / "test.csv")["good"].tolist()
    bare = read_rows(str(folder / "more.csv"), data, model.preprocessing)
    assert bare.labels is None
    expected = model.predict(pd.read_csv(folder / "more.csv"))
    assert np.concatenate(list(model.map(bare.rows, model.predict))).tolist() == expected.tolist()


def test_files_of_another_kind_are_refused(finished: Finished, folder: Path, tmp_path: Path) -> None:
    model, data = stackae.load(finished.run), finished.plan.config.data
    np.save(tmp_path / "x.npy", np.zeros((3, 3)))
    with pytest.raises(DataError, match="arrays or images where this run was trained on a table"):
        read_rows(str(tmp_path / "x.npy"), data, model.preprocessing)


def test_a_table_is_carried_out_by_the_command_line(folder: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        f"data: {{source: {folder}/own.csv, target: good, drop: [when], group: who}}\n"
        "layers: [{width: 6}]\npretrain: {epochs: 1}\nfinetune: {epochs: 1}\n"
        "compare: {scratch: false}\ntracking: {wandb: disabled}\n"
    )
    done = cli(["run", "x.yaml", "--quiet"], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    again = cli(["run", "runs/x/config.yaml", "--out", "again"], tmp_path)
    assert again.returncode == 0
    assert again.stderr.splitlines() == [
        f"{stage}: reused" for stage in ("data", "pretrain-1", "finetune", "probe")
    ]
