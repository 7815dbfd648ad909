"""The data stage: the parts of a source, written where every other stage can map them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stackae.data.features import FEATURES, create
from stackae.data.parts import fill_parts
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.source import Source
from stackae.data.splits import Split
from stackae.plan import Plan
from stackae.stage_context import StageContext, StageOutput
from stackae.store import Entry


def prepare(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Write the rows of each part, preprocessed, as float32, and their classes (-1: none) as int64."""
    write_parts(context.folder, plan.source, plan.split, plan.preprocessing)
    files, labels = [], plan.source.labels
    for name, rows in plan.split.parts.items():
        classes = create(context.folder / f"labels-{name}.npy", (len(rows),), np.int64)
        classes[:] = labels[rows]
        classes.flush()
        files.append(f"labels-{name}.npy")
    metrics = {name: len(rows) for name, rows in plan.split.parts.items()}
    return StageOutput(metrics | {"schema": _schema(plan)}, [*FEATURES, *files])


def _schema(plan: Plan) -> dict[str, Any]:
    """Describe the rows, and show none: the shape that the layers take, the classes, a table's columns."""
    columns = [{"name": each.name, "type": each.type} for each in plan.source.columns or ()]
    table = {"columns": columns} if columns else {}
    return {"shape": list(plan.preprocessing.shape), "classes": list(plan.classes), **table}


def write_parts(folder: Path, source: Source, split: Split, preprocessing: Preprocessing) -> None:
    """Write the rows of each part, and no classes; the source is read once, from first row to last."""
    parts = {
        name: create(folder / f"features-{name}.npy", (len(rows), *preprocessing.shape))
        for name, rows in split.parts.items()
    }
    fill_parts(parts, source, split, preprocessing)
    for features in parts.values():
        features.flush()
