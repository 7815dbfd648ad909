"""The tables of docs/few_labels.md, from the lines that scripts/examples.py has written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.section import put_section, table

HEAD = """# Few labels: the stack beside what one would use instead

`python scripts/examples.py all`, a line in [few_labels.jsonl](few_labels.jsonl) for each run; two cores, no
GPU, float32 or bfloat16 as `auto` takes it, seed 0, repetitions 0, 1, ….

The config is the one that `stackae init` writes. Of the training rows only so many labels of each class are
known, other ones in each repetition; all other rows are unlabelled, and no label beyond these is used, not
for stopping either. Accuracies are of the test rows, in per cent, the best of what one could use in bold:
the published ones of isolet, adult and nsl_kdd (normal or an attack), a quarter of those of the KEEL
tables. *The model* is what `predict` uses: the network, averaged with baselines on the columns and on the
codes, in shares that rows left out make likely. With 50 and all labels it was measured when there was one
baseline, on the columns alone ([recipe.md](recipe.md#several-at-once-codes-among-them) says what several
are worth). *From scratch* is the control of the network. The baselines see the same labelled rows, their
strengths chosen by cross-validation on them, or on rows held out, and label spreading 4,000 rows, most of
them unlabelled; it is left out with 50 labels, which were measured before there was one, boosting where it
takes too long, and the SVM with all labels. The gain is the network's over its control, with its interval
of 95 % over repetitions (Student's t).
"""
COLUMNS = (
    "the model",
    "network",
    "from scratch",
    "extra_trees",
    "logistic_regression",
    "svm",
    "boosting",
    "label_spreading",
    "best baseline by cross-validation",
    "gain of pretraining",
)
Line = dict[str, Any]


def write_tables(path: Path, lines: Sequence[Line]) -> None:
    """Writes a table for each number of labels and for each name that settings were given."""
    parts = []
    for called in dict.fromkeys(line["as"] for line in lines):
        for labels in ("10", "50", "all"):
            chosen = [line for line in lines if (line["as"], line["labels"]) == (called, labels)]
            if chosen:
                count = "all labels" if labels == "all" else f"{labels} labels of each class"
                parts.append(f"## {called}: {count}\n\n{_table(chosen)}")
    put_section(path, "tables", "\n\n".join(parts), head=HEAD)
    for name in dict.fromkeys(line["set"] for line in lines):
        page = path.parent / f"{name}.md"
        if page.exists():
            own = [line for line in lines if (line["as"], line["set"]) == ("default", name)]
            put_section(page, "results", _by_labels(own), head=f"# {name}\n")


def _table(lines: Sequence[Line]) -> str:
    rows, means = [], []
    for name in dict.fromkeys(line["set"] for line in lines):
        figures = np.array([_accuracies(line) for line in lines if line["set"] == name])
        means.append(figures.mean(0))
        rows.append([f"{name} ({len(figures)})", *_shown(means[-1]), _gain(figures)])
    if len(means) > 1:
        rows.append(["mean", *_shown(np.mean(means, axis=0)), ""])
    return table(["set (runs)", *(name.replace("_", " ") for name in COLUMNS)], rows)


def _by_labels(lines: Sequence[Line]) -> str:
    """A table of one set, with a column for each number of labels."""
    counts = list(dict.fromkeys(line["labels"] for line in lines))
    columns = [np.array([_accuracies(line) for line in lines if line["labels"] == count]) for count in counts]
    rows = [
        [
            name.replace("_", " "),
            *("" if np.isnan(each[:, at]).any() else _spread(each[:, at]) for each in columns),
        ]
        for at, name in enumerate(COLUMNS[:-1])
    ]
    heads = [
        f"{'all labels' if count == 'all' else f'{count} labels of each class'} ({len(each)} runs)"
        for count, each in zip(counts, columns, strict=True)
    ]
    return table(["test accuracy, %", *heads], rows)


def _spread(figures: np.ndarray) -> str:
    """The mean and, of several, the lowest and the highest."""
    mean = f"{figures.mean():.1f}"
    return mean if len(figures) == 1 else f"{mean} ({figures.min():.1f} to {figures.max():.1f})"


def _accuracies(line: Line) -> list[float]:
    """A run's accuracies on the test rows, in per cent, in the order of the columns but the last."""
    network, baselines = line["stack"]["test"], line["baselines"]
    best = max(baselines, key=lambda name: baselines[name].get("val", 0.0))
    model = line["blend"]["test"] if line["blend"] else network
    shares = [model, network, line["scratch"]["test"]]
    shares += [baselines[name]["test"] if name in baselines else np.nan for name in COLUMNS[3:8]]
    return [100 * share for share in (*shares, baselines[best]["test"])]


def _shown(figures: np.ndarray) -> list[str]:
    best = np.nanmax(figures[[0, *range(3, 8)]])
    return [
        "" if np.isnan(figure) else f"**{figure:.1f}**" if figure == best else f"{figure:.1f}"
        for figure in figures
    ]


def _gain(figures: np.ndarray) -> str:
    """The network's gain over the control, with its interval of 95 % by Student's t over the runs."""
    from scipy.stats import t

    gains = figures[:, 1] - figures[:, 2]
    if len(gains) < 2:
        return f"{gains.mean():+.1f}"
    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return f"{gains.mean():+.1f} ± {half:.1f}"
