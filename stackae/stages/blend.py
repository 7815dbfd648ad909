"""The blend: the fine-tuned classifier averaged with baselines, which are fitted once more and kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from stackae.baseline import Partner
from stackae.data.features import read_array
from stackae.mixture import logarithms
from stackae.model import describe_blend
from stackae.plan import Plan
from stackae.plan.baselines import Baseline
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.baseline_models import fit
from stackae.stages.baseline_modules import as_module
from stackae.stages.baselines import columns, judged, labels, side_by_side, weights
from stackae.stages.means import wanted_mean
from stackae.stages.spreading import rows_beside
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights


def blend(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Average the classifier's probabilities with baselines', each of which is fitted once more and kept.

    Which they are `wanted_mean` says; where it is none there are no files.
    """
    use = plan.labels
    assert use is not None
    y, mean = labels(entries[plan.data.name]), wanted_mean(plan, entries)
    steps = 1 if mean is None else len(mean.partners)
    with context.progress.stage(context.called, steps, step="baseline") as line:
        if mean is None:
            line.advance(1, 0.0, {})
            return StageOutput({"with": None}, [])
        test = judged(mean.test, read_array(entries[plan.data.name].file("labels-test.npy")))
        val = judged(mean.val, y[use.judged]) if len(use.judged) else None
        partners = nn.ModuleList()
        for number, each in enumerate(mean.partners):
            partners.append(_fitted(plan, entries, each))
            line.advance(number + 1, 0.0, {} if val is None else {"val_accuracy": val["accuracy"]})
    save_weights(context.folder / WEIGHTS, {"": partners})
    np.save(context.folder / "logits-test.npy", logarithms(mean.test))
    description = describe_blend(partners, mean.mixture)
    parts = zip(mean.partners, mean.mixture.shares[1:], strict=True)
    metrics = {
        "with": str(mean),
        "val": val,
        "test": test,
        "partners": [{"name": each.name, "on": each.on, "share": share} for each, share in parts],
        "blend": description.model_dump(mode="json", exclude_defaults=True),
    }
    return StageOutput(metrics, [WEIGHTS, "logits-test.npy"])


def _fitted(plan: Plan, entries: Mapping[str, Entry], baseline: Baseline) -> Partner:
    """Fit a baseline as its stage does, to the same trees."""
    on_codes, use, name = baseline.on != "columns", plan.labels, baseline.name
    stage = plan.labelled.baselines_codes if on_codes else plan.labelled.baselines
    assert stage is not None
    assert use is not None
    told = {each["name"]: each for each in entries[stage.name].metrics["baselines"]}
    strength, data = told[name]["strength"], entries[plan.data.name]
    rows = np.flatnonzero(use.learn)
    y = labels(data)[rows]
    seed = derive(plan.seed(stage.name), name)
    others = None
    if name == "label_spreading":
        others = rows_beside(columns(data), use.labelled, len(plan.split.train), seed)
    x = side_by_side([entries[each] for each in stage.reads], rows)
    model = fit(name, strength, x, y, seed, weight=weights(plan, rows), others=others)
    module = as_module(name, model, strength.get("sharpness", 1.0))
    return Partner(module, torch.from_numpy(model.classes_), len(plan.classes), on_codes=on_codes)
