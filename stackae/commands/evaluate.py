"""`stackae evaluate`: figures of merit of a run's classifier on labelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from stackae.commands.row_stream import open_rows, worked_on
from stackae.console import make_console
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.new_rows import NewRows
    from stackae.model import Model


def evaluate(run: Path, data: Sequence[str], *, quiet: bool) -> dict[str, Any]:
    """Compute figures of merit of a run's classifier on labelled rows; those without a label are left out.

    `auc` is the area under the ROC curve of the second of two classes, None for more classes or where one of
    them does not occur. Raises `DataError` where no row has a label, or one that is no class of the run.
    """
    model, new = open_rows(run, data, quiet=quiet, classifies=True)
    y = _classes_of(new, model, ", ".join(data))
    probabilities = np.concatenate(list(worked_on(new, model.predict_proba, quiet=quiet)))[y >= 0]
    y, left_out = y[y >= 0], int((y < 0).sum())
    from stackae.metrics import classification, per_class

    # Logits up to a number per row; a probability of 0 in single precision is not quite 0.
    metrics = classification(np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)), y)
    auc = None
    if len(model.classes) == 2 and np.sum(metrics["confusion"], 1).all():
        from sklearn.metrics import roc_auc_score

        auc = float(roc_auc_score(y, probabilities[:, 1]))
    figures = {name: metrics[name] for name in ("accuracy", "error", "macro_f1", "nll", "ece")}
    return {
        "rows": len(y),
        "without_label": left_out,
        **figures,
        "auc": auc,
        "per_class": [
            {"class": name} | figures
            for name, figures in zip(model.classes, per_class(metrics["confusion"]), strict=True)
        ],
        "confusion": metrics["confusion"],
    }


def show_figures(figures: dict[str, Any]) -> None:
    """Print the figures of merit that `evaluate` computed."""
    console = make_console()
    left_out = figures["without_label"]
    note = f", {left_out:,} without a label left out" if left_out else ""
    auc = "" if figures["auc"] is None else f", AUC {figures['auc']:.4f}"
    console.print(
        f"{figures['rows']:,} rows{note}: accuracy {figures['accuracy']:.2%}, error {figures['error']:.2%}, "
        f"macro-F1 {figures['macro_f1']:.2%}, NLL {figures['nll']:.3f}, ECE {figures['ece']:.3f}{auc}",
        soft_wrap=True,
    )
    table = Table("class", "rows", "precision", "recall", "F1", box=None, pad_edge=False)
    for row in figures["per_class"]:
        shares = ("" if row[name] is None else f"{row[name]:.2%}" for name in ("precision", "recall", "f1"))
        table.add_row(row["class"], f"{row['rows']:,}", *shares)
    console.print(table, markup=False)


def _classes_of(new: NewRows, model: Model, data: str) -> np.ndarray:
    """Return the number of each row's class, -1 where it has no label."""
    if new.labels is None or all(label is None for label in new.labels):
        raise DataError(f"{data}: no row has a label to compare with; `stackae predict` needs none")
    number: dict[Any, int] = {name: index for index, name in enumerate(model.classes)} | {None: -1}
    unknown = np.array([label not in number for label in new.labels])
    if unknown.any():
        row = int(np.argmax(unknown))
        shown = ", ".join(f"'{name}'" for name in model.classes[:8]) + ", …" * (len(model.classes) > 8)
        raise DataError(
            f"{data}: {new.row(row)} has the label '{new.labels[row]}', which is no class of this run "
            f"({shown}); leave such rows out, or give the label another name in data.classes of the run's "
            "config.yaml"
        )
    return np.array([number[label] for label in new.labels], np.int64)
