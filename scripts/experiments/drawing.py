"""Pictures of experiments: small, legible, and of few colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

DPI = 90
COLOURS = 64
POINTS = 3000
"""As many points of a scatter are drawn; more hide each other."""


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG of 64 colours, which takes a third of the space."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def save_rows(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Draws rows of pictures below each other, each with its name."""
    most = max(len(pictures) for pictures in rows.values())
    figure = Figure(figsize=(2.2 + 0.75 * most, 0.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for axis, (name, pictures) in zip(axes, rows.items(), strict=True):
        strip(axis, name, pictures)
    save(figure, path)


def strip(axis: Axes, name: str, pictures: np.ndarray) -> None:
    """Draws pictures (count, height, width) in [0, 1] side by side, their name on the left."""
    framed = [np.pad(picture, 1, constant_values=0.5) for picture in pictures]
    axis.imshow(np.concatenate(framed, axis=1), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)


def scatter(axis: Axes, title: str, codes: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> None:
    """Draws codes (rows, 2), coloured by class."""
    codes, classes = codes[:POINTS], classes[:POINTS]
    colours = matplotlib.colormaps["tab10"]
    for number, name in enumerate(names):
        here = codes[classes == number]
        axis.scatter(here[:, 0], here[:, 1], s=2, color=colours(number), label=name)
    axis.set_title(title, fontsize=10)
    axis.tick_params(labelsize=7)


def filters(path: Path, weights: np.ndarray, columns: int) -> None:
    """Draws weights (units, height, width), each scaled to its own largest; the first two rows or so."""
    count = len(weights) // columns * columns
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True).clip(1e-12)
    scaled = (weights / largest)[:count] / 2 + 0.5
    framed = np.stack([np.pad(unit, 1, constant_values=1.0) for unit in scaled])
    sheet = framed.reshape(-1, columns, *framed.shape[1:]).transpose(0, 2, 1, 3)
    sheet = sheet.reshape(sheet.shape[0] * sheet.shape[1], -1)
    figure = Figure(figsize=(8, 8 * sheet.shape[0] / sheet.shape[1]))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_axis_off()
    save(figure, path)
