"""The probe: how well a linear classifier reads each depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stackae.data.features import Together, flat, open_features, read_array, slices
from stackae.machine.threads import threads_for
from stackae.plan import Plan
from stackae.stage_context import StageContext, StageOutput
from stackae.store import Entry

PROBE_ROWS = 10_000
CLEARLY_BELOW, TRAINED = 0.01, 5
"""By how much of accuracy a classifier is below its input's probe where a warning says so, and the epochs
that were asked for where it does: who asks for fewer is only trying."""
PROBE_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
PROBE_STRENGTH = 0.1
"""Taken where no row tells which is best."""


def probe(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Fit a logistic regression to the labelled rows' features at each depth (0 = the data).

    Features are standardised; of four strengths of the penalty the one that is best on rows that were not
    fitted to is taken, and fitted to all. At most 10,000 labelled rows are used.
    """
    stage, use = plan.labelled.probe, plan.labels
    assert stage is not None
    assert use is not None
    depths = [entries[name] for name in stage.reads]
    y = np.concatenate([read_array(depths[0].file(f"labels-{part}.npy")) for part in ("train", "val")])
    y_test = read_array(depths[0].file("labels-test.npy"))
    rows = np.flatnonzero(use.learn)
    if len(rows) > PROBE_ROWS:
        rng = np.random.default_rng(plan.seed(context.stage))
        rows = rng.choice(rows, PROBE_ROWS, replace=False)
    # Those that only validate, however many they are.
    rows = np.sort(np.concatenate([rows, np.flatnonzero(use.validates & ~use.learn)]))
    depth_metrics = []
    with context.progress.stage(context.called, len(depths), step="depth") as line:
        for depth, entry in enumerate(depths):
            x = Together(*(open_features(entry.file, part) for part in ("train", "val"))).take(rows)
            with threads_for(x.size):
                strength, accuracy = _choose(flat(x), y[rows], use.parts(rows))
                learnt = use.learn[rows]
                model = _model(strength).fit(flat(x)[learnt], y[rows][learnt])
                test = _accuracy(model, flat(open_features(entry.file, "test")), y_test)
            depth_metrics.append(
                {
                    "depth": depth,
                    "C": strength,
                    "val": None if accuracy is None else {"accuracy": accuracy},
                    "test": {"accuracy": test},
                }
            )
            line.advance(depth + 1, 0.0, {} if accuracy is None else {"val_accuracy": accuracy})
    asked = plan.config.finetune.epochs if plan.config.finetune else 0
    if "finetune" in entries and int(asked) >= TRAINED:
        _compare(context, entries["finetune"].metrics["val"], depth_metrics[0]["val"])
    return StageOutput({"depths": depth_metrics}, [])


def _compare(context: StageContext, tuned: Any, linear: Any) -> None:
    """Warn where the fine-tuned classifier is no match for a logistic regression on its input."""
    if tuned is None or linear is None or tuned["accuracy"] > linear["accuracy"] - CLEARLY_BELOW:
        return
    context.progress.warn(
        f"finetune: {tuned['accuracy']:.1%} of the rows that validate are classified right, "
        f"{linear['accuracy']:.1%} by a logistic regression on the input; leave out what is set under "
        "finetune, or set finetune.shortcut: true"
    )


def _choose(
    x: np.ndarray, y: np.ndarray, parts: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, float | None]:
    """Return the strength of the penalty that is best on rows not fitted to, and its accuracy there."""
    if not parts:
        return PROBE_STRENGTH, None
    judged = sum(int(judge.sum()) for _, judge in parts)
    accuracies = {
        strength: sum(
            int((_model(strength).fit(x[fitted], y[fitted]).predict(x[judge]) == y[judge]).sum())
            for fitted, judge in parts
        )
        / judged
        for strength in PROBE_STRENGTHS
    }
    best = max(accuracies, key=lambda strength: accuracies[strength])
    return best, accuracies[best]


def _model(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3))


def _accuracy(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    correct = sum(int(np.sum(model.predict(x[chunk]) == y[chunk])) for chunk in slices(x))
    return correct / len(y)
