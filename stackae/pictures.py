"""Pictures of rows and of weights, as arrays."""

from __future__ import annotations

import math

import numpy as np


def grid(images: np.ndarray, *, scale: float, columns: int | None = None) -> np.ndarray:
    """Draw images (rows, height, width) or (rows, channels, height, width) side by side, as bytes.

    Grey gives (height, width), three channels (height, width, 3); a thin line separates the images. `scale`
    is the value of white.
    """
    if images.ndim == 3:
        images = images[:, None]
    count, channels, height, width = images.shape
    across = columns or math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    sheet = np.full((down * (height + 1) + 1, across * (width + 1) + 1, channels), 0.5)
    for number, image in enumerate(images):
        top, left = (number // across) * (height + 1) + 1, (number % across) * (width + 1) + 1
        sheet[top : top + height, left : left + width] = np.moveaxis(image / scale, 0, -1)
    pixels: np.ndarray = (sheet.clip(0, 1) * 255).round().astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def filter_images(weights: np.ndarray, shape: tuple[int, ...], most: int = 64) -> np.ndarray | None:
    """Scale a layer's weights to pictures in [0, 1], each by itself; return None where they are no pictures.

    Dense weights (units, features) of inputs of `shape`, or kernels (channels, 1 or 3, height, width). At
    `most` so many, those of the largest norm first; 0.5 is a weight of zero.
    """
    if weights.ndim == 2 and is_image(shape) and weights.shape[1] == math.prod(shape):
        weights = weights.reshape(len(weights), *shape)
    elif weights.ndim == 4 and weights.shape[1] == 1:
        weights = weights[:, 0]
    elif not (weights.ndim == 4 and weights.shape[1] == 3):
        return None
    norms = np.square(weights.reshape(len(weights), -1)).sum(1)
    strongest = weights[np.argsort(-norms, kind="stable")[:most]]
    highest = np.abs(strongest.reshape(len(strongest), -1)).max(1).reshape(-1, *[1] * (strongest.ndim - 1))
    scaled: np.ndarray = 0.5 + 0.5 * strongest / np.maximum(highest, 1e-12)
    return scaled


def is_image(shape: tuple[int, ...]) -> bool:
    """Tell whether rows of this shape are pictures: (height, width), or with 1 or 3 channels in front."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3))
