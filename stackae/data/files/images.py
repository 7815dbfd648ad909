"""Folders of images, one folder per class: listed, checked and hashed, and decoded a chunk at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stackae.data.files.image_file import ImageFile, ImageKind, Mode, Size
from stackae.data.files.paths import IMAGES
from stackae.data.rows import chunk_rows
from stackae.errors import DataError


class ImageRows:
    """Images (height, width), or (3, height, width) if they are coloured, as uint8; decoded when asked for.

    Images of another size are resized. `kinds` says of each how its file stores it.
    """

    def __init__(self, files: Sequence[Path], kinds: Sequence[ImageKind], size: Size, mode: Mode) -> None:
        self.files, self.kinds, self.size, self.mode = tuple(files), tuple(kinds), size, mode

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
            pixels[row] = ImageFile(file).pixels(self.size, self.mode)
        return pixels


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a folder, the names of their classes (None where an image has none), and their digest."""

    rows: ImageRows
    labels: np.ndarray
    sizes: tuple[Size, ...]
    """The size of each as it is shown."""
    digest: str


def read_images(
    folder: Path, resize: Size | None, mode: Mode | None, *, like: ImageRows | None = None
) -> Images:
    """Read the images in `folder`, without a class, and in the folders in it, whose names are their classes.

    All get the size `resize` or, without it, must be of one size; grey or coloured as `mode` says, else
    coloured if any of them is. With `like` both are those of other images. Every file is read, but none
    decoded. Raises `DataError` where there is no image, or a file is damaged, far too large, or of another
    size.
    """
    files, labels = _list_images(folder)
    digest = hashlib.sha256()
    size = like.size if like is not None else resize
    first = "those to learn from" if like is not None else f"'{files[0]}'"
    sizes: list[Size] = []
    kinds: list[ImageKind] = []
    known: dict[ImageKind, ImageKind] = {}
    for path in files:
        file = ImageFile(path)
        height, width = file.size
        size = size or file.size
        if resize is None and file.size != size:
            raise DataError(
                f"{path}: has {height} by {width} pixels (height by width), but {first} "
                f"{size[0]} by {size[1]}; set data.image_size to resize all"
            )
        sizes.append(file.size)
        kinds.append(known.setdefault(file.kind, file.kind))
        digest.update(hashlib.sha256(file.content).digest())
    assert size is not None
    coloured = any(kind.coloured for kind in known)
    mode = like.mode if like is not None else mode or ("rgb" if coloured else "grey")
    digest.update(f"{size} {mode}".encode())
    if not all(kind.as_stored for kind in known):
        digest.update(b"as viewers show them")  # others keep the fingerprint that they always had
    return Images(ImageRows(files, kinds, size, mode), labels, tuple(sizes), digest.hexdigest())


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
