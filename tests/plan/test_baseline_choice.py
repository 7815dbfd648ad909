"""Which baselines a run has: those asked for, those in its budget, and none beyond the bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stackae.config import Config
from stackae.data.read import read_source
from stackae.plan import Plan, make_plan
from stackae.plan.baselines import ORDER, SHARE, STRENGTHS
from stackae.plan.cost import baseline_seconds, training_seconds

LONG = {"pretrain": {"epochs": 20_000}}


def planned(folder: Path, rows: int = 200, columns: int = 6, **changes: Any) -> Plan:
    path = folder / f"{rows}-{columns}.npz"
    if not path.exists():
        x = np.zeros((rows, columns), np.float32)
        x[:, 0] = np.arange(rows)
        np.savez(path, x=x / rows, y=np.arange(rows) % 3)
    config = {"data": {"source": str(path)}, "layers": [{"width": 4}, {"width": 3}]}
    config = Config.model_validate(config | changes)
    return make_plan(config, read_source(config.data))


def names(plan: Plan) -> list[str]:
    return [str(each) for each in plan.labelled.chosen.fitted]


def stages(plan: Plan) -> list[str]:
    return [stage.name for stage in plan.labelled.in_order]


def test_a_long_run_has_all_of_them_on_columns_and_on_codes(tmp_path: Path) -> None:
    plan = planned(tmp_path, **LONG)
    assert names(plan) == [
        *(f"{name} on the columns" for name in ("extra trees", "logistic regression", "the SVM", "boosting")),
        *(f"{name} on the columns and codes" for name in ("extra trees", "logistic regression")),
        *(f"{name} on the columns and codes" for name in ("the SVM", "boosting")),
    ]
    assert stages(plan)[-2:] == ["baselines", "baselines-codes"]
    assert plan.labelled.chosen.left_out == ()


@pytest.mark.parametrize("epochs", [1, 20, 60, 200])
def test_together_they_take_a_fifth_of_the_rest_at_most(tmp_path: Path, epochs: int) -> None:
    plan = planned(tmp_path, pretrain={"epochs": epochs})
    use = plan.labels
    assert use is not None
    widths = {"columns": 6, "columns and codes": 13}
    seconds = [
        baseline_seconds(each.name, use, widths[each.on], 3, len(plan.split.test), STRENGTHS[each.name], 0)
        for each in plan.labelled.chosen.fitted
    ]
    rest = training_seconds(plan.config, use, plan.layers, len(plan.split.train), 3)
    assert sum(seconds) <= SHARE * rest
    why = {why for _, why in plan.labelled.chosen.left_out}
    assert why <= {"would take more than a fifth of the run"}
    assert len(plan.labelled.chosen.fitted) + len(plan.labelled.chosen.left_out) == 8


def test_those_that_are_listed_are_fitted_whatever_they_take(tmp_path: Path) -> None:
    plan = planned(tmp_path, pretrain={"epochs": 1}, compare={"baselines": ["boosting", "extra_trees"]})
    assert names(plan)[:2] == ["extra trees on the columns", "boosting on the columns"]


def test_epochs_over_all_rows_leave_more_time(tmp_path: Path) -> None:
    def seconds(method: object) -> float:
        fine = {"epochs": 10, "semi_supervised": method}
        plan = planned(
            tmp_path, 4000, data={"source": str(tmp_path / "4000-6.npz"), "labels": 60}, finetune=fine
        )
        assert plan.labels is not None
        return training_seconds(plan.config, plan.labels, plan.layers, len(plan.split.train), 3)

    planned(tmp_path, 4000)
    shorter, longer = (seconds({"type": "ladder", "batch_size": size}) for size in (400, 40))
    assert seconds(None) < shorter < longer


def test_none_is_none(tmp_path: Path) -> None:
    for changes in ({"compare": {"baselines": "none"}}, {"finetune": None}):
        plan = planned(tmp_path, **LONG | changes)
        assert not {"baselines", "baselines-codes", "blend"} & set(stages(plan))
        assert plan.labelled.chosen.fitted == plan.labelled.chosen.left_out == ()


def test_what_is_blended_is_fitted_and_nothing_else(tmp_path: Path) -> None:
    plan = planned(tmp_path, **LONG, compare={"baselines": "none"}, finetune={"blend": "svm"})
    assert names(plan) == ["the SVM on the columns"]
    assert stages(plan)[-2:] == ["baselines", "blend"]
    auto = planned(tmp_path, **LONG, compare={"baselines": "none"}, finetune={"blend": "auto"})
    assert len(names(auto)) == len(ORDER)
    assert names(auto)[-1] == "logistic regression on the columns and codes"
    assert [stage.needs for stage in auto.labelled.in_order][-1] == ("baselines", "baselines-codes")
    # A part of the model takes its time, whatever it is.
    short = planned(tmp_path, pretrain={"epochs": 1}, finetune={"blend": "auto", "epochs": 1})
    assert names(short)[-1] == "logistic regression on the columns and codes"


def test_labels_spread_where_most_rows_have_none_and_on_columns_alone(tmp_path: Path) -> None:
    def told(labels: int) -> list[str]:
        chosen = planned(
            tmp_path, 400, data={"source": str(tmp_path / "400-6.npz"), "labels": labels}, **LONG
        )
        every = [*chosen.labelled.chosen.fitted, *(each for each, _ in chosen.labelled.chosen.left_out)]
        return [str(each) for each in every if each.name == "label_spreading"]

    planned(tmp_path, 400)
    source = {"source": str(tmp_path / "400-6.npz"), "labels": 60}
    short: dict[str, Any] = {"pretrain": {"epochs": 1}, "finetune": {"epochs": 1}}
    assert "label spreading on the columns" not in names(planned(tmp_path, 400, data=source, **short))
    short["finetune"]["blend"] = "auto"
    assert "label spreading on the columns" in names(planned(tmp_path, 400, data=source, **short))
    assert told(60) == ["label spreading on the columns"]
    assert told(200) == []


@pytest.mark.parametrize(
    ("rows", "columns", "left_out"),
    [
        (26_000, 2, {("the SVM on the columns", "more than 20,000 labelled rows")}),
        (26_000, 2, {("boosting on the columns and codes", "more than 20,000 labelled rows")}),
        (60, 4_994, {("the SVM on the columns and codes", "more than 5,000 columns and codes")}),
    ],
)
def test_beyond_the_bounds_they_are_left_out(
    tmp_path: Path, rows: int, columns: int, left_out: set[tuple[str, str]]
) -> None:
    plan = planned(tmp_path, rows, columns, compare={"baselines": list(ORDER)})
    assert left_out <= {(str(each), why) for each, why in plan.labelled.chosen.left_out}


def test_keys_move_with_what_changes_the_numbers_alone(tmp_path: Path) -> None:
    def keys(**changes: Any) -> dict[str, str]:
        return {stage.name: stage.key for stage in planned(tmp_path, **LONG | changes).labelled.in_order}

    def moved(**changes: Any) -> set[str]:
        other = keys(**changes)
        return {name for name in ("baselines", "baselines-codes") if other[name] != before[name]}

    before = keys()
    both = {"baselines", "baselines-codes"}
    assert moved(finetune={"dropout": 0.1, "epochs": 400}, compare={"scratch": False}) == set()
    # What is fitted to the columns does not know the layers.
    assert moved(layers=[{"width": 4}, {"width": 3, "activation": "tanh"}]) == {"baselines-codes"}
    assert moved(finetune={"validation": {"folds": 3}}) == both
    assert moved(repeat=1) == both
    assert moved(compare={"baselines": ["extra_trees", "svm"]}) == both
    assert keys(finetune={"blend": "auto"})["finetune"] == before["finetune"]
