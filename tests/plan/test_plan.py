"""The plan: the keys that a change moves and those it leaves alone, shapes, and losses that fit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from pydantic import create_model
from torch import nn

from stackae.config import (
    ActivationName,
    Config,
    DataConfig,
    FinetuneConfig,
    FitConfig,
    LayerConfig,
    PretrainConfig,
    UnrollConfig,
)
from stackae.config.section import Section
from stackae.data.read import read_source
from stackae.errors import ConfigError
from stackae.plan import Plan, make_plan
from stackae.shallow.corruptions import Gaussian, Masking, Mix, SaltPepper, Swap
from stackae.shallow.gaussian import GaussianUnit
from stackae.shallow.losses import LOSSES
from stackae.shallow.objectives import Emphasis
from stackae.shallow.units import TiedLinear
from stackae.store import FORMAT

PRETRAIN = ["pretrain-1", "pretrain-2", "pretrain-3"]
ALL = [*PRETRAIN, "finetune", "scratch", "probe"]
CLASSES = ["x", "y", "z"]


def write(path: Path, *, add: float = 0.0, times: float = 1.0, rows: int = 60, labels: bool = True) -> Path:
    rng = np.random.default_rng(0)
    x = rng.random((rows, 2, 4)).astype(np.float32)
    x[0, 0, 0], x[1, 0, 0] = 0, 1
    y = {"y": np.array(CLASSES)[np.arange(rows) % 3]} if labels else {}
    np.savez(path, x=x * np.float32(times) + np.float32(add), **y)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data.npz")


def described(data: Path) -> dict[str, Any]:
    return {
        "name": "one",
        "data": {"source": str(data), "labels": 30},
        "layers": [
            {"width": 6, "activation": "sigmoid"},
            {"width": 5, "activation": "sigmoid"},
            {"width": 4, "activation": "sigmoid"},
        ],
        "compare": {"baselines": "none"},
        "trainer": {"accelerator": "cpu", "precision": "32-true"},
    }


def planned(config: dict[str, Any]) -> Plan:
    settled = Config.model_validate(config)
    return make_plan(settled, read_source(settled.data))


def keys(config: dict[str, Any]) -> dict[str, str]:
    return keys_of(planned(config))


def keys_of(plan: Plan) -> dict[str, str]:
    return {stage.name: stage.key for stage in plan.stages} | {"data": plan.data.key}


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of the config with another value at `path`, as `layers.0.width`; sections are made."""
    first, _, rest = path.partition(".")
    if isinstance(config, list):
        at = int(first)
        new = value if not rest else changed(config[at], rest, value)
        return [*config[:at], new, *config[at + 1 :]]
    return config | {first: value if not rest else changed(config.get(first, {}), rest, value)}


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


