"""Tries the defaults on many shapes of stacks: `python scripts/widths.py SET…`, all labels.

A line for each run goes into docs/widths.jsonl: the classifier's accuracy, and the probe's on its input;
a run that has its line is not done again. The table goes into docs/recipe.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer
from experiments import keel
from experiments.section import put_section, table

import stackae

SHAPES = (
    *((16,), (64,), (256,), (2000,)),
    *((16, 16), (64, 32), (256, 128), (1000, 500)),
    *((16, 16, 16, 16), (64, 64, 64, 64), (256, 256, 128, 64), (500, 16, 500, 16)),
)
SETS = ("digits", "isolet", "adult", *keel.TABLES)
MOST_ROWS = 8000

app = typer.Typer(add_completion=False)


@app.command()
def widths(
    sets: Annotated[list[str], typer.Argument(help=f"Sets: {', '.join(SETS)}.")],
    docs: Annotated[Path, typer.Option(help="Folder of the documents.")] = Path("docs"),
    store: Annotated[Path, typer.Option(help="Folder of finished stages.")] = Path(".stackae"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
) -> None:
    """Trains stacks of every shape on data sets with all labels; run it in the repository's root."""
    log = docs / "widths.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    known = {(line["set"], *line["widths"]) for line in lines}
    for name in sets:
        config, words = _config(name, runs)
        for shape in SHAPES:
            if (name, *shape) in known:
                continue
            layers = ", ".join(f"{{width: {width}}}" for width in shape)
            changes = [f"layers=[{layers}]", "compare.scratch=false", "compare.baselines=none"]
            changes += ["finetune.blend=none", "report=false", "tracking.wandb=disabled", *words]
            found = stackae.run(config, changes, out=runs / "widths", store=store)
            assert found.classifier is not None
            stages = {stage["stage"]: stage for stage in found.stages}
            lines.append(
                {
                    "set": name,
                    "widths": shape,
                    "classifier": round(found.classifier["test"]["accuracy"], 5),
                    "probe": round(found.probe[0]["test"]["accuracy"], 5),
                    "epochs": stages["finetune"]["epochs"],
                    "seconds": round(sum(stage["seconds"] or 0.0 for stage in found.stages), 1),
                }
            )
            with log.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(json.dumps(lines[-1]), flush=True)
    put_section(docs / "recipe.md", "widths", _table(lines), head="# Recipe\n")


def _config(name: str, runs: Path) -> tuple[Path, list[str]]:
    """A set's config, and what has to be said beside it."""
    if name not in keel.TABLES:
        capped = [f"data.split.train={MOST_ROWS}"] if name == "adult" else []
        return Path("configs") / f"{name}.yaml", [*capped, "pretrain={}", "finetune={}"]
    config, test = keel.config(name, runs / "keel")
    return config, [f"data.test={test}", "data.split.test=null"]


def _table(lines: Sequence[dict[str, Any]]) -> str:
    rows = []
    for name in dict.fromkeys(line["set"] for line in lines):
        by_shape = {tuple(line["widths"]): line for line in lines if line["set"] == name}
        probe = next(iter(by_shape.values()))["probe"]
        gains = [
            f"{100 * (by_shape[shape]['classifier'] - probe):+.1f}" if shape in by_shape else ""
            for shape in SHAPES
        ]
        rows.append([name, f"{100 * probe:.1f}", *gains])
    return table(["set", "probe, %", *("-".join(map(str, shape)) for shape in SHAPES)], rows)


if __name__ == "__main__":
    app()
