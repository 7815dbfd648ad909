"""Guesses the settings for a folder of images that nobody has described."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from stackae.data.files.images import read_images
from stackae.data.forms.form import Guess

LARGEST_SIDE = 64
"""Pixels of an image's longer side, beyond which images are made smaller."""


def guess(folder: Path, settings: dict[str, Any]) -> Guess:
    """Take `train` and `test` within a folder for its parts, and the commonest size for that of all."""
    why: dict[str, str] = {}
    if any((folder / "train").glob("*/")):
        settings["source"] = str(folder / "train")
        if any((folder / "test").glob("*/")):
            settings["test"] = str(folder / "test")
        folder = folder / "train"
    # Any size will do to find and check the files.
    sizes = Counter(read_images(folder, (1, 1), None).sizes)
    height, width = sizes.most_common(1)[0][0]
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    if len(sizes) > 1 or scale < 1.0:
        settings["image_size"] = [max(1, round(height * scale)), max(1, round(width * scale))]
        why["image_size"] = (
            f"they have {len(sizes):,} sizes" if len(sizes) > 1 else f"they have {height} by {width} pixels"
        ) + "; to which all are resized"
    return Guess(settings, why)