# ---- keys


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    CHANGES := [
        ("layers.2.width", 7, {"pretrain-3", "finetune", "scratch", "probe"}),
        ("layers.1.width", 7, set(ALL) - {"pretrain-1"}),
        ("layers.0.width", 7, set(ALL)),
        ("layers.1.activation", "tanh", set(ALL) - {"pretrain-1"}),
        ("layers.1.tied", True, set(ALL) - {"pretrain-1"}),
        ("layers.0.loss", "squared_error", set(ALL) - {"scratch"}),
        ("layers.0.kind", "plain", set(ALL) - {"scratch"}),
        ("layers.1.kind", "variational", set(ALL) - {"pretrain-1"}),
        ("layers.1.unit", "conv", set(ALL) - {"pretrain-1"}),
        ("layers.1.kernel", 5, set(ALL) - {"pretrain-1"}),
        ("layers.1.stride", 2, set(ALL) - {"pretrain-1"}),
        ("layers.1.padding", 2, set(ALL) - {"pretrain-1"}),
        ("layers.1.pool", 2, set(ALL) - {"pretrain-1"}),
        ("layers.1.k", 2, set(ALL) - {"pretrain-1"}),
        ("layers.1.connectivity", 0.5, set(ALL) - {"pretrain-1"}),
        ("layers.1.penalties", [{"type": "kl"}], set(ALL) - {"pretrain-1", "scratch"}),
        ("layers.2.emphasis", {}, {"pretrain-3", "finetune", "probe"}),
        ("layers.2.gibbs_steps", 2, {"pretrain-3", "finetune", "probe"}),
        ("layers.2.persistent", True, {"pretrain-3", "finetune", "probe"}),
        ("layers.2.corruption", {"type": "gaussian"}, {"pretrain-3", "finetune", "probe"}),
        ("layers.1.corruption", {"type": "masking", "rate": 0.5}, set(ALL) - {"pretrain-1", "scratch"}),
        ("layers.1.lr", 0.1, set(ALL) - {"pretrain-1", "scratch"}),
        ("layers.1.batch_norm", False, set(ALL) - {"pretrain-1", "scratch"}),
        ("pretrain.batch_norm", False, set(ALL) - {"scratch"}),
        ("pretrain.epochs", 3, set(ALL) - {"scratch"}),
        ("data.labels", 20, {"finetune", "scratch", "probe"}),
        ("data.labels", {"per_class": 10}, {"finetune", "scratch", "probe"}),
        ("data.labels_for_validation", "all", {"finetune", "scratch", "probe"}),
        ("finetune.validation", "none", {"finetune", "scratch", "probe"}),
        ("finetune.validation", {"folds": 3}, {"finetune", "scratch", "probe"}),
        ("data.split.val", 7, {*ALL, "data"}),
        ("data.split.test", 9, {*ALL, "data"}),
        ("data.split.train", 35, {*ALL, "data"}),
        ("seed", 1, {*ALL, "data"}),
        ("trainer.precision", "bf16-mixed", set(ALL)),
        ("name", "two", set()),
        ("trainer.accelerator", "auto", set()),
        ("trainer.strategy", "ddp", set()),
        ("trainer.threads", 3, set()),
        ("tracking", {"wandb": "disabled", "project": "p", "entity": "e"}, set()),
        ("data.root", "elsewhere", set()),
    ],
)
def test_a_change_moves_the_keys_of_what_it_changes_and_no_others(
    path: str, value: Any, expected: set[str], data: Path
) -> None:
    config = described(data)
    assert moved(keys(config), keys(changed(config, path, value))) == expected


FIT = {
    "batch_size": 7,
    "optimizer": "sgd",
    "lr": 0.123,
    "momentum": 0.1,
    "weight_decay": 0.01,
    "schedule": "one_cycle",
    "warmup": 2.0,
    "epochs": 3,
    "patience": 2,
}
UNROLL = {**FIT, "untie": True}
FINETUNE = {
    "batch_norm": False,
    "noise": 0.05,
    "input_noise": 0.05,
    "input_scale": "importance",
    "shortcut": False,
    "dropout": 0.1,
    "input_dropout": 0.1,
    "label_smoothing": 0.1,
    "balance": "weights",
}
BESIDE = {"blend": "svm", "temperature": "none"}
PRETRAINED_ONLY = {"encoder_lr_scale": 0.1, "freeze_encoder": True}
JOINT = {
    "ladder": {"weights": [10.0, 1.0], "batch_size": 20},
    "consistency": {"epsilon": 0.5, "weight": 2.0, "batch_size": 20},
    "reconstruction": {"weight": 2.0, "batch_size": 20},
}


def test_every_setting_of_a_fit_is_tried() -> None:
    assert set(FIT) == set(FitConfig.model_fields)
    elsewhere = {path.split(".")[1] for path, _, _ in CHANGES if path.startswith("finetune.")}
    tried = {*FIT, *FINETUNE, *PRETRAINED_ONLY, *BESIDE, *elsewhere, "semi_supervised"}
    assert tried == set(FinetuneConfig.model_fields)
    others = {path.split(".")[2] for path, _, _ in CHANGES if path.startswith("layers.")}
    assert set(FIT) | others == set(LayerConfig.model_fields)
    assert set(UNROLL) == set(UnrollConfig.model_fields)


