"""Small experiments whose outcome is known beforehand: the bits of one number, and PCA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from experiments.drawing import save
from experiments.lab import CONFIGS, Found, Lab, Run

LEARNT, FOREIGN = 39, 216
DEGREES = 1.0
"""The largest angle at which we call two spaces the same."""


def toy_bits(lab: Lab) -> Found:
    """An autoencoder 8-6-4-2-4-6-8 that has seen the bits of 39 alone: what it makes of 39, and of 216."""
    make_bits(CONFIGS / "data" / "toy_bits.npz")
    run = lab.carry_out("toy_bits")
    rows = np.stack([_bits(LEARNT), _bits(FOREIGN)])
    guesses = run.reconstruct(rows)
    errors = np.square(guesses - rows).mean(axis=1)
    figure = Figure(figsize=(6.5, 2.2), layout="constrained")
    for axis, number, row, guess in zip(figure.subplots(1, 2), (LEARNT, FOREIGN), rows, guesses, strict=True):
        axis.bar(np.arange(8) - 0.2, row, 0.4, label="bits", color="0.6")
        axis.bar(np.arange(8) + 0.2, guess, 0.4, label="reconstruction", color="tab:blue")
        axis.set_title(f"{number} = {number:08b}", fontsize=10)
        axis.set_xticks([])
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    save(figure, lab.picture)
    return Found(
        ("mean squared error of the bits of", "ours", "the text"),
        [
            (f"{LEARNT}, which it was trained on", f"{errors[0]:.2g}", "0.007"),
            (f"{FOREIGN}, which it never saw", f"{errors[1]:.2f}", "0.84"),
        ],
    )


def linear_pca(lab: Lab) -> Found:
    """A linear autoencoder with 10 units on digits, beside PCA with as many components."""
    run = lab.carry_out("linear_pca")
    figure = Figure(figsize=(6, 2), layout="constrained")
    ours, theirs = figure.subplots(2, 1)
    directions = _directions(run)
    axes = _pca(run).components_
    for axis, name, basis in ((ours, "autoencoder", directions), (theirs, "PCA", axes)):
        # Any basis of a space is as good as another: both are drawn in that of the principal axes.
        shown = axes @ np.linalg.pinv(basis) @ basis
        pictures = shown.reshape(-1, 8, 8)
        scale = np.abs(pictures).max()
        sheet = np.concatenate([np.pad(picture, 1, constant_values=scale) for picture in pictures], axis=1)
        axis.imshow(sheet, cmap="gray", vmin=-scale, vmax=scale)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    save(figure, lab.picture)
    return _compared(run)


def linear_pca_toy(lab: Lab) -> Found:
    """A linear autoencoder with 2 units on points in space, beside PCA (after Géron, Hands-On ML)."""
    make_plane(CONFIGS / "data" / "linear_pca_toy.npz")
    run = lab.carry_out("linear_pca_toy")
    figure = Figure(figsize=(6.5, 3), layout="constrained")
    left, right = figure.add_subplot(1, 2, 1, projection="3d"), figure.add_subplot(1, 2, 2)
    rows = run.data.train
    left.scatter(*rows.T, s=4, color="0.5")
    left.scatter(*run.reconstruct(rows).T, s=4, color="tab:blue")
    left.set_title("points and their reconstructions", fontsize=9)
    right.scatter(*run.encode(rows).T, s=6)
    right.set_title("codes", fontsize=9)
    save(figure, lab.picture)
    return _compared(run)


def make_bits(path: Path) -> None:
    """Writes the one example many times, and as test rows that and the foreign one; unless it is there."""
    rows, test_rows = np.tile(_bits(LEARNT), (512, 1)), np.stack([_bits(LEARNT), _bits(FOREIGN)])
    _write(path, x=rows, x_test=test_rows)


def make_plane(path: Path) -> None:
    """Writes 300 points along an arc in a tilted plane in space, with noise; unless it is there."""
    rng = np.random.default_rng(4)
    angle = rng.random(300) * 1.5 * np.pi - 0.5
    noise = rng.standard_normal((300, 3)) * 0.1
    x = np.cos(angle) + np.sin(angle) / 2 + noise[:, 0] / 2
    y = 0.7 * np.sin(angle) + noise[:, 1] / 2
    points = np.stack([x, y, 0.1 * x + 0.3 * y + noise[:, 2]], axis=1)
    _write(path, x=points.astype(np.float32))


def _write(path: Path, **arrays: np.ndarray) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)


def _bits(number: int) -> np.ndarray:
    bits: np.ndarray = np.unpackbits(np.array([number], dtype=np.uint8)).astype(np.float32)
    return bits


def _compared(run: Run) -> Found:
    pca, test = _pca(run), run.data.test.reshape(len(run.data.test), -1)
    angle = float(np.degrees(subspace_angles(_directions(run).T, pca.components_.T).max()))
    theirs = np.square(pca.inverse_transform(pca.transform(test)) - test).sum(axis=1).mean()
    same = "the same space" if angle < DEGREES else f"not the same space: {DEGREES:g} degree is our limit"
    return Found(
        ("", "autoencoder", "PCA"),
        [
            ("largest principal angle between the two spaces", f"{angle:.2f}°", same),
            (
                "squared error per test row",
                f"{run.results.reconstruction['test']['sse_per_row']:.5g}",
                f"{theirs:.5g}",
            ),
        ],
    )


def _directions(run: Run) -> np.ndarray:
    """The columns of the decoder, (units, features)."""
    width = run.model.code[0]
    columns = run.model.decode(np.eye(width)) - run.model.decode(np.zeros((1, width)))
    flat: np.ndarray = columns.reshape(width, -1).astype(np.float64)
    return flat


def _pca(run: Run) -> PCA:
    """Principal components of the rows that trained the autoencoder, as many as it has units."""
    return PCA(run.model.code[0]).fit(run.data.train.reshape(len(run.data.train), -1))
