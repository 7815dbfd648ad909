"""Figures of what the layers learned: reconstructions, weights, activity, the probe, the map of the codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from stackae.pictures import filter_images, grid
from stackae.report.plotting import BLUE, CLASS_COLOURS, GREEN, INK, ORANGE, Figure, draw
from stackae.report.report_data import Facts

LINES = 4


def feature_figures(facts: Facts, *, tsne: bool = False) -> Iterator[Figure]:
    """Draw reconstructions, first-layer weights, activity per layer, probe by depth, map of the codes."""
    yield _pictures(facts) if facts.is_image else _profiles(facts)
    if facts.filters is not None and (filters := filter_images(facts.filters, facts.shape)) is not None:
        yield _weights(facts, filters)
    yield _activity(facts)
    if facts.results["probe"]:
        yield _probe(facts)
    yield _map(facts, tsne=tsne)


def bare(axes: Axes) -> None:
    """Take frame, ticks and grid away."""
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _pictures(facts: Facts) -> Figure:
    rows = {"input": facts.shown}
    if facts.corrupted is not None:
        rows["corrupted"] = facts.corrupted
    rows["rebuilt"] = facts.rebuilt

    def paint(canvas: Canvas) -> None:
        for axes, (name, images) in zip(
            np.atleast_1d(canvas.subplots(len(rows), 1)), rows.items(), strict=True
        ):
            axes.imshow(grid(images, scale=1.0, columns=len(images)), cmap="gray", vmin=0, vmax=255)
            axes.set_ylabel(name, fontsize=8)
            bare(axes)

    middle = (
        ", the same corrupted as the first layer saw them in training" if facts.corrupted is not None else ""
    )
    return draw(
        "reconstructions",
        paint,
        alt=f"{len(facts.shown)} test images{middle}, and below the reconstructions of the clean ones.",
        caption=f"Test images{middle}, and their reconstruction through all layers from the clean image.",
        size=(4.6, 0.55 * len(rows) + 0.1),
        wide=True,
    )


def _profiles(facts: Facts) -> Figure:
    shown, rebuilt = (x.reshape(len(x), -1) for x in (facts.shown, facts.rebuilt))
    count = min(LINES, len(shown))

    def paint(canvas: Canvas) -> None:
        for axes, x, guess in zip(
            np.atleast_1d(canvas.subplots(count, 1, sharex=True)), shown, rebuilt, strict=False
        ):
            axes.plot(x, color=INK, linewidth=0.9, label="input")
            axes.plot(guess, color=ORANGE, linewidth=0.9, label="rebuilt")
            axes.set_yticks([])
        canvas.axes[-1].set_xlabel("feature")
        canvas.axes[0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)

    error = float(np.square(shown - rebuilt).mean())
    return draw(
        "reconstructions",
        paint,
        alt=f"{count} test rows by feature, and their reconstructions: mean squared error {error:.3g}.",
        caption="Test rows as the network sees them, and their reconstructions by the whole stack.",
        size=(4.6, 0.62 * count + 0.5),
        wide=True,
    )


def _weights(facts: Facts, filters: np.ndarray) -> Figure:
    assert facts.filters is not None

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.imshow(grid(filters, scale=1.0), cmap="gray", vmin=0, vmax=255)
        bare(axes)

    return draw(
        "weights",
        paint,
        alt=f"The weights of {len(filters)} of the first layer's {len(facts.filters)} units as pictures.",
        caption=(
            f"First-layer weights: {len(filters)} of {len(facts.filters)} units, the strongest first, "
            "each on a scale of its own (grey is zero, white positive)."
        ),
        size=(4.2, 4.2),
    )


def _activity(facts: Facts) -> Figure:
    metrics = {stage["stage"]: stage["metrics"] for stage in facts.results["stages"]}

    def paint(canvas: Canvas) -> None:
        for axes, (stage, codes) in zip(
            np.atleast_1d(canvas.subplots(1, len(facts.activity))), facts.activity.items(), strict=True
        ):
            low, high = np.quantile(codes, [0.001, 0.999])
            axes.hist(codes.ravel(), bins=40, range=(low, max(high, low + 1e-6)), color=BLUE, log=True)
            axes.set(xlabel="code", title=stage)
        canvas.axes[0].set_ylabel("how often")

    summary = "; ".join(
        f"{stage}: mean {codes.mean():.3g}, {np.mean(codes == 0):.0%} zeros, "
        f"{metrics[stage].get('dead_units', 0.0):.0%} of the units dead, "
        f"{metrics[stage].get('saturated_units', 0.0):.0%} saturated"
        for stage, codes in facts.activity.items()
    )
    return draw(
        "activity",
        paint,
        alt=f"Histograms of the codes of validation rows, layer by layer. {summary}.",
        caption=f"Activity on validation rows. {summary}.",
        size=(max(4.6, 2.0 * len(facts.activity)), 2.4),
        wide=len(facts.activity) > 2,
    )


def _probe(facts: Facts) -> Figure:
    depths = [depth["depth"] for depth in facts.results["probe"]]
    errors = [100 * (1 - depth["test"]["accuracy"]) for depth in facts.results["probe"]]
    levels = [
        (name, 100 * facts.results[part]["test"]["error"], colour)
        for name, part, colour in (("pretrained", "classifier", GREEN), ("from scratch", "scratch", ORANGE))
        if facts.results[part]
    ]

    def paint(canvas: Canvas) -> None:
        axes = canvas.subplots()
        axes.plot(depths, errors, marker="o", color=BLUE, label="linear probe")
        for name, level, colour in levels:
            axes.axhline(level, color=colour, linestyle="--", label=f"{name}, fine-tuned")
        axes.set(xlabel="depth (0: the input itself)", ylabel="test error, %", xticks=depths)
        axes.set_ylim(bottom=0)
        axes.legend()

    error_list = ", ".join(
        f"depth {depth} {error:.2f} %" for depth, error in zip(depths, errors, strict=True)
    )
    level_list = ", ".join(f"{name} {level:.2f} %" for name, level, _ in levels)
    return draw(
        "probe",
        paint,
        alt=(
            f"Test error of a linear classifier on each depth's features: {error_list}. "
            f"Fine-tuned: {level_list}."
        ),
        caption="How well a linear classifier reads each depth's features, with the labels the run kept.",
    )


def _map(facts: Facts, *, tsne: bool) -> Figure:
    panels = {"pretrained": facts.codes_before}
    if facts.codes_after is not None:
        folds = facts.results["data"].get("folds", 0)
        panels["fine-tuned" + (f", the first of {folds}" if folds else "")] = facts.codes_after
    flat = facts.codes_before.shape[1] == 2
    how = "the code itself" if flat else "t-SNE" if tsne else "the first two principal components"
    placed = {name: codes if flat else _planar(codes, tsne=tsne) for name, codes in panels.items()}
    y = facts.y_test[facts.map_rows]
    labels = [label for label in np.unique(y) if label >= 0][: len(CLASS_COLOURS) * 3]

    def paint(canvas: Canvas) -> None:
        for axes, (name, points) in zip(
            np.atleast_1d(canvas.subplots(1, len(placed))), placed.items(), strict=True
        ):
            if not labels:
                axes.scatter(*points.T, s=3, color=BLUE, linewidths=0, rasterized=True)
            for label in labels:
                colour = CLASS_COLOURS[label % len(CLASS_COLOURS)]
                marker = "os^"[label // len(CLASS_COLOURS) % 3]
                axes.scatter(
                    *points[y == label].T,
                    s=6,
                    marker=marker,
                    color=colour,
                    alpha=0.7,
                    linewidths=0,
                    label=facts.classes[label],
                    rasterized=True,
                )
            axes.set(title=name, xticks=[], yticks=[])
        if labels:
            handles, names = canvas.axes[0].get_legend_handles_labels()
            legend = canvas.legend(
                handles,
                names,
                loc="outside lower center",
                ncols=min(len(labels), 10),
                handletextpad=0.1,
                markerscale=2.5,
                columnspacing=0.8,
            )
            for handle in legend.legend_handles:
                handle.set_alpha(1)  # type: ignore[union-attr]

    return draw(
        "map",
        paint,
        alt=(
            f"{len(y):,} test rows placed by {how} of the last layer's codes, {' and '.join(placed)}, "
            "coloured by class."
        ),
        caption=f"The last layer's codes of {len(y):,} test rows ({how}), coloured by class.",
        size=(3.1 * len(placed) + 0.2, 3.4),
        wide=len(placed) > 1,
    )


def _planar(codes: np.ndarray, *, tsne: bool) -> np.ndarray:
    from sklearn.decomposition import PCA

    dimensions = min(2, *codes.shape)
    if tsne and len(codes) > 3:
        from sklearn.manifold import TSNE

        perplexity = min(30, (len(codes) - 1) / 3)
        placed: np.ndarray = _arrays(TSNE(random_state=0, perplexity=perplexity)).fit_transform(codes)
        return placed
    components = _arrays(PCA(dimensions, random_state=0)).fit_transform(codes)
    return np.pad(components, ((0, 0), (0, 2 - dimensions)))


def _arrays(transformer: Any) -> Any:
    """Let a transformer return arrays, whatever the caller's set_config asks of transformers."""
    return transformer.set_output(transform="default")
