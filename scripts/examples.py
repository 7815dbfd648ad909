"""Works through real data sets: `python scripts/examples.py NAME [key=value …]`.

Carries out configs/NAME.yaml with few and with all labels and several seeds, fits scikit-learn's classifiers
to the same rows, and writes what all of them get into the section `results` of docs/NAME.md. Needs the data
sets, in the folder that STACKAE_DATA names. What the store has is not trained again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

# OpenMP reads it when torch is imported; it is what stackae's own entry sets.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import typer
from experiments.anomalies import intrusions
from experiments.lab import Lab
from experiments.rivals import Score, rivals, rows_of, score_of
from experiments.section import circumstances, put_section, table

from stackae.errors import StackaeError

EXAMPLES: dict[str, Callable[[Lab], Sequence[str]] | None] = {
    "adult": None,
    "cifar10_sample": None,
    "isolet": None,
    "nsl_kdd": intrusions,
}
"""The examples by name, each a config, and what else is to be told of it, a paragraph or a table each."""
LABELS = {"10 labels per class": "data.labels.per_class=10", "all labels": "data.labels=all"}
BESIDE = "data.labels_for_validation=all"
"""The labels of the validation rows choose the best epoch, as they choose the strengths of the rivals."""
OURS = "stackae, pretrained"

Scores = dict[str, list[Score]]
"""The scores of each classifier, one for each seed."""

app = typer.Typer(add_completion=False)


@app.command()
def examples(
    name: Annotated[str, typer.Argument(help="An example, or `all`.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to its config.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 5,
    docs: Annotated[Path, typer.Option(help="Folder of the documents.")] = Path("docs"),
    store: Annotated[Path, typer.Option(help="Folder of finished stages.")] = Path(".stackae"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
) -> None:
    """Works through a data set and writes its results into its document; run it in the repository's root."""
    if name != "all" and name not in EXAMPLES:
        raise typer.BadParameter(f"'{name}'; use all, or one of {', '.join(EXAMPLES)}", param_hint="NAME")
    for chosen in EXAMPLES if name == "all" else [name]:
        lab = Lab(overrides or [], store, runs, docs / "pictures" / f"{chosen}.png")
        try:
            found = {called: _compare(lab, chosen, word, seeds) for called, word in LABELS.items()}
            more = EXAMPLES[chosen]
            told = more(lab) if more else ()
        except StackaeError as fault:
            sys.exit(str(fault))
        command = " ".join(["python scripts/examples.py", chosen, f"--seeds {seeds}", *lab.overrides])
        parts = [*_tables(found), *told, f"`{command}`: {circumstances(lab)}."]
        put_section(docs / f"{chosen}.md", "results", "\n\n".join(parts), head=f"# {chosen}\n")
        print(f"{docs / chosen}.md: section results", flush=True)


def _compare(lab: Lab, name: str, labels: str, seeds: int) -> Scores:
    """The scores of ours, of its control and of the rivals, with so many labels."""
    found: Scores = {}
    for seed in range(seeds):
        called = f"{name}-{labels.rpartition('=')[2]}-{seed}"
        run = lab.carry_out(name, labels, BESIDE, f"seed={seed}", name=called)
        known = rows_of(run)
        scores = {
            OURS: score_of(run, "finetune", known.y_test),
            "the same network from scratch": score_of(run, "scratch", known.y_test),
        } | rivals(known, seed)
        for classifier, score in scores.items():
            print(f"  {classifier}: {_shown([score.accuracy])}", flush=True)
            found.setdefault(classifier, []).append(score)
    return found


def _tables(found: dict[str, Scores]) -> list[str]:
    """A table of the accuracies and, for two classes, one of the areas under the ROC curve."""
    kinds = {"test accuracy": {labels: _figures(scores, "accuracy") for labels, scores in found.items()}}
    if next(iter(found.values()))[OURS][0].auc is not None:
        areas = {labels: _figures(scores, "auc") for labels, scores in found.items()}
        kinds["area under the ROC curve"] = areas
    made = []
    for kind, by_labels in kinds.items():
        columns = [_column(figures) for figures in by_labels.values()]
        rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
        made.append(table([kind, *by_labels], rows))
    return made


def _figures(scores: Scores, figure: str) -> dict[str, list[float]]:
    """A figure of each classifier, one for each seed."""
    return {name: [getattr(score, figure) for score in each] for name, each in scores.items()}


def _column(figures: dict[str, list[float]]) -> dict[str, str]:
    """What the table shows of each classifier, the best one in bold."""
    best = max(figures, key=lambda name: float(np.mean(figures[name])))
    return {name: _shown(each, bold=name == best) for name, each in figures.items()}


def _shown(shares: Sequence[float], *, bold: bool = False) -> str:
    """The mean of shares and, where there are several, the lowest and the highest."""
    mean = f"**{np.mean(shares):.2%}**" if bold else f"{np.mean(shares):.2%}"
    return mean if len(shares) == 1 else f"{mean} ({min(shares):.2%} to {max(shares):.2%})"


if __name__ == "__main__":
    app()
