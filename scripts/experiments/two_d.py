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
    "mnist_2d_pretrained": "the same, pretrained",
}
SHOWN = 8


def mnist_2d(lab: Lab) -> Found:
    """MNIST in two numbers: autoencoders of one to four layers, trained as a whole for 60 epochs from random
    weights, and the deepest one with greedy pretraining of 10 epochs per layer first."""
    runs = {config: lab.carry_out(config) for config in DEPTHS}
    _draw(lab, runs)
    errors = [run.results.reconstruction["test"]["mse"] for run in runs.values()]
    depth, pretrained = errors[:4], errors[4]
    falls = all(deeper < shallower for shallower, deeper in pairwise(depth))
    gain = 1 - pretrained / depth[-1]
    change = f"{'lowers' if gain > 0 else '**raises**'} the deepest one's error by {abs(gain):.0%}"
    seconds = [sum(stage["seconds"] for stage in run.results.stages) for run in runs.values()]
    return Found(
        ("encoder", "squared error per test pixel", "loss after training, nats per validation row"),
        [
            (name, f"{error:.4f}", f"{runs[config].metric('unroll', 'val_reconstruction'):.1f}")
            for (config, name), error in zip(DEPTHS.items(), errors, strict=True)
        ],
        notes=[
            "The text finds better reconstructions with every layer more; "
            + ("so do we." if falls else "**we do not**, at one depth at least."),
            f"Greedy pretraining {change}; it takes {seconds[4]:.0f} s instead of {seconds[3]:.0f} s.",
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
    for axis, (config, run) in zip(pictures[1:], runs.items(), strict=True):
        strip(axis, DEPTHS[config], run.reconstruct(digits))
    axes = lower.subplots(2, 3).flat
    for axis, (config, run) in zip(axes, runs.items(), strict=False):
        scatter(axis, DEPTHS[config], run.encode(run.data.test), run.data.test_classes, list("0123456789"))
    curves = lower.axes[-1]
    for config, run in runs.items():
        curves.plot(run.curve("unroll", "val_reconstruction"), label=DEPTHS[config], lw=1)
    curves.set_title("loss of the validation rows by epoch", fontsize=10)
    curves.tick_params(labelsize=7)
    curves.legend(fontsize=7)
    lower.axes[0].legend(fontsize=6, markerscale=3, ncols=2, loc="best")
    save(figure, lab.picture)
