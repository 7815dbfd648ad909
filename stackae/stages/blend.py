"""The blend: the fine-tuned classifier averaged with the baseline that the config names, or the best one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import softmax

from stackae.data.features import flat, read_array
from stackae.model import describe
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.baseline_models import fit
from stackae.stages.baseline_modules import as_module
from stackae.stages.baselines import TINY, columns, judged, labels, weights
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights


def blend(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Average the classifier's probabilities with a baseline's, which is fitted once more and kept.

    With `auto` it is the one whose mean with the classifier is best on the rows that validate, and none where
    no mean is better than the classifier alone; then there are no files.
    """
    assert plan.config.finetune is not None
    wanted, stage = plan.config.finetune.blend, plan.labelled.baselines
    use = plan.labels
    assert stage is not None
    assert use is not None
    fitted = {each["name"]: each for each in entries[stage.name].metrics["baselines"]}
    means = mean_probabilities(plan, entries)
    y = labels(entries[plan.data.name])
    name: Any = wanted if wanted != "auto" else best_mean(plan, entries, means["val"], y[use.judged])
    with context.progress.stage(context.stage, 1, step="baseline") as line:
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
    }
    return StageOutput(metrics, [WEIGHTS, "logits-test.npy"])


def stack_probabilities(plan: Plan, entries: Mapping[str, Entry], part: str) -> np.ndarray:
    """Return the classifier's probabilities (rows, classes) of the test rows, or of those that validate."""
    assert plan.labels is not None
    name, file = "finetune", "logits-test.npy"
    if part == "val":
        if not len(plan.labels.judged):
            return np.zeros((0, len(plan.classes)))
        file = "logits-folds.npy" if plan.labels.folds else "logits-val.npy"
        name = "length" if plan.labels.refit else name
    shares: np.ndarray = softmax(read_array(entries[name].file(file)).astype(np.float64), axis=1)
    return shares


def mean_probabilities(plan: Plan, entries: Mapping[str, Entry]) -> dict[str, dict[str, np.ndarray]]:
    """Return the classifier's probabilities averaged with each baseline's on the columns, by part."""
    stage = plan.labelled.baselines
    names: list[Any] = plan.labelled.chosen.names("columns") if stage is not None else []
    means: dict[str, dict[str, np.ndarray]] = {}
    for part in ("test", "val"):
        own = stack_probabilities(plan, entries, part) if names else None
        means[part] = {
            name: (own + read_array(entries["baselines"].file(f"probabilities-{part}-{name}.npy"))) / 2
            for name in names
        }
    return means


def best_mean(
    plan: Plan, entries: Mapping[str, Entry], means: Mapping[str, np.ndarray], y: np.ndarray
) -> Any:
    """Name the baseline whose mean with the classifier is best on the rows that validate; None where none is
    better than the classifier alone, or no rows validate."""
    if not len(y) or not means:
        return None
    accuracy = {name: float((shares.argmax(1) == y).mean()) for name, shares in means.items()}
    best = max(accuracy, key=lambda name: accuracy[name])
    alone = float((stack_probabilities(plan, entries, "val").argmax(1) == y).mean())
    return best if accuracy[best] > alone else None
