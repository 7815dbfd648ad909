"""Sections of documents, each between two markers of its name, written by scripts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.lab import Found, Lab

HEAD = """# Experiments

What others published, done again. Each section between markers is written by the command that it names, from
what the command finds; the pictures are drawn by it too.
"""
PRECISIONS = {"32-true": "float32", "bf16-mixed": "matrix products in bfloat16", "16-mixed": "in float16"}


def write_section(docs: Path, name: str, redoes: str, lab: Lab, found: Found) -> Path:
    """Puts an experiment's section into `docs`/experiments.md, and its figures into experiments.json.

    They take the place of the old ones, or are added.
    """
    path = docs / "experiments.md"
    put_section(path, name, _section(name, redoes, lab, found), head=HEAD)
    figures = docs / "experiments.json"
    known = json.loads(figures.read_text()) if figures.exists() else {}
    known[name] = {
        "redoes": redoes,
        "overrides": list(lab.overrides),
        "seeds": sorted({run.results.seed for run in lab.done}),
        "seconds": round(lab.seconds),
        "rows": [dict(zip(found.header, row, strict=True)) for row in found.rows],
    }
    figures.write_text(json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n")
    return path


def put_section(path: Path, name: str, text: str, *, head: str) -> None:
    """Puts a text between a document's markers of a name, or at its end; a new one begins with `head`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.read_text() if path.exists() else head
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    section = f"{first}\n{text}\n{last}"
    old = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
    known = old.search(whole)
    path.write_text(old.sub(lambda _: section, whole) if known else f"{whole.rstrip()}\n\n{section}\n")


def _section(name: str, redoes: str, lab: Lab, found: Found) -> str:
    seeds = [f"--seeds {lab.seeds}"] if lab.seeds > 1 else []
    command = " ".join(["python scripts/reproduce.py", name, *lab.overrides, *seeds])
    parts = [f"## {name}", redoes, table(found.header, found.rows), *found.notes]
    if found.why:
        parts.append(f"Why ours is worse: {found.why}")
    if lab.picture.exists():
        parts.append(f"![{name}](pictures/{lab.picture.name})")
    parts.append(f"`{command}`: {circumstances(lab)}.")
    return "\n\n".join(parts)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def duration(seconds: float) -> str:
    """Seconds in words a reader grasps at once."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def circumstances(lab: Lab) -> str:
    """With which seeds, on what and for how long a lab's runs were trained."""
    return f"{_seeds(lab)}, {_machine(lab)}, {duration(lab.seconds)} of training"


def _seeds(lab: Lab) -> str:
    seeds = sorted({run.results.seed for run in lab.done})
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def _machine(lab: Lab) -> str:
    described = lab.done[-1].results.environment
    kind, _, model = described["device"].partition(" ")
    model = model.strip("()")
    where = f"{os.cpu_count()} cores ({model}), no GPU" if kind == "cpu" else model
    precisions = sorted({run.results.environment["precision"] for run in lab.done})
    return f"{where}, " + " or ".join(PRECISIONS.get(precision, precision) for precision in precisions)
