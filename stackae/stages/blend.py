"""The blend: the fine-tuned classifier averaged with the baseline that the config names, or the best one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from stackae.data.features import flat, read_array
from stackae.mixture import logarithms
from stackae.model import describe
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.baseline_models import fit
from stackae.stages.baseline_modules import as_module
from stackae.stages.baselines import columns, judged, labels, weights
from stackae.stages.means import best_mean, mean_probabilities, mixtures
from stackae.stages.spreading import rows_beside
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights


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
        rows, every = np.flatnonzero(use.learn), columns(entries[plan.data.name])
        x = flat(every.take(rows))
        strength = fitted[name]["strength"]
        # As the stage of the baselines fits it, to the same trees.
        seed = derive(plan.seed(stage.name), name)
        others = None
        if name == "label_spreading":
            others = rows_beside(every, use.labelled, len(plan.split.train), seed)
        model = fit(name, strength, x, y[rows], seed, weight=weights(plan, rows), others=others)
        module = as_module(name, model, strength.get("sharpness", 1.0))
        save_weights(context.folder / WEIGHTS, {"": module})
        logits = logarithms(means["test"][name])
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
