"""The baselines: classifiers of scikit-learn fitted to the very rows that fine-tuning learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stackae.data.features import Together, flat, open_features, read_array, slices
from stackae.machine.threads import threads_for
from stackae.metrics import classification
from stackae.mixture import logarithms
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.baseline_models import choose, fit, probabilities
from stackae.stages.spreading import rows_beside
from stackae.store import Entry


def baselines(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Fit the classifiers that the plan has chosen, to the columns or to these with the codes of all depths.

    Strengths are chosen by the rows that validate the networks, and fitted to all that are learnt from.
    Writes `probabilities-test-<name>.npy` and, of the judged rows, `probabilities-val-<name>.npy`.
    """
    stage = next(each for each in plan.stages if each.name == context.stage)
    on = "columns" if stage is plan.labelled.baselines else "columns and codes"
    use, classes = plan.labels, len(plan.classes)
    assert use is not None
    depths = [entries[name] for name in stage.reads]
    data, rows = entries[plan.data.name], use.labelled
    y = labels(data)[rows]
    y_test = read_array(data.file("labels-test.npy"))
    x = side_by_side(depths, rows)
    parts, learnt = use.parts(rows), use.learn[rows]
    weight = weights(plan, rows)
    own = None if weight is None else weight[learnt]
    tests = [flat(open_features(entry.file, "test")) for entry in depths]
    metrics, files = [], []
    names = plan.labelled.chosen.names(on)  # type: ignore[arg-type]
    with (
        context.progress.stage(context.called, len(names), step="baseline") as line,
        threads_for(x.size),
    ):
        for number, name in enumerate(names):
            seed = derive(plan.seed(context.stage), name)
            others = None
            if name == "label_spreading":
                others = rows_beside(columns(data), rows, len(plan.split.train), seed)
            chosen = choose(name, x, y, parts, classes, seed, weight=weight, others=others)
            sharpness = chosen.strength.get("sharpness", 1.0)
            model = fit(name, chosen.strength, x[learnt], y[learnt], seed, weight=own, others=others)
            chunks = (np.concatenate([part[chunk] for part in tests], 1) for chunk in slices(tests[0]))
            test = np.concatenate([probabilities(model, chunk, classes, sharpness) for chunk in chunks])
            for part, found in (("test", test), ("val", chosen.probabilities)):
                files.append(f"probabilities-{part}-{name}.npy")
                np.save(context.folder / files[-1], found)
            val = {} if chosen.accuracy is None else {"val_accuracy": chosen.accuracy}
            metrics.append(
                {
                    "name": name,
                    "on": on,
                    "val": None if chosen.accuracy is None else {"accuracy": chosen.accuracy},
                    "test": judged(test, y_test),
                    "strength": dict(chosen.strength),
                }
            )
            line.advance(number + 1, 0.0, val)
    return StageOutput({"baselines": metrics}, files)


def columns(entry: Entry) -> Together:
    """Open a stage's features of the training and the validation rows, one after the other."""
    return Together(*(open_features(entry.file, part) for part in ("train", "val")))


def side_by_side(stages: Sequence[Entry], rows: np.ndarray) -> np.ndarray:
    """Read stages' features of rows of training and validation: (rows, features of all stages)."""
    return np.concatenate([columns(stage).take(rows).reshape(len(rows), -1) for stage in stages], 1)


def labels(data: Entry) -> np.ndarray:
    """Read the classes of the training and the validation rows, one after the other, -1 without a label."""
    return np.concatenate([read_array(data.file(f"labels-{part}.npy")) for part in ("train", "val")])


def weights(plan: Plan, rows: np.ndarray) -> np.ndarray | None:
    """Return how much rows of training and validation count; None where all count alike."""
    if plan.source.weight is None:
        return None
    weight: np.ndarray = plan.source.weight[np.concatenate([plan.split.train, plan.split.val])[rows]]
    return weight


def judged(shares: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Compute metrics of probabilities (rows, classes) against classes (rows,)."""
    return classification(logarithms(shares), y)
