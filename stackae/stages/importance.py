"""What each column of a table is worth to the classifier: how much its accuracy falls without it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from stackae.committee import Committee
from stackae.data.features import read_array
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.data.tables.normalised import Normalised
from stackae.plan import Plan
from stackae.plan.importance import REPEATS, ROWS
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.finished import load_network
from stackae.store import Entry


def importance(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Permute each column five times, with scikit-learn (Breiman 2001), among rows that validate.

    With folds each row is judged by the network that left it out. Rows that were held out first and learnt
    from in the end are judged by the network that did so. Missing cells are permuted like others.
    """
    from sklearn.inspection import permutation_importance

    use, preprocessing = plan.labels, plan.preprocessing
    assert use is not None
    assert isinstance(preprocessing, TablePreprocessing)
    seed = plan.seed(context.stage)
    judged = use.judged
    if len(judged) > ROWS:
        judged = np.sort(np.random.default_rng(seed).choice(judged, ROWS, replace=False))
    numbers = np.concatenate([plan.split.train, plan.split.val])[judged]
    order = np.argsort(numbers)  # a source is read from first to last
    judged, numbers = judged[order], numbers[order]
    rows = plan.source.all.take(numbers)
    assert isinstance(rows, Normalised)
    data = entries[plan.data.name]
    y = np.concatenate([read_array(data.file(f"labels-{part}.npy")) for part in ("train", "val")])[judged]
    fold = None if use.fold is None else use.fold[judged]
    classifier = _Permuted(rows, preprocessing, load_network(plan, entries["finetune"]).eval(), fold)
    names = [column.name for column in preprocessing.used]
    # Each cell is known by its row, so that numbers and strings are permuted alike.
    cells = np.tile(np.arange(len(judged))[:, None], (1, len(names)))
    with context.progress.stage(context.called, len(names), step="column") as line:
        found = permutation_importance(
            classifier,
            cells,
            y,
            scoring=lambda estimator, x, y: float((estimator.predict(x) == y).mean()),
            n_repeats=REPEATS,
            random_state=derive(seed, "columns") % 2**32,
        )
        line.advance(len(names), 0.0, {})
    columns = [
        {"column": name, "mean": float(mean), "std": float(std)}
        for name, mean, std in zip(names, found.importances_mean, found.importances_std, strict=True)
    ]
    columns.sort(key=lambda each: -float(each["mean"]))  # type: ignore[arg-type]
    weighed = {"rows": len(judged), "unseen": not use.refit, "columns": columns}
    return StageOutput({"importance": weighed}, [])


class _Permuted:
    """The classifier as scikit-learn takes one, for rows that are given by the places of their cells."""

    def __init__(
        self,
        rows: Normalised,
        preprocessing: TablePreprocessing,
        network: nn.Module,
        fold: np.ndarray | None,
    ) -> None:
        self._rows, self._preprocessing, self._network, self._fold = rows, preprocessing, network, fold

    def fit(self, x: np.ndarray, y: np.ndarray) -> None:
        """Do nothing: it is fitted; scikit-learn asks for the method."""

    @torch.no_grad()
    def predict(self, cells: np.ndarray) -> np.ndarray:
        """Return the likeliest class of rows, (rows,)."""
        names = [column.name for column in self._preprocessing.used]
        arrays = [
            self._rows.batch.column(name).take(pa.array(cells[:, place])) for place, name in enumerate(names)
        ]
        x = torch.from_numpy(self._preprocessing(Normalised(pa.RecordBatch.from_arrays(arrays, names))))
        if self._fold is None:
            likeliest: np.ndarray = self._network(x).argmax(1).numpy()
            return likeliest
        assert isinstance(self._network, Committee)
        logits = self._network.each(x)  # (networks, rows, classes)
        left_out: np.ndarray = logits[torch.from_numpy(self._fold), torch.arange(len(x))].argmax(1).numpy()
        return left_out
