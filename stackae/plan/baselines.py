"""Which classifiers of scikit-learn are fitted beside a run's own: those asked for, or in its budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stackae.config import BaselineName, Config
from stackae.data.label_use import LabelUse
from stackae.plan.cost import baseline_seconds, training_seconds
from stackae.plan.layers import PlannedLayer

On = Literal["columns", "columns and codes"]

ORDER: tuple[BaselineName, ...] = (
    "extra_trees",
    "logistic_regression",
    "svm",
    "boosting",
    "label_spreading",
)
"""Who wins where several are as good."""
SHARE = 0.2
"""What baselines may take, all together, of the estimated seconds of the rest of the run."""
TOO_LONG = "would take more than a fifth of the run"
SVM_ROWS = 20_000
"""Labelled rows beyond which no SVM is fitted: its time grows with their square."""
CODES_ROWS, CODES_COLUMNS = 20_000, 5_000
"""Labelled rows, and columns and codes together, beyond which nothing is fitted to the codes."""
STRENGTHS = {"extra_trees": 3, "logistic_regression": 4, "svm": 4, "boosting": 2, "label_spreading": 3}
"""How many strengths are tried of each; `stages.baseline_models` has them."""


@dataclass(frozen=True)
class Baseline:
    """A classifier of scikit-learn, and what it is fitted to."""

    name: BaselineName
    on: On

    def __str__(self) -> str:
        return f"{called(self.name)} on the {self.on}"


def called(name: str) -> str:
    """Return what people call a baseline."""
    return {
        "extra_trees": "extra trees",
        "logistic_regression": "logistic regression",
        "svm": "the SVM",
        "boosting": "boosting",
        "label_spreading": "label spreading",
    }[name]


def short(baseline: Baseline) -> str:
    """Return a baseline's name as the config has it, with what it is fitted to unless that is the columns."""
    return baseline.name if baseline.on == "columns" else f"{baseline.name} on {baseline.on}"


def named(several: str) -> str:
    """Return what people call baselines, whose names `short` gives, with commas between them."""
    names = []
    for each in several.split(", "):
        name, on, rest = each.partition(" on ")
        names.append(f"{called(name)}{on and ' on the '}{rest}")
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def in_short(several: str) -> str:
    """Name baselines, as `named`, where there is little room: more than one are several."""
    return "several baselines" if ", " in several else several.replace("_", " ")


@dataclass(frozen=True)
class ChosenBaselines:
    """The baselines of a run, and why others are left out."""

    fitted: tuple[Baseline, ...] = ()
    left_out: tuple[tuple[Baseline, str], ...] = ()

    def names(self, on: On) -> list[BaselineName]:
        """Return those that are fitted to the columns, or to these and the codes."""
        return [each.name for each in self.fitted if each.on == on]


def choose_baselines(
    config: Config, use: LabelUse, layers: Sequence[PlannedLayer], train: int, test: int, classes: int
) -> ChosenBaselines:
    """Choose the baselines of a run by its config, its rows and its networks alone, never by a clock.

    `train` and `test` are the numbers of rows. Those that `compare.baselines` lists, and the one that
    `finetune.blend` names, are fitted to the columns whatever they take. Where it is `auto`, so are those
    that gain by rows without labels: label spreading, and a logistic regression on columns and codes.
    """
    assert config.finetune is not None
    asked, blend = config.compare.baselines, config.finetune.blend
    named: set[str] = set(asked) if isinstance(asked, tuple) else set()
    if blend not in ("none", "auto"):
        named.add(blend)
    auto = set(ORDER) if "auto" in (asked, blend) else set()
    beside_codes: set[str] = set()
    if asked != "none":
        beside_codes = set(ORDER) if asked == "auto" else set(asked)
    if not named and not auto:
        return ChosenBaselines()
    learnt, columns = int(use.learn.sum()), math.prod(layers[0].shape)
    others = max(0, train - learnt)
    # Parts of the model, not of what stands beside it: they take their time.
    mixed = set[Baseline]()
    if blend == "auto":
        beside_codes.add("logistic_regression")
        mixed.add(Baseline("logistic_regression", "columns and codes"))
    # Without rows to spread over it would be near neighbours alone.
    if others < learnt:
        auto.discard("label_spreading")
    elif blend == "auto":
        # Bounded by its own most rows.
        mixed.add(Baseline("label_spreading", "columns"))
    beside_codes.discard("label_spreading")
    with_codes = columns + sum(math.prod(layer.code) for layer in layers)
    budget = SHARE * training_seconds(config, use, layers, train, classes)
    spent = 0.0
    fitted, left_out = [], []
    widths: dict[On, int] = {"columns": columns, "columns and codes": with_codes}
    for on, width in widths.items():
        wanted = named | auto if on == "columns" else beside_codes
        seconds = {
            name: baseline_seconds(name, use, width, classes, test, STRENGTHS[name], others)
            for name in ORDER
            if name in wanted
        }
        # The cheapest first: more of them fit in.
        for name in sorted(seconds, key=lambda name: seconds[name]):
            each = Baseline(name, on)
            asked_for = each in mixed or (name in named and on == "columns")
            over = spent + seconds[name] > budget and not asked_for
            why = _beyond(name, on, learnt, width) or over * TOO_LONG
            if why:
                left_out.append((each, why))
            else:
                spent += 0.0 if each in mixed else seconds[name]
                fitted.append(each)

    def place(each: Baseline) -> tuple[bool, int]:
        return each.on != "columns", ORDER.index(each.name)

    fitted.sort(key=place)
    left_out.sort(key=lambda each: place(each[0]))
    return ChosenBaselines(tuple(fitted), tuple(left_out))


def _beyond(name: str, on: On, rows: int, columns: int) -> str:
    """Say which bound a baseline is beyond; empty where it is within all."""
    if rows > SVM_ROWS and name == "svm":
        return f"more than {SVM_ROWS:,} labelled rows"
    if rows > CODES_ROWS and on != "columns":
        return f"more than {CODES_ROWS:,} labelled rows"
    if columns > CODES_COLUMNS and on != "columns":
        return f"more than {CODES_COLUMNS:,} columns and codes"
    return ""
