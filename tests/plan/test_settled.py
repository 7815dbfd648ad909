"""What `auto` stands for, by rows, labels and shapes."""

from __future__ import annotations

from typing import Any

import pytest

from stackae.config import FinetuneConfig, LayerConfig, PretrainConfig
from stackae.plan.settled import settled_finetuning, settled_pretraining


@pytest.mark.parametrize(
    ("rows", "epochs", "patience"),
    [
        (60_000, 20, 5),  # 235 steps an epoch
        (2_560, 150, 30),
        (100, 500, 100),
    ],
)
def test_pretraining_is_longer_where_rows_are_few(rows: int, epochs: int, patience: int) -> None:
    settled = settled_pretraining(PretrainConfig(), rows)
    assert (settled.epochs, settled.patience) == (epochs, patience)


def test_epochs_that_are_given_are_kept_and_all_carried_out() -> None:
    settled = settled_pretraining(PretrainConfig(epochs=7), 100)
    assert (settled.epochs, settled.patience) == (7, None)


def settled(
    widths: tuple[int, ...] = (256, 256, 128), *, labelled: int = 100, unit: str = "dense", **words: Any
) -> FinetuneConfig:
    layers = [LayerConfig.model_validate({"width": width, "unit": unit}) for width in widths]
    given = {name: words.pop(name, True) for name in ("folds", "table")}
    shape, rows = words.pop("shape", (20,)), words.pop("rows", 1000)
    return settled_finetuning(FinetuneConfig(**words), layers, shape, labelled=labelled, rows=rows, **given)


@pytest.mark.parametrize(
    ("labelled", "folds", "epochs", "batch_size"),
    [
        (100, True, 200, 128),
        (601, True, 300, 128),
        (900, True, 188, 128),
        (1_280, False, 150, 128),
        (100_000, False, 30, 256),
    ],
)
def test_fine_tuning_takes_so_many_steps(labelled: int, folds: bool, epochs: int, batch_size: int) -> None:
    found = settled(labelled=labelled, folds=folds)
    assert (found.epochs, found.batch_size) == (epochs, batch_size)


@pytest.mark.parametrize(("rows", "epochs"), [(1000, 375), (30_000, 13), (400_000, 1)])
@pytest.mark.parametrize("labelled", [20, 900])
def test_with_unlabelled_rows_epochs_go_over_all(labelled: int, rows: int, epochs: int) -> None:
    found = settled(labelled=labelled, rows=rows, semi_supervised={"type": "ladder"})
    assert found.epochs == epochs


@pytest.mark.parametrize("widths", [(256,), (256, 256), (256, 64, 256)])
def test_shallow_and_narrow_stacks_take_longer(widths: tuple[int, ...]) -> None:
    assert settled(widths).epochs == 1500
    assert settled().epochs == 200


def test_narrow_stacks_get_a_shortcut_and_less_noise() -> None:
    wide, narrow = settled(), settled((256, 16, 256))
    assert (wide.shortcut, wide.noise) == (False, 0.3)
    assert (narrow.shortcut, narrow.noise) == (True, 0.2)
    channels = settled((8, 8), unit="conv", shape=(8, 8))
    assert (channels.shortcut, channels.noise) == (False, 0.3)


@pytest.mark.parametrize(
    "words",
    [{"folds": False}, {"table": False}, {"batch_norm": False}, {"shape": (6000,)}, {"unit": "conv"}],
)
def test_inputs_are_scaled_in_tables_with_few_labels_alone(words: dict[str, Any]) -> None:
    assert settled().input_scale == "importance"
    assert settled(**words).input_scale == "none"


def test_without_batch_normalisation_nothing_is_added() -> None:
    plain = settled((16,), batch_norm=False)
    assert (plain.noise, plain.shortcut, plain.input_scale) == (0.0, False, "none")


def test_what_is_given_is_kept() -> None:
    given = {"noise": 0.7, "shortcut": True, "input_scale": "none", "epochs": 3, "batch_size": 9}
    found = settled(**given).model_dump()
    assert {name: found[name] for name in given} == given


@pytest.mark.parametrize(("table", "epsilon"), [(True, 0.03), (False, 0.3)])
def test_rows_of_a_table_are_moved_less_far(table: bool, epsilon: float) -> None:
    for given, expected in (({}, epsilon), ({"epsilon": 0.1}, 0.1)):
        words = {"semi_supervised": {"type": "consistency", **given}}
        joint = settled(table=table, **words).semi_supervised
        assert joint is not None
        assert joint.model_dump()["epsilon"] == expected
