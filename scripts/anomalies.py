"""Tells attacks from normal connections without a label: `python scripts/anomalies.py`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer
from experiments.anomalies import intrusions
from experiments.lab import Lab
from experiments.section import circumstances, put_section

app = typer.Typer(add_completion=False)


@app.command()
def anomalies(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to the config.")
    ] = None,
    docs: Annotated[Path, typer.Option(help="Folder of the documents.")] = Path("docs"),
    store: Annotated[Path, typer.Option(help="Folder of finished stages.")] = Path(".stackae"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
) -> None:
    """Writes how well detectors that have seen normal connections alone find attacks."""
    lab = Lab(overrides or [], store, runs, docs / "pictures" / "nsl_kdd.png")
    command = " ".join(["python scripts/anomalies.py", *lab.overrides])
    parts = [*intrusions(lab), f"`{command}`: {circumstances(lab)}."]
    put_section(docs / "nsl_kdd.md", "intrusions", "\n\n".join(parts), head="# nsl_kdd\n")


if __name__ == "__main__":
    app()