@pytest.mark.parametrize("name", FIT)
def test_every_pretraining_setting_is_part_of_the_pretraining_keys(name: str, data: Path) -> None:
    config = described(data)
    before = keys(config)
    assert moved(before, keys(changed(config, f"pretrain.{name}", FIT[name]))) == set(ALL) - {"scratch"}
    last_only = keys(changed(config, f"layers.2.{name}", FIT[name]))
    assert moved(before, last_only) == {"pretrain-3", "finetune", "probe"}


@pytest.mark.parametrize("name", FIT | FINETUNE | PRETRAINED_ONLY)
def test_fine_tuning_settings_keep_pretraining_and_probe(name: str, data: Path) -> None:
    config = described(data)
    value = (FIT | FINETUNE | PRETRAINED_ONLY)[name]
    expected = {"finetune"} if name in PRETRAINED_ONLY else {"finetune", "scratch"}
    assert moved(keys(config), keys(changed(config, f"finetune.{name}", value))) == expected


@pytest.mark.parametrize("method", JOINT)
def test_learning_from_unlabelled_rows_adds_a_control_that_does_not(method: str, data: Path) -> None:
    alone = keys(described(data))
    config = changed(described(data), "finetune.semi_supervised", {"type": method})
    joint = keys(config)
    assert set(joint) == {*alone, "labels-alone"}
    assert {name for name in alone if alone[name] != joint[name]} == {"finetune", "scratch"}
    for name, value in JOINT[method].items():
        other = keys(changed(config, f"finetune.semi_supervised.{name}", value))
        # What the others do is nothing to the control without them.
        assert moved(joint, other) == {"finetune", "scratch"}
    without = keys(changed(config, "compare.scratch", False))
    assert set(without) == set(alone) - {"scratch"}


def test_weights_of_rows_move_the_keys_of_what_is_fine_tuned_and_no_others(data: Path) -> None:
    config = Config.model_validate(described(data))
    source = read_source(config.data)
    plans = [
        make_plan(config, replace(source, weight=weight))
        for weight in (None, np.arange(len(source.all)) + 1.0, np.ones(len(source.all)))
    ]

    none, some, others = map(keys_of, plans)

    assert moved(none, some) == moved(some, others) == {"finetune", "scratch"}


def test_unrolling_moves_the_keys_of_what_starts_from_it_and_no_others(data: Path) -> None:
    config = described(data)
    before, unrolled = keys(config), keys(changed(config, "unroll.epochs", 5))
    key = unrolled.pop("unroll")
    assert key not in before.values()
    assert moved(before, unrolled) == {"finetune", "probe"}
    # Of a stage that is not there, no setting counts.
    assert keys(changed(config, "unroll.lr", 0.5)) == before


@pytest.mark.parametrize("name", UNROLL)
def test_every_setting_of_unrolling_is_part_of_its_key(name: str, data: Path) -> None:
    config = changed(described(data), "unroll.epochs", 5)
    after = keys(changed(config, f"unroll.{name}", UNROLL[name]))
    assert moved(keys(config), after) == {"unroll", "finetune", "probe"}


def test_content_decides_and_neither_path_nor_time(data: Path, tmp_path: Path) -> None:
    config = described(data)
    before = keys(config)
    (tmp_path / "elsewhere").mkdir()
    copy = write(tmp_path / "elsewhere" / "other.npz")
    assert keys(described(copy)) == before
    other = write(tmp_path / "other.npz", times=0.5)
    assert moved(before, keys(described(other))) == {*ALL, "data"}


def test_the_seed_is_part_of_the_keys_even_where_it_moves_no_row(tmp_path: Path) -> None:
    # Of two rows one is for validation: of five seeds, some must draw the same one.
    np.savez(tmp_path / "two.npz", x=np.eye(2), x_test=np.eye(2))
    config = described(tmp_path / "two.npz") | {"finetune": None}
    config = changed(changed(config, "data.labels", "all"), "data.split.val", 1)
    plans = [planned(changed(config, "seed", seed)) for seed in range(5)]
    assert len({plan.split.fingerprint for plan in plans}) == 2
    assert len({plan.data.key for plan in plans}) == 5


