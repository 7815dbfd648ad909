"""The probe: how well a linear classifier reads each depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stackae.data.features import SPLITS, flat, open_features, read_array, slices
from stackae.plan import Plan
from stackae.stage_context import StageContext, StageOutput
from stackae.store import Entry

PROBE_ROWS = 10_000
PROBE_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


def probe(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Fit a logistic regression to the labelled rows' features at each depth (0 = the data).

    Features are standardised; of four strengths of the penalty the one best on validation is taken.
    At most 10,000 labelled rows are used.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert plan.probe is not None
    depths = [entries[name] for name in plan.probe.reads]
    y = {split: read_array(depths[0].file(f"labels-{split}.npy")) for split in SPLITS}
    labelled = np.flatnonzero(plan.split.labelled)
    if len(labelled) > PROBE_ROWS:
        drawn = np.random.default_rng(plan.seed(context.stage)).choice(labelled, PROBE_ROWS, replace=False)
        labelled = np.sort(drawn)
    depth_metrics = []
    with context.progress.stage(context.stage, len(depths), step="depth") as line:
        for depth, entry in enumerate(depths):
            x = {split: flat(open_features(entry.file, split)) for split in SPLITS}
            rows, best, best_accuracy = x["train"][labelled], None, -1.0
            for strength in PROBE_STRENGTHS:
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3)
                )
                model.fit(rows, y["train"][labelled])
                accuracy = _accuracy(model, x["val"], y["val"])
                if accuracy > best_accuracy:
                    best, best_accuracy, best_strength = model, accuracy, strength
            assert best is not None
            test = _accuracy(best, x["test"], y["test"])
            depth_metrics.append(
                {
                    "depth": depth,
                    "C": best_strength,
                    "val": {"accuracy": best_accuracy},
                    "test": {"accuracy": test},
                }
            )
            line.advance(depth + 1, 0.0, {"val_accuracy": best_accuracy})
    return StageOutput({"depths": depth_metrics}, [])


def _accuracy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    correct = sum(int(np.sum(model.predict(x[chunk]) == y[chunk])) for chunk in slices(x))
    return correct / len(y)
