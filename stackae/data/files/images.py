"""Folders of images, one folder per class: listed, checked and hashed, and decoded a chunk at a time."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stackae.data.files.paths import IMAGES
from stackae.data.rows import chunk_rows
from stackae.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Mode = Literal["grey", "rgb"]
Size = tuple[int, int]
"""Height and width."""


class ImageRows:
    """Images (height, width), or (3, height, width) if they are coloured, as uint8; decoded when asked for.

    Images of another size are resized.
    """

    def __init__(self, files: Sequence[Path], size: Size, mode: Mode) -> None:
        self.files, self.size, self.mode = tuple(files), size, mode

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.size if self.mode == "grey" else (3, *self.size)

    def __len__(self) -> int:
        return len(self.files)

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield all images in their order: the number of a chunk's first image, and the chunk, decoded."""
        size = chunk_rows(self.shape)
        for start in range(0, len(self), size):
            yield start, self._read(self.files[start : start + size])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return images by their numbers, decoded."""
        return self._read([self.files[row] for row in rows])

    def _read(self, files: Sequence[Path]) -> np.ndarray:
        pixels = np.empty((len(files), *self.shape), np.uint8)
        for row, file in enumerate(files):
            pixels[row] = self._pixels(file, _open(file)[0])
        return pixels

    def _pixels(self, file: Path, image: Image) -> np.ndarray:
        height, width = self.size
        try:
            image = image.convert("L" if self.mode == "grey" else "RGB")
            if image.size != (width, height):
                from PIL.Image import Resampling

                image = image.resize((width, height), Resampling.BILINEAR)
            pixels = np.asarray(image)
        except Exception as fault:  # whatever a damaged file makes the decoder raise
            raise DataError(_damaged(file, fault)) from None
        return pixels if self.mode == "grey" else np.moveaxis(pixels, -1, 0)


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a folder, the names of their classes (None where an image has none), and their digest."""

    rows: ImageRows
    labels: np.ndarray
    digest: str


def read_images(
    folder: Path, resize: Size | None, mode: Mode | None, *, like: ImageRows | None = None
) -> Images:
    """Read the images in `folder`, without a class, and in the folders in it, whose names are their classes.

    All get the size `resize` or, without it, must be of one size; grey or coloured as `mode` says, or as the
    first image. With `like` both are those of other images. Every file is read, but none decoded. Raises
    `DataError` where there is no image, or a file is damaged, far too large, or of another size.
    """
    files, labels = _list_images(folder)
    digest = hashlib.sha256()
    size, first = (like.size, "those to learn from") if like is not None else (resize, "")
    mode = like.mode if like is not None else mode
    for file in files:
        image, content = _open(file)
        mode = mode or ("grey" if image.mode in ("1", "L", "LA") else "rgb")
        image_size = (image.height, image.width)
        if size is None:
            size, first = image_size, f"'{file}'"
        if resize is None and image_size != size:
            raise DataError(
                f"{file}: has {image_size[0]} by {image_size[1]} pixels (height by width), but {first} "
                f"{size[0]} by {size[1]}; set data.image_size to resize all"
            )
        digest.update(hashlib.sha256(content).digest())
    assert size is not None
    assert mode is not None
    digest.update(f"{size} {mode}".encode())
    return Images(ImageRows(files, size, mode), labels, digest.hexdigest())


def _list_images(folder: Path) -> tuple[list[Path], np.ndarray]:
    """List the folder's image files in the order of their names, and the class of each, or None."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    images: list[tuple[Path, str | None]] = [(file, None) for file in _images_in(folder)]
    for inner in folders:
        inner_files = _images_in(inner)
        deeper = next((path for path in sorted(inner.iterdir()) if path.is_dir() and _images_in(path)), None)
        if deeper is not None:
            raise DataError(
                f"{folder}: the images in '{deeper.relative_to(folder)}' lie one folder too deep; "
                f"name the folder of which the folders are classes, as '{inner}'"
            )
        images += [(file, inner.name) for file in inner_files]
    if not images:
        raise DataError(
            f"data: the folder '{folder}' has no images, neither in it nor in folders in it, that end in "
            f"{', '.join(IMAGES)}; name a folder of images, or a file: a table, .npz or .npy"
        )
    labels = np.empty(len(images), object)
    labels[:] = [label for _, label in images]
    return [file for file, _ in images], labels


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGES and not path.name.startswith(".") and path.is_file()
    )


def _open(file: Path) -> tuple[Image, bytes]:
    """Open an image, its pixels not yet read; return it and its file. DataError if damaged or too large."""
    from PIL import Image

    try:
        content = file.read_bytes()
        with warnings.catch_warnings():
            # Pillow warns of images that may be bombs, and refuses those that are twice as large.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=sorted(set(IMAGES.values())))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise DataError(f"{file}: has more than {limit:,} pixels; make it smaller") from None
    except Exception as fault:  # whatever a damaged file makes the reader raise
        raise DataError(_damaged(file, fault)) from None
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{file}: has grey values of more than 8 bits; save it with 8 bits, or as .npy")
    return image, content


def _damaged(file: Path, fault: Exception) -> str:
    cause = str(fault).partition("<_io")[0].strip() or type(fault).__name__
    return f"{file}: is not an image that can be decoded ({cause}); replace it, or leave it out"
