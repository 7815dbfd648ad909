"""Redoes experiments of the literature: `python scripts/reproduce.py NAME [key=value …]`.

Carries out the experiment's configs, computes the figures, may draw docs/pictures/NAME.png, and writes the
experiment's section in docs/experiments.md, and its figures in docs/experiments.json. What the store has is
not trained again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

# OpenMP reads it when torch is imported; it is what stackae's own entry sets.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer
from experiments import classifiers, deep, fashion, joint, kinds, toys, two_d
from experiments.lab import Found, Lab
from experiments.section import write_section

from stackae.errors import StackaeError

EXPERIMENTS: dict[str, Callable[[Lab], Found]] = {
    experiment.__name__: experiment
    for experiment in (
        toys.toy_bits,
        toys.linear_pca,
        toys.linear_pca_toy,
        kinds.kinds,
        two_d.mnist_2d,
        fashion.fashion_conv,
        fashion.fashion_conv_denoising,
        fashion.fashion_conv_sparse,
        fashion.fashion_vae,
        deep.mnist_deep_belief,
        deep.mnist_deep_denoising,
        classifiers.mnist_k_sparse,
        classifiers.mnist_linear_probe,
        classifiers.mnist_contractive,
        classifiers.mnist_sparse_kl,
        classifiers.mnist_conv_stack,
        joint.mnist_100_labels,
        joint.mnist_100_labels_consistency,
        joint.mnist_ladder_1000,
        joint.mnist_ladder_1000_all_costs,
        joint.mnist_ladder_all,
        joint.mnist_ladder_basic,
    )
}
"""The experiments by name, each a function whose docstring says what it redoes."""


def redoes(name: str) -> str:
    """What an experiment redoes, in a sentence."""
    return " ".join((EXPERIMENTS[name].__doc__ or "").split())


app = typer.Typer(add_completion=False)


@app.command()
def reproduce(
    name: Annotated[str | None, typer.Argument(help="An experiment, or `all`.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to its configs.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds, from 0, of experiments that take several.")] = 1,
    quick: Annotated[
        bool, typer.Option(help="An epoch of everything, to see it work; writes into RUNS/docs.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
    docs: Annotated[Path, typer.Option(help="Folder of experiments.md and pictures/.")] = Path("docs"),
    store: Annotated[Path, typer.Option(help="Folder of finished stages.")] = Path(".stackae"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs' folders.")] = Path("runs"),
) -> None:
    """Redoes an experiment and writes its section of docs/experiments.md; run it in the repository's root."""
    if list_ or name is None:
        for known in EXPERIMENTS:
            print(f"{known:<30}{redoes(known)}")
        return
    if name != "all" and name not in EXPERIMENTS:
        raise typer.BadParameter(f"'{name}'; use all, or one of {', '.join(EXPERIMENTS)}", param_hint="NAME")
    if quick:
        docs = runs / "docs"
    for chosen in EXPERIMENTS if name == "all" else [name]:
        lab = Lab(overrides or [], store, runs, docs / "pictures" / f"{chosen}.png", seeds, quick)
        try:
            found = EXPERIMENTS[chosen](lab)
        except StackaeError as fault:
            sys.exit(str(fault))
        path = write_section(docs, chosen, redoes(chosen), lab, found)
        print(f"{path}: section {chosen}", flush=True)


if __name__ == "__main__":
    app()
