"""Each kind as a stack of two on digits: does it learn, and are its features worth more than the pixels?"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from matplotlib.figure import Figure

from experiments.drawing import save
from experiments.lab import Found, Lab, Run

KINDS = ("plain", "denoising", "sparse", "k_sparse", "contractive", "variational", "rbm")
SEEDS = range(5)


def kinds(lab: Lab) -> Found:
    """Each kind of layer as a stack 128-64 on digits with 5 labels of each class, five seeds each."""
    runs = {kind: [_carry_out(lab, kind, seed) for seed in SEEDS] for kind in KINDS}
    rows, idle, behind = [], [], []
    for kind, done in runs.items():
        ratios = [_mean(run.metric(f"pretrain-{n}", "reconstruction_ratio") for run in done) for n in (1, 2)]
        probes = [_probe(done, depth) for depth in range(3)]
        rows.append((kind, *(f"{ratio:.3f}" for ratio in ratios), *(_spread(probe) for probe in probes)))
        idle += [f"{kind} in layer {n}" for n, ratio in enumerate(ratios, 1) if ratio >= 1]
        behind += [f"{kind} at depth {depth}" for depth in (1, 2) if _mean(probes[depth]) <= _mean(probes[0])]
    _draw(lab, runs)
    notes = [
        "The error ratio is the squared error of the validation rows over that of predicting their mean: "
        "below 1 a layer has learned something. The probe is a logistic regression on the 50 labelled rows; "
        "mean and standard deviation over the seeds."
    ]
    notes.append(f"Learned nothing: {', '.join(idle)}." if idle else "Every layer of every kind learned.")
    notes.append(
        f"Not better than the pixels: {', '.join(behind)}."
        if behind
        else "Every kind beats the pixels at both depths."
    )
    return Found(
        ("kind", "error ratio, layer 1", "layer 2", "probe on the pixels", "on layer 1", "on layer 2"),
        rows,
        notes,
    )


def _carry_out(lab: Lab, kind: str, seed: int) -> Run:
    words = (f"layers.*.kind={kind}", f"seed={seed}")
    return lab.carry_out("digits_kinds", *words, name=f"kinds-{kind}-{seed}")


def _probe(runs: list[Run], depth: int) -> list[float]:
    return [run.results.probe[depth]["test"]["accuracy"] for run in runs]


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _spread(values: list[float]) -> str:
    return f"{statistics.fmean(values):.1%} ± {statistics.stdev(values):.1%}"


def _draw(lab: Lab, runs: dict[str, list[Run]]) -> None:
    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    axis = figure.subplots()
    for depth, name in enumerate(("pixels", "layer 1", "layer 2")):
        heights = [statistics.fmean(_probe(done, depth)) for done in runs.values()]
        errors = [statistics.stdev(_probe(done, depth)) for done in runs.values()]
        places = [number + 0.27 * (depth - 1) for number in range(len(runs))]
        axis.bar(places, heights, 0.25, yerr=errors, label=name, color=("0.7", "tab:cyan", "tab:blue")[depth])
    axis.set_xticks(range(len(runs)), list(runs), fontsize=8)
    axis.set_ylim(0.5, 1.0)
    axis.set_ylabel("probe's test accuracy", fontsize=8)
    axis.legend(fontsize=8, ncols=3, loc="lower right")
    save(figure, lab.picture)