def test_a_gpu_has_the_same_keys_as_a_cpu(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = described(data)
    before = keys(config)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert keys(changed(config, "trainer.accelerator", "gpu")) == before


def test_what_is_spelt_otherwise_but_means_the_same_has_the_same_keys(data: Path) -> None:
    config = described(data)
    before = keys(config)
    assert keys(changed(config, "layers.0.loss", "bernoulli")) == before
    assert keys(changed(config, "layers.0.corruption", {"type": "masking", "rate": 0.25})) == before
    common = keys(changed(config, "pretrain.lr", 0.5))
    own = [layer | {"lr": 0.5} for layer in config["layers"]]
    assert keys(config | {"layers": own}) == common
    auto = planned(changed(config, "trainer.precision", "auto"))
    settled = keys(changed(config, "trainer.precision", auto.hardware.precision))
    assert {stage.name: stage.key for stage in auto.stages} | {"data": auto.data.key} == settled


def test_no_two_stages_share_a_key_and_each_names_the_one_before(data: Path) -> None:
    plan = planned(described(data))
    every = [plan.data, *plan.stages]
    assert len({stage.key for stage in every}) == len(every) == 7
    parents = {stage.name: stage.parent for stage in plan.stages}
    key = {stage.name: stage.key for stage in every}
    assert parents == {
        "pretrain-1": key["data"],
        "pretrain-2": key["pretrain-1"],
        "pretrain-3": key["pretrain-2"],
        "finetune": key["pretrain-3"],
        "scratch": key["data"],
        "probe": key["pretrain-3"],
    }


def test_a_new_option_at_its_default_moves_no_key(data: Path) -> None:
    config = changed(described(data), "unroll.epochs", 2)
    config = changed(config, "layers.2.corruption", {"type": "mix", "parts": MIX})
    config = changed(config, "layers.1", {"kind": "sparse", "width": 5})
    plain = Config.model_validate(config)
    before = keys_of(make_plan(plain, read_source(plain.data)))
    for widened in (grown(plain, 3), grown(plain, 4)):
        after = keys_of(make_plan(widened, read_source(widened.data)))
        assert (after == before) == (widened.seed_of_all == 3)


DEFAULTS = Path(__file__).with_name("defaults.json")
MIX = [{"probability": 1.0, "corruption": {"type": "gaussian"}}]


def grown(section: Section, value: int) -> Any:
    """A copy of a section, and of all within, of which each class has one more option, 3 by default."""
    wider = create_model(type(section).__name__, __base__=type(section), seed_of_all=(int, 3))
    fields = {name: grown_within(getattr(section, name), value) for name in type(section).model_fields}
    return wider.model_construct(**fields, seed_of_all=value)


def grown_within(value: Any, new: int) -> Any:
    if isinstance(value, Section):
        return grown(value, new)
    return tuple(grown_within(each, new) for each in value) if isinstance(value, tuple) else value


def test_a_default_that_changes_raises_the_stores_format() -> None:
    """Settings at their defaults are left out of the keys: another default under the same key is a lie."""
    defaults = {
        section.__name__: {
            name: field.get_default(call_default_factory=True)
            for name, field in section.model_fields.items()
            if not field.is_required()
        }
        for section in keyed()
    }
    now = json.loads(json.dumps(defaults, default=lambda value: value.model_dump(mode="json")))
    before = json.loads(DEFAULTS.read_text())
    assert before["format"] == FORMAT, f"write {DEFAULTS.name} anew, for the store's new format"
    for section, known in before["defaults"].items():
        assert {name: now[section].get(name) for name in known} == known, "raise store.FORMAT"
    assert now == before["defaults"], f"add the new options to {DEFAULTS.name}"


def keyed() -> list[type[Section]]:
    """The classes of the sections whose settings are part of keys, and of those within them."""
    own = (DataConfig, LayerConfig, PretrainConfig, UnrollConfig, FinetuneConfig)
    within = {name for section in own for name in section.model_json_schema().get("$defs", {})}
    return [*own, *(each for each in subclasses(Section) if each.__name__ in within)]


def subclasses(section: type[Section]) -> Iterator[type[Section]]:
    for each in section.__subclasses__():
        if each.__module__.startswith("stackae."):
            yield each
            yield from subclasses(each)


# ---- stages and shapes


def test_each_stage_says_what_it_reads_and_where_its_settings_are(data: Path) -> None:
    plan = planned(changed(described(data), "unroll.epochs", 1))
    every = [plan.data, *plan.stages]
    assert {stage.name: stage.reads for stage in every} == {
        "data": (),
        "pretrain-1": ("data",),
        "pretrain-2": ("data", "pretrain-1"),
        "pretrain-3": ("data", "pretrain-2"),
        "unroll": ("data",),
        "finetune": ("data",),
        "scratch": ("data",),
        "probe": ("data", "pretrain-1", "pretrain-2", "unroll"),
    }
    assert {stage.name: stage.section for stage in every if stage.epochs} == {
        "pretrain-1": "layers.0",
        "pretrain-2": "layers.1",
        "pretrain-3": "layers.2",
        "unroll": "unroll",
        "finetune": "finetune",
        "scratch": "finetune",
    }


def test_stages_come_in_the_order_in_which_they_are_carried_out(data: Path) -> None:
    config = described(data)
    assert [stage.name for stage in planned(config).stages] == ALL
    without = config | {"compare": {"scratch": False, "probe": False, "baselines": "none"}}
    assert [stage.name for stage in planned(without).stages] == [*PRETRAIN, "finetune"]
    pretrain_only = config | {"finetune": None}
    assert [stage.name for stage in planned(pretrain_only).stages] == [*PRETRAIN, "probe"]


def test_unrolling_comes_after_pretraining_and_the_others_start_from_it(data: Path) -> None:
    plan = planned(changed(described(data), "unroll.epochs", 1))
    assert [stage.name for stage in plan.stages] == [*PRETRAIN, "unroll", "finetune", "scratch", "probe"]
    assert plan.unroll is not None
    assert plan.unroll.parent == plan.layers[-1].stage.key
    parents = {stage.name: stage.parent for stage in plan.stages}
    assert parents["finetune"] == parents["probe"] == plan.unroll.key
    assert parents["scratch"] == plan.data.key


def test_where_rows_are_held_out_the_length_is_found_before_all_are_learnt_from(data: Path) -> None:
    config = changed(described(data), "finetune.validation", {"share": 0.2})
    plan = planned(config)
    names = [*PRETRAIN, "length", "finetune", "scratch-length", "scratch", "probe"]
    assert [stage.name for stage in plan.stages] == names
    found = {stage.name: stage for stage in plan.stages}
    assert found["finetune"].parent == found["length"].key
    assert found["length"].parent == plan.top.key
    assert found["scratch"].parent == found["scratch-length"].key
    assert found["scratch-length"].parent == plan.data.key
    assert {found[name].section for name in names[3:7]} == {"finetune"}
    assert found["length"].size() < found["finetune"].size()
    # Nothing is learnt from twice where other rows than the labelled ones validate.
    beside = changed(described(data), "data.labels_for_validation", "all")
    assert [stage.name for stage in planned(beside).stages] == ALL
    without = config | {"compare": {"scratch": False, "probe": False, "baselines": "none"}}
    assert [stage.name for stage in planned(without).stages] == [*PRETRAIN, "length", "finetune"]


def test_folds_take_the_room_of_as_many_networks(data: Path) -> None:
    def size(validation: Any) -> int:
        stages = planned(changed(described(data), "finetune.validation", validation)).stages
        return next(stage.size() for stage in stages if stage.name == "finetune")

    # 30 rows of 3 classes are judged out of fold; the test rows' logits are one network's or a committee's.
    assert size({"folds": 5}) - size({"folds": 2}) == 3 * (size("none") - 4 * 12 * 3)
    assert size({"folds": 2}) == 2 * (size("none") - 4 * 12 * 3) + 4 * (30 + 12) * 3


def test_leaving_a_control_out_moves_no_other_key(data: Path) -> None:
    config = described(data)
    before, after = (
        keys(config),
        keys(config | {"compare": {"scratch": False, "probe": False, "baselines": "none"}}),
    )
    assert after.items() <= before.items()


def test_each_layer_takes_the_shape_of_the_code_below(data: Path) -> None:
    layers = planned(described(data)).layers
    assert [layer.shape for layer in layers] == [(2, 4), (6,), (5,)]
    assert [layer.code for layer in layers] == [(6,), (5,), (4,)]
    assert [layer.parameters for layer in layers] == [9 * 6, 7 * 5, 6 * 4]


def test_a_conv_layer_takes_images_and_the_codes_of_conv_layers(data: Path) -> None:
    config = described(data)
    conv = {"unit": "conv", "width": 3, "pool": 2}
    layers = planned(config | {"layers": [conv, conv | {"pool": None}, {"width": 4}]}).layers
    assert [layer.shape for layer in layers] == [(2, 4), (3, 1, 2), (3, 1, 2)]
    assert [layer.code for layer in layers] == [(3, 1, 2), (3, 1, 2), (4,)]
    assert [layer.parameters for layer in layers] == [10 * 3, 28 * 3, 7 * 4]


def test_a_layers_own_settings_go_before_the_common_ones(data: Path) -> None:
    config = changed(described(data), "pretrain", {"lr": 0.5, "epochs": 9})
    fits = [layer.fit for layer in planned(changed(config, "layers.1.lr", 0.125)).layers]
    assert [fit.lr for fit in fits] == [0.5, 0.125, 0.5]
    assert [fit.epochs for fit in fits] == [9, 9, 9]


@pytest.mark.parametrize(
    ("given", "epochs", "patience"),
    [
        # 30 labels in folds: 1 batch an epoch, 3 of 10, 30 of one.
        ({}, 1500, 600),
        ({"batch_size": 10}, 500, 200),
        ({"batch_size": 1}, 50, 20),
        ({"batch_size": 1, "patience": None}, 50, None),
        ({"batch_size": 1, "patience": 7}, 50, 7),
        ({"epochs": 3}, 3, 20),
        ({"epochs": 60}, 60, 24),
    ],
)
def test_epochs_by_themselves_are_more_where_labels_are_few(
    given: dict[str, Any], epochs: int, patience: int | None, data: Path
) -> None:
    plan = planned(described(data) | {"finetune": given})
    written_out = given | {"epochs": epochs, "patience": patience}

    assert plan.config.finetune is not None
    assert (plan.config.finetune.epochs, plan.config.finetune.patience) == (epochs, patience)
    assert keys(described(data) | {"finetune": written_out}) == keys(described(data) | {"finetune": given})


def test_data_without_labels_can_be_pretrained_on_and_no_more(tmp_path: Path) -> None:
    config = changed(described(write(tmp_path / "bare.npz", labels=False)), "data.labels", "all")
    with pytest.raises(ConfigError, match="has no labels; add them, or set finetune: null") as error:
        planned(config)
    assert "\n" not in str(error.value)
    plan = planned(config | {"finetune": None})
    assert [stage.name for stage in plan.stages] == PRETRAIN


# ---- losses


@pytest.mark.parametrize(
    ("activation", "above"),
    [
        ("sigmoid", "bernoulli"),
        ("relu", "squared_error"),
        ("tanh", "squared_error"),
        ("gelu", "squared_error"),
        ("selu", "squared_error"),
        ("leaky_relu", "squared_error"),
        ("linear", "squared_error"),
    ],
)
def test_auto_takes_the_loss_that_fits_the_layer_below(activation: str, above: str, data: Path) -> None:
    plan = planned(changed(described(data), "layers.0.activation", activation))
    assert [layer.loss for layer in plan.layers] == ["bernoulli", above, "bernoulli"]


@pytest.mark.parametrize(("add", "times"), [(-0.01, 1.0), (0.01, 1.0), (0.0, 255.0), (-5.0, 10.0)])
def test_auto_takes_squared_error_for_data_outside_the_unit_interval(
    add: float, times: float, tmp_path: Path
) -> None:
    data = write(tmp_path / "data.npz", add=add, times=times)
    assert planned(described(data)).layers[0].loss == "squared_error"


def test_eight_bit_images_are_within_the_unit_interval_once_scaled(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=x, y=np.arange(60) % 3)
    assert planned(described(tmp_path / "images.npz")).layers[0].loss == "bernoulli"


@pytest.mark.parametrize(("pool", "loss"), [(True, "squared_error"), (False, "bernoulli")])
def test_published_test_rows_count_where_they_are_pooled(pool: bool, loss: str, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((60, 8)), np.arange(60) % 3
    np.savez(tmp_path / "both.npz", x=x, y=y, x_test=3 * x, y_test=y)
    plan = planned(changed(described(tmp_path / "both.npz"), "data.split.pool", pool))
    assert plan.layers[0].loss == loss


def test_an_explicit_bernoulli_on_unfit_data_is_refused_with_range_and_ways_out(tmp_path: Path) -> None:
    data = write(tmp_path / "wide.npz", add=-2.0, times=5.0)
    with pytest.raises(ConfigError) as error:
        planned(changed(described(data), "layers.0.loss", "bernoulli"))
    text = str(error.value)
    assert text.startswith("layers[0].loss: 'bernoulli' needs inputs in [0, 1]")
    assert "in [-2, 3]" in text
    assert str(data) in text
    assert "set loss: squared_error, or scale the data to [0, 1]" in text
    assert "\n" not in text


def test_an_explicit_bernoulli_above_a_relu_is_refused_with_range_and_ways_out(data: Path) -> None:
    config = changed(described(data), "layers.1.activation", "relu")
    with pytest.raises(ConfigError) as error:
        planned(changed(config, "layers.2.loss", "bernoulli"))
    text = str(error.value)
    assert text.startswith("layers[2].loss: 'bernoulli' needs inputs in [0, 1]")
    assert "layers[1].activation 'relu' gives values in [0, inf]" in text
    assert "set loss: squared_error, or use activation: sigmoid there" in text


def test_an_explicit_loss_that_fits_is_taken(data: Path) -> None:
    config = changed(described(data), "layers.0.loss", "squared_error")
    plan = planned(changed(config, "layers.2.loss", "bernoulli"))
    assert [layer.loss for layer in plan.layers] == ["squared_error", "bernoulli", "bernoulli"]


# ---- what a layer is made of


def test_a_layer_has_the_configured_corruption_and_loss(data: Path) -> None:
    def objective(**words: Any) -> Any:
        return planned(described(data) | {"layers": [{"width": 4} | words]}).layers[0].objective()

    made = objective()
    assert (made.loss, made.corruption, made.emphasis) == (LOSSES["bernoulli"], Masking(0.25), None)
    assert not made.penalties
    assert objective(loss="squared_error").loss == LOSSES["squared_error"]
    assert objective(kind="plain").corruption is None
    assert objective(corruption={"type": "masking", "rate": 0.6}).corruption == Masking(0.6)
    gaussian = {"type": "gaussian", "sigma": 0.7, "clip": True}
    assert objective(corruption=gaussian).corruption == Gaussian(0.7, clip=True)
    parts = [
        {"probability": 0.75, "corruption": {"type": "swap", "rate": 0.1}},
        {"probability": 0.25, "corruption": {"type": "salt_pepper", "rate": 0.2}},
    ]
    mix = objective(corruption={"type": "mix", "parts": parts})
    assert mix.corruption == Mix(((0.75, Swap(0.1)), (0.25, SaltPepper(0.2))))
    assert objective(emphasis={"alpha": 2.0, "beta": 0.1}).emphasis == Emphasis(2.0, 0.1)


def test_a_layer_has_the_configured_penalties(data: Path) -> None:
    def penalties(**words: Any) -> Any:
        return planned(described(data) | {"layers": [{"width": 4} | words]}).layers[0].objective().penalties

    kl = {"type": "kl", "rho": 0.1, "beta": 3.0, "average": "running"}
    both = penalties(kind="sparse", penalties=[kl, {"type": "l1", "alpha": 0.5}])
    assert list(both) == ["kl", "l1"]
    assert (both["kl"].rho, both["kl"].beta, both["l1"].alpha) == (0.1, 3.0, 0.5)
    torch.testing.assert_close(both["kl"].running_mean, torch.full((4,), 0.1))
    assert penalties(kind="sparse")["kl"].running_mean is None
    contractive = penalties(kind="contractive", penalties=[{"type": "contractive", "lambda": 0.7}])
    assert contractive["contractive"].weight == 0.7
    divergence = penalties(
        kind="variational", penalties=[{"type": "gaussian_kl", "beta": 2.0, "warmup": 3.0}]
    )
    assert (divergence["gaussian_kl"].beta, divergence["gaussian_kl"].warmup) == (2.0, 3.0)


@pytest.mark.parametrize(
    ("activation", "loss", "visible", "hidden"),
    [("sigmoid", "auto", "binary", "binary"), ("linear", "squared_error", "gaussian", "gaussian")],
)
def test_a_boltzmann_machine_has_the_configured_units_and_chains(
    activation: str, loss: str, visible: str, hidden: str, data: Path
) -> None:
    layer = {"width": 4, "kind": "rbm", "activation": activation, "loss": loss, "gibbs_steps": 3}
    (made,) = planned(described(data) | {"layers": [layer | {"persistent": True, "batch_size": 7}]}).layers
    objective: Any = made.objective()
    assert (objective.visible, objective.hidden, objective.steps) == (visible, hidden, 3)
    assert objective.chains.shape == (7, 2, 4)
    assert isinstance(made.unit().decoder[0], TiedLinear)


def test_a_layer_has_the_configured_unit(data: Path) -> None:
    def unit(**words: Any) -> Any:
        return planned(described(data) | {"layers": [{"width": 20} | words]}).layers[0].unit()

    dense = unit(activation="tanh", tied=True)
    assert isinstance(dense.encoder[-1], nn.Tanh)
    assert dense.encoder(torch.zeros(1, 2, 4)).shape == (1, 20)
    assert dense.decoder[0].linear is dense.encoder[1]
    assert isinstance(unit(kind="variational"), GaussianUnit)
    assert unit(unit="conv").encoder(torch.zeros(1, 2, 4)).shape == (1, 20, 2, 4)
    assert (unit(kind="k_sparse").activation.k, unit(kind="k_sparse", k=7).activation.k) == (2, 7)
    assert 0 < unit(connectivity=0.5).linear.mask.mean() < 1


NONE = math.inf
CODES = {
    "relu": (0, NONE),
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "gelu": (-0.17, NONE),
    "selu": (-1.7581, NONE),
    "leaky_relu": (-NONE, NONE),
    "linear": (-NONE, NONE),
    "top_k": (-NONE, NONE),
}


@pytest.mark.parametrize("activation", get_args(ActivationName))
def test_the_reconstruction_of_a_code_is_kept_within_what_codes_can_be(activation: str, data: Path) -> None:
    layers = [{"width": 4, "activation": activation}, {"width": 4, "loss": "squared_error"}]
    below, above = planned(described(data) | {"layers": layers}).layers
    output, wide = above.output(), torch.linspace(-60, 60, 2401)[:, None]
    np.testing.assert_array_equal(output(wide), np.clip(wide, *map(np.float32, CODES[activation])))
    codes = below.unit().encoder[-1](wide)
    assert torch.equal(output(codes), codes)


def test_what_reconstructs_the_data_or_logits_is_the_losss_own(data: Path) -> None:
    layers = [{"width": 4, "activation": "relu", "loss": "squared_error"}, {"width": 4}]
    assert isinstance(planned(described(data) | {"layers": layers}).layers[0].output(), nn.Identity)
    layers = [{"width": 4, "activation": "sigmoid"}, {"width": 4}]
    for layer in planned(described(data) | {"layers": layers}).layers:
        assert isinstance(layer.output(), nn.Sigmoid)
