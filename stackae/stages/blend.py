"""The blend: the fine-tuned classifier averaged with the baseline that the config names, or the best one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.special import softmax

from stackae.data.features import flat, read_array
from stackae.mixture import Mixture, cross_mixed, fit_mixture, log_loss
from stackae.model import describe
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.baseline_models import fit
from stackae.stages.baseline_modules import as_module
from stackae.stages.baselines import TINY, columns, judged, labels, weights
from stackae.store import Entry
from stackae.temperature import cross_fitted
from stackae.weights import WEIGHTS, save_weights

PREFERRED, CLEARLY = "extra_trees", 3.0
"""The baseline that is mixed with unless the rows that validate are likelier by so many nats, all together,
otherwise; docs/recipe.md has the figures."""
PARTS = 5
"""Parts of the rows that were held out, each judged by what was fitted to the others."""


def blend(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Average the classifier's probabilities with a baseline's, which is fitted once more and kept.

    With `auto` it is as `best_mean` says; where it is none there are no files.
    """
    assert plan.config.finetune is not None
    wanted, stage = plan.config.finetune.blend, plan.labelled.baselines
    use = plan.labels
    assert stage is not None
    assert use is not None
    fitted = {each["name"]: each for each in entries[stage.name].metrics["baselines"]}
    means = mean_probabilities(plan, entries)
    y = labels(entries[plan.data.name])
    name: Any = wanted if wanted != "auto" else best_mean(plan, entries, means["val"])
    with context.progress.stage(context.called, 1, step="baseline") as line:
        if name is None:
            line.advance(1, 0.0, {})
            return StageOutput({"with": None}, [])
        rows = np.flatnonzero(use.learn)
        x = flat(columns(entries[plan.data.name]).take(rows))
        strength = fitted[name]["strength"]
        # As the stage of the baselines fits it, to the same trees.
        seed = derive(plan.seed(stage.name), name)
        model = fit(name, strength, x, y[rows], seed, weight=weights(plan, rows))
        module = as_module(name, model, strength.get("sharpness", 1.0))
        save_weights(context.folder / WEIGHTS, {"": module})
        logits = np.log(np.maximum(means["test"][name], TINY))
        np.save(context.folder / "logits-test.npy", logits)
        test = judged(means["test"][name], read_array(entries[plan.data.name].file("labels-test.npy")))
        val = judged(means["val"][name], y[use.judged]) if len(use.judged) else None
        line.advance(1, 0.0, {} if val is None else {"val_accuracy": val["accuracy"]})
    metrics = {
        "with": name,
        "val": val,
        "test": test,
        "baseline": describe(module, len(model.classes_)).model_dump(exclude_defaults=True),
        "seen": model.classes_.tolist(),
        "mixture": asdict(mixtures(plan, entries)[name]),
    }
    return StageOutput(metrics, [WEIGHTS, "logits-test.npy"])


def stack_logits(plan: Plan, entries: Mapping[str, Entry], part: str) -> np.ndarray:
    """Return the classifier's logits (rows, classes) of the test rows, or of those that validate."""
    assert plan.labels is not None
    name, file = "finetune", "logits-test.npy"
    if part == "val":
        if not len(plan.labels.judged):
            return np.zeros((0, len(plan.classes)))
        file = "logits-folds.npy" if plan.labels.folds else "logits-val.npy"
        name = "length" if plan.labels.refit else name
    return read_array(entries[name].file(file)).astype(np.float64)


def stack_probabilities(plan: Plan, entries: Mapping[str, Entry], part: str) -> np.ndarray:
    """Return the classifier's probabilities (rows, classes) of the test rows, or of those that validate."""
    shares: np.ndarray = softmax(stack_logits(plan, entries, part), axis=1)
    return shares


def parts_of(plan: Plan) -> np.ndarray:
    """Number the parts of the rows that validate, by which what is fitted to them is judged: (rows,)."""
    use = plan.labels
    assert use is not None
    if use.fold is not None:
        return use.fold[use.judged]
    rows = len(use.judged)
    order = np.random.default_rng(derive(plan.config.seed, "parts")).permutation(rows)
    return order % max(1, min(PARTS, rows))


def mixtures(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, Mixture]:
    """Return how the classifier is mixed with each baseline on the columns, by its name.

    Half and half where fewer than two parts of rows validate.
    """
    own, y, weight = _judged(plan, entries)
    if len(np.unique(parts_of(plan))) < 2:
        return {name: Mixture() for name in _names(plan)}
    return {
        name: fit_mixture(own, _baseline_logits(entries, "val", name), y, weight) for name in _names(plan)
    }


def mean_probabilities(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, dict[str, np.ndarray]]:
    """Return the mixtures of the classifier's probabilities with each baseline's on the columns, by part.

    Those of rows that validate are mixed as suits the other rows.
    """
    if not _names(plan):
        return {"test": {}, "val": {}}
    own, y, weight = _judged(plan, entries)
    part = parts_of(plan)
    test = stack_logits(plan, entries, "test")
    found: dict[str, dict[str, np.ndarray]] = {"test": {}, "val": {}}
    for name, mixture in mixtures(plan, entries).items():
        found["test"][name] = mixture.of(test, _baseline_logits(entries, "test", name))
        theirs = _baseline_logits(entries, "val", name)
        several = len(np.unique(part)) > 1
        found["val"][name] = cross_mixed(own, theirs, y, part, weight) if several else mixture.of(own, theirs)
    return found


def _names(plan: Plan) -> list[Any]:
    return plan.labelled.chosen.names("columns") if plan.labelled.baselines is not None else []


def _judged(plan: Plan, entries: Mapping[str, Entry]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return logits, classes and weights of the rows that validate."""
    assert plan.labels is not None
    y = labels(entries[plan.data.name])[plan.labels.judged]
    return stack_logits(plan, entries, "val"), y, weights(plan, plan.labels.judged)


def _baseline_logits(entries: Mapping[str, Entry], part: str, name: str) -> np.ndarray:
    shares = read_array(entries["baselines"].file(f"probabilities-{part}-{name}.npy")).astype(np.float64)
    logits: np.ndarray = np.log(np.maximum(shares, TINY))
    return logits


def best_mean(plan: Plan, entries: Mapping[str, Entry], means: Mapping[str, np.ndarray]) -> Any:
    """Name the baseline to mix with: extra trees, unless another makes rows that validate clearly likelier.

    None where the classifier alone makes them clearly likelier, or too few rows validate.
    """
    own, y, weight = _judged(plan, entries)
    part = parts_of(plan)
    if len(np.unique(part)) < 2 or not means:
        return None
    loss = {name: len(y) * log_loss(shares, y, weight) for name, shares in means.items()}
    best = min(loss, key=lambda name: loss[name])
    if PREFERRED in loss and loss[PREFERRED] <= loss[best] + CLEARLY:
        best = PREFERRED
    alone = len(y) * log_loss(softmax(cross_fitted(own, y, part, weight), axis=1), y, weight)
    return best if loss[best] <= alone + CLEARLY else None
