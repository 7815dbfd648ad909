"""One fit of an estimator: its parameters become a config, which the main path carries out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from stackae.config import Config
from stackae.config_file.faults import Place, show
from stackae.config_file.reading import Document
from stackae.config_file.verdicts import verdicts_on
from stackae.console import make_progress
from stackae.data.read import read_source
from stackae.data.splits import hold_out
from stackae.estimator.messages import PLACES, as_value_errors, in_python
from stackae.estimator.validation import Codes, write_training_files
from stackae.estimator.weights import Weights
from stackae.machine.disk import check_folder
from stackae.model import Model, load
from stackae.pipeline import run_plans
from stackae.plan import Plan, make_plan
from stackae.progress import NoProgress
from stackae.results import Results
from stackae.store import Store
from stackae.tracking.tracker import NullTracker

SWAP = {"type": "swap", "rate": 0.2}
"""What is done to the inputs of denoising layers where nothing else is asked for, as `stackae init` does."""

_ONE_FIT_AT_A_TIME = threading.Lock()
"""Held while a fit trains: training seeds torch's global generator, which all threads share."""


def fit_model(
    parameters: Mapping[str, Any], x: Any, y: Codes | None, weights: Weights | None = None
) -> tuple[Model, Results]:
    """Train the model that an estimator's parameters describe, on rows and the numbers of their classes.

    Without `y` no classifier is trained; `weights` say how much each row counts in training it. Raises
    `ValueError` with one line per parameter that is at fault, or one that says what is wrong with the rows.
    Warns of columns that are not used.
    """
    progress = make_progress(quiet=False) if parameters["verbose"] else NoProgress()
    with (
        TemporaryDirectory(prefix="stackae-") as name,
        as_value_errors(Path(name)),
        _ONE_FIT_AT_A_TIME,
        torch.random.fork_rng(),
    ):
        folder = Path(name)
        config = make_config(parameters, write_training_files(folder, x, y))
        source = replace(read_source(config.data), weight=weights)
        plan = make_plan(config, source, hold_out(source, parameters["validation_fraction"], config.seed))
        _tell(plan)
        store_folder = Path(parameters["store"] or folder / "store")
        check_folder("store", store_folder)
        store = Store(store_folder, progress.warn)
        results = run_plans([plan], store, NullTracker(), progress, out=folder / "run")
        if results.classifier is not None:
            # Those are rows that it learnt from.
            results = replace(
                results,
                classifier=dict(results.classifier) | {"test": None},
                baselines=[dict(each) | {"test": None} for each in results.baselines],
                blend=None if results.blend is None else dict(results.blend) | {"test": None},
                calibration=None
                if results.calibration is None
                else dict(results.calibration) | {"test": None},
                verdict=None,
            )
        return load(folder / "run").double(), results


def _tell(plan: Plan) -> None:
    """Warn of the columns that are not used, and of those of which little is left."""
    unused = [column for column in plan.source.columns or () if column.dropped and not column.asked]
    told = [f"column '{column.name}' is not used: {column.dropped}" for column in unused]
    for line in (*told, *plan.remarks):
        cause, _, remedy = line.partition("; ")
        says = f"{cause}; {remedy}" if remedy and "data." not in remedy else cause
        warnings.warn(f"X: {says}", stacklevel=4)


def make_config(parameters: Mapping[str, Any], data: Mapping[str, Any]) -> Config:
    """Build a config from parameters and data; ValueError where a parameter is at fault."""
    values: dict[str, Any] = {
        "seed": _seed(parameters["random_state"]),
        "data": {**data, "split": {}},
        "layers": _layers(parameters),
        "pretrain": {},
        "unroll": {},
        "finetune": {},
        "compare": {"scratch": False, "probe": False, "importance": False, "baselines": "none"},
        "trainer": {"precision": "32-true"},
        # Nobody would find it: the run's folder goes when the fit ends.
        "report": False,
        "tracking": {"wandb": "disabled"},
    }
    for name, (*sections, key) in PLACES.items():
        if name in parameters:
            section = values
            for inner in sections:
                section = section[inner]
            section[key] = _plain(parameters[name])
    if values["pretrain"]["batch_size"] is None:
        del values["pretrain"]["batch_size"]
    else:
        for stage in ("unroll", "finetune"):
            values[stage]["batch_size"] = values["pretrain"]["batch_size"]
    values["unroll"]["lr"] = values["pretrain"]["lr"]
    if "finetune_epochs" not in parameters:
        values["finetune"] = None
    faults: dict[str, str] = {}
    fraction = _plain(parameters["validation_fraction"])
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        faults["validation_fraction"] = f"{fraction!r} is not allowed; it must be between 0 and 1"
    if (output := parameters.get("output", "last")) not in ("last", "all"):
        faults["output"] = f"{output!r} is not allowed; use 'last' or 'all'"
    for verdict in verdicts_on(Document(values)):
        faults.setdefault(_parameter_name(verdict.place, parameters), in_python(verdict.says))
    if faults:
        raise ValueError("\n".join(f"{name}: {says}" for name, says in faults.items()))
    return Config.model_validate(values)


def _parameter_name(place: Place, parameters: Mapping[str, Any]) -> str:
    """Return what users of an estimator call a place in the config."""
    match place:
        case ("layers", int(number), "kind" | "corruption" as name, *inner):
            if not isinstance(parameters["layers"][number], Mapping):
                return show((name, *inner))
        case (_, "batch_size" | "lr" as name) if place != PLACES["finetune_lr"]:
            return name
    for parameter, within in PLACES.items():
        if place[: len(within)] == within:
            return show((parameter, *place[len(within) :]))
    return show(place)


def _layers(parameters: Mapping[str, Any]) -> Any:
    """Return the layers as in a file: widths become layers of the common kind and corruption."""
    layers = parameters["layers"]
    if not isinstance(layers, list | tuple | np.ndarray):
        return layers
    kind, corruption = parameters["kind"], _plain(parameters["corruption"])
    common = {"kind": kind, "corruption": SWAP if corruption is None and kind == "denoising" else corruption}
    return [
        dict(layer) if isinstance(layer, Mapping) else {"width": _plain(layer)} | common for layer in layers
    ]


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer) and 0 <= random_state < 2**32:
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def _plain(value: Any) -> Any:
    """Turn NumPy's scalars, of which a parameter grid is often made, into Python's."""
    return value.item() if isinstance(value, np.generic) else value
