"""Uses a finished run: on rows in files it predicts, encodes, reconstructs, or is evaluated."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from stackae.config_file import load_config
from stackae.console import make_console
from stackae.errors import ArtifactError, DataError
from stackae.outputs import Found, Names, check_output, write_found

if TYPE_CHECKING:
    from stackae.data.new_rows import Given
    from stackae.data.rows import Raw, Rows
    from stackae.model import Model

T = TypeVar("T")

REASONS = {
    "reconstruction": "by reconstruction error",
    "unseen category": "with unseen categories",
    "out of range": "out of range",
}
"""How the line that counts rows unlike the training data calls each reason."""
WORKERS = 2
"""Chunks of rows that are worked on at once."""
ACROSS, PICTURES = 10, 40
"""Pictures side by side, and all of them, where reconstructions are drawn."""


def predict(run: Path, data: str, out: Path, *, quiet: bool) -> None:
    """Writes each row's class, all probabilities, and whether and why it is unlike the training data.

    A line on standard error counts rows that are unlike it.
    """
    check_output(out, (".csv", ".parquet", ".npz"), data)
    model, given = _open(run, data, classifies=True)
    counts = Counter[str]()

    def of(raw: Raw) -> Found:
        chances, reasons = model.judge(raw)
        why = _why(reasons)
        return {
            "class": np.array(model.classes)[chances.argmax(1)],
            "probability": chances,
            "unlike_training": why != "",
            "why": why,
        }

    def counted(chunks: Iterator[Found]) -> Iterator[Found]:
        for found in chunks:
            counts.update(found["why"][found["unlike_training"]].tolist())
            yield found

    names = {
        **_file(given),
        "class": ["class"],
        "probability": [f"probability_{name}" for name in model.classes],
        "unlike_training": ["unlike_training"],
        "why": ["why"],
    }
    chunks = _watched(_worked(given.rows, of), len(given.rows), quiet=quiet)
    write_found(out, names, len(given.rows), _filed(counted(chunks), given))
    if counts and not quiet:
        print(_warning(counts, len(given.rows)), file=sys.stderr)


def encode(run: Path, data: str, out: Path, *, layer: int | Literal["all"] | None, quiet: bool) -> None:
    """Writes each row's features: after a layer, counted from 1, the last, or all side by side."""
    check_output(out, (".npy", ".npz", ".parquet", ".csv"), data)
    model, given = _open(run, data)
    # One row shows how many features a layer has.
    first = given.rows.take(np.arange(1))
    if layer == "all":
        depths = range(1, len(model.encoder.layers) + 1)
        names = [
            f"layer_{depth}_code_{at}"
            for depth in depths
            for at in range(1, model.encode(first, depth).size + 1)
        ]
    else:
        names = [f"code_{at}" for at in range(1, model.encode(first, layer).size + 1)]
    _write(out, {"code": names}, given, lambda raw: {"code": model.encode(raw, layer)}, quiet=quiet)


def reconstruct(run: Path, data: str, out: Path, *, quiet: bool) -> None:
    """Writes each row's reconstruction error, or draws the first images above their reconstructions."""
    check_output(out, (".csv", ".parquet", ".npy", ".npz", ".png"), data)
    model, given = _open(run, data)
    if out.suffix.lower() != ".png":
        _write(out, {"error": ["error"]}, given, lambda raw: {"error": model.errors(raw)}, quiet=quiet)
        return
    from stackae.outputs import check_examples, write_examples

    check_examples(out, model.shape)
    raw = given.rows.take(np.arange(min(PICTURES, len(given.rows))))
    assert isinstance(raw, np.ndarray)
    images = raw.reshape(len(raw), *model.shape).astype(np.float32)
    made = model.reconstruct(raw)
    across = min(ACROSS, len(raw))
    # White where a last line of pictures ends early.
    lines = [
        np.concatenate([line, np.full((across - len(line), *model.shape), model.scale, np.float32)])
        for at in range(0, len(raw), across)
        for line in (images[at : at + across], made[at : at + across])
    ]
    write_examples(out, np.concatenate(lines), scale=model.scale, columns=across)


def evaluate(run: Path, data: str, *, quiet: bool) -> dict[str, Any]:
    """Figures of merit of a run's classifier on labelled rows; those without a label are left out.

    `auc` is the area under the ROC curve of the second of two classes, None for more classes or where one of
    them does not occur. Raises `DataError` where no row has a label, or one that is no class of the run.
    """
    model, given = _open(run, data, classifies=True)
    y = _classes_of(given, model, data)
    chunks = _worked(given.rows, model.predict_proba)
    chances = np.concatenate(list(_watched(chunks, len(given.rows), quiet=quiet)))[y >= 0]
    y, left_out = y[y >= 0], int((y < 0).sum())
    from stackae.metrics import classification, per_class

    # Logits up to a number per row; a probability of 0 in single precision is not quite 0.
    found = classification(np.log(np.maximum(chances, np.finfo(np.float32).tiny)), y)
    auc = None
    if len(model.classes) == 2 and np.sum(found["confusion"], 1).all():
        from sklearn.metrics import roc_auc_score

        auc = float(roc_auc_score(y, chances[:, 1]))
    figures = {name: found[name] for name in ("accuracy", "error", "macro_f1", "nll", "ece")}
    return {
        "rows": len(y),
        "without_label": left_out,
        **figures,
        "auc": auc,
        "per_class": [
            {"class": name} | figures
            for name, figures in zip(model.classes, per_class(found["confusion"]), strict=True)
        ],
        "confusion": found["confusion"],
    }


def show_figures(figures: dict[str, Any]) -> None:
    """Prints what `evaluate` found."""
    from rich.table import Table

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
    for one in figures["per_class"]:
        shares = ("" if one[name] is None else f"{one[name]:.2%}" for name in ("precision", "recall", "f1"))
        table.add_row(one["class"], f"{one['rows']:,}", *shares)
    console.print(table, markup=False)


def _open(run: Path, data: str, *, classifies: bool = False) -> tuple[Model, Given]:
    """A run's model, and rows read as the run's config reads its source."""
    from stackae.data.new_rows import read_rows
    from stackae.model import load

    model = load(run)
    if classifies and model.classifier is None:
        raise ArtifactError(f"{run}: trained no classifier; set 'finetune' in its config and run it again")
    return model, read_rows(data, load_config(run / "config.yaml").data, model.preprocessing)


def _write(out: Path, names: Names, given: Given, of: Callable[[Raw], Found], *, quiet: bool) -> None:
    found = _watched(_worked(given.rows, of), len(given.rows), quiet=quiet)
    if out.suffix.lower() != ".npy":  # it holds one array
        names, found = _file(given) | dict(names), _filed(found, given)
    write_found(out, names, len(given.rows), found)


def _file(given: Given) -> dict[str, list[str]]:
    """The column in which images have the names of their files; other rows have none."""
    return {} if given.files is None else {"file": ["file"]}


def _filed(chunks: Iterator[Found], given: Given) -> Iterator[Found]:
    """Chunks of what was found, with the images' files in front."""
    at = 0
    # One width for all chunks, as they become one array.
    widest = max(map(len, given.files or ()), default=0)
    for found in chunks:
        size = len(next(iter(found.values())))
        if given.files is not None:
            found = {"file": np.array(given.files[at : at + size], f"U{widest}"), **found}
        yield found
        at += size


def _worked(rows: Rows, of: Callable[[Raw], T]) -> Iterator[T]:
    """What `of` makes of the rows, chunk by chunk in their order.

    Some chunks are worked on while others are read, since neither keeps all cores busy.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for _, raw in rows.chunks():
            waiting.append(pool.submit(of, raw))
            if len(waiting) > 2 * WORKERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _watched(chunks: Iterable[Any], rows: int, *, quiet: bool) -> Iterator[Any]:
    """Chunks of what was found for so many rows; a terminal shows how far they are."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = make_console(stderr=True)
    columns = (BarColumn(24), MofNCompleteColumn(), TextColumn("rows"), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task("", total=rows)
        for chunk in chunks:
            yield chunk
            bar.advance(task, len(next(iter(chunk.values())) if isinstance(chunk, dict) else chunk))


def _why(reasons: dict[str, np.ndarray]) -> np.ndarray:
    """Each row's reasons in one text, which is empty where there is none."""
    names = list(reasons)
    texts = ["; ".join(n for at, n in enumerate(names) if some >> at & 1) for some in range(2 ** len(names))]
    bits = sum(found.astype(int) << at for at, found in enumerate(reasons.values()))
    why: np.ndarray = np.array(texts)[bits]
    return why


def _warning(counts: Counter[str], rows: int) -> str:
    """What to know of predictions for rows of which so many are flagged, by why they are."""
    by_reason = {
        called: sum(count for why, count in counts.items() if name in why.split("; "))
        for name, called in REASONS.items()
    }
    parts = ", ".join(f"{count:,} {called}" for called, count in by_reason.items() if count)
    are = "is" if counts.total() == 1 else "are"
    return (
        f"{counts.total():,} of {rows:,} rows {are} unlike the training data ({parts}); "
        "don't trust their predictions blindly"
    )


def _classes_of(given: Given, model: Model, data: str) -> np.ndarray:
    """The number of each row's class, -1 where it has no label."""
    if given.labels is None or all(label is None for label in given.labels):
        raise DataError(f"{data}: no row has a label to compare with; `stackae predict` needs none")
    number: dict[Any, int] = {name: at for at, name in enumerate(model.classes)} | {None: -1}
    unknown = np.array([label not in number for label in given.labels])
    if unknown.any():
        row = int(np.argmax(unknown))
        shown = ", ".join(f"'{name}'" for name in model.classes[:8]) + ", …" * (len(model.classes) > 8)
        raise DataError(
            f"{data}: {given.row(row)} has the label '{given.labels[row]}', which is no class of this run "
            f"({shown}); leave such rows out, or give the label another name in data.classes of the run's "
            "config.yaml"
        )
    return np.array([number[label] for label in given.labels], np.int64)
