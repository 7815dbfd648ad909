"""One image file: what its header says, without decoding it, and its pixels as viewers show them."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stackae.data.files.paths import IMAGES
from stackae.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile as PillowFile

Mode = Literal["grey", "rgb"]
Size = tuple[int, int]
"""Height and width."""

_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""What turns an image upright, by its EXIF orientation; from 5 on height and width change places."""
_COLOURS = {
    **dict.fromkeys(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"), "grey"),
    **dict.fromkeys(("RGB", "RGBA", "RGBa", "RGBX"), "rgb"),
    **dict.fromkeys(("P", "PA"), "palette"),
}
"""The names of Pillow's modes; others are called as Pillow calls them."""


@dataclass(frozen=True)
class ImageKind:
    """How a file stores an image."""

    colours: str
    """`grey`, `rgb`, `palette`, `cmyk`, or another name of Pillow's."""
    coloured: bool
    """False also for a palette of greys alone."""
    bits: Literal[8, 16]
    """Bits of a value, 8 for fewer ones too."""
    transparent: bool
    turned: bool
    """Whether its EXIF orientation says that it is not upright."""

    def __str__(self) -> str:
        bits = "16 bits" if self.bits == 16 else ""
        transparent, turned = "transparent" * self.transparent, "turned" * self.turned
        return ", ".join(filter(None, (self.colours, bits, transparent, turned)))

    @property
    def as_stored(self) -> bool:
        """Tell whether its values become pixels of its mode without being turned, laid on white or scaled."""
        return not (self.transparent or self.turned or self.bits == 16)

    def use(self, mode: Mode) -> str:
        """Say what is done to it to make it grey or rgb."""
        steps = {
            "scaled to 8 bits": self.bits == 16,
            "turned upright": self.turned,
            "laid on white": self.transparent,
            f"converted to {mode}": self.colours != mode,
        }
        return ", ".join(step for step, done in steps.items() if done) or "as it is"


class ImageFile:
    """An image file that is open, its content in memory and its pixels not decoded.

    Raises `DataError` where it is damaged, far too large, or has values of neither 8 nor 16 bits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._image, self.content = _open(path)
        orientation = _orientation(self._image, self.content)
        # Pillow itself turns TIFF upright when it decodes them, and tells their size as it will be.
        self._turn = 1 if self._image.format == "TIFF" else orientation
        try:
            self.kind = _kind(path, self._image, turned=orientation in _TURNS)
        except AssertionError:  # Pillow's, of a palette that should be there
            raise DataError(_damaged(path, ValueError("it has no palette"))) from None

    @property
    def size(self) -> Size:
        """Height and width as it is shown."""
        width, height = self._image.size
        return (width, height) if self._turn >= 5 else (height, width)

    def pixels(self, size: Size, mode: Mode) -> np.ndarray:
        """Decode it, upright, on white, and resized: (height, width), or (3, height, width), as uint8.

        Values of 16 bits are divided by 257, so that white stays white, and rounded. Raises `DataError` where
        the file is damaged.
        """
        from PIL.Image import Resampling

        try:
            image = self._shown().convert("L" if mode == "grey" else "RGB")
            if image.size != (size[1], size[0]):
                image = image.resize((size[1], size[0]), Resampling.BILINEAR)
            pixels = np.asarray(image)
        except Exception as fault:  # whatever a damaged file makes the decoder raise
            raise DataError(_damaged(self.path, fault)) from None
        return pixels if mode == "grey" else np.moveaxis(pixels, -1, 0)

    def _shown(self) -> Image:
        """Return the image as a viewer shows it: of 8 bits, upright, and without transparency."""
        from PIL import Image

        image: Image.Image = self._image
        if self.kind.bits == 16:
            image = _with_8_bits(image)
        if self._turn in _TURNS:
            image = image.transpose(Image.Transpose[_TURNS[self._turn]])
        if self.kind.transparent:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        return image


def _open(path: Path) -> tuple[PillowFile, bytes]:
    from PIL import Image

    try:
        content = path.read_bytes()
        with warnings.catch_warnings():
            # Pillow warns of images that may be bombs, and refuses those that are twice as large.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(content), formats=sorted(set(IMAGES.values()))), content
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise DataError(f"{path}: has more than {limit:,} pixels; make it smaller") from None
    except Exception as fault:  # whatever a damaged file makes the reader raise
        raise DataError(_damaged(path, fault)) from None


def _kind(path: Path, image: PillowFile, *, turned: bool) -> ImageKind:
    arguments = image.tile[0][3] if image.tile else ""
    # What Pillow decodes the values from, such as `RGB;16B`; of a .ppm the greatest value follows.
    stored, *rest = map(str, arguments) if isinstance(arguments, tuple) else (str(arguments),)
    deep_ppm = image.format == "PPM" and (image.mode == "I" or any(int(greatest) > 255 for greatest in rest))
    if image.mode == "F" or stored == "I;12" or (image.mode == "I" and not deep_ppm):
        raise DataError(
            f"{path}: has values that are not of 8 or 16 bits without a sign; save it with such, or as .npy"
        )
    # Grey of 16 bits with transparency becomes RGBA in Pillow.
    colours = "grey" if stored.startswith("LA;") else _COLOURS.get(image.mode, image.mode.lower())
    return ImageKind(
        colours,
        colours != "grey" and not (colours == "palette" and _is_grey_palette(image)),
        16 if ";16" in stored or deep_ppm else 8,
        image.has_transparency_data,
        turned,
    )


def _is_grey_palette(image: Image) -> bool:
    assert image.palette is not None
    layout, values = image.palette.rawmode or image.palette.mode, bytes(image.palette.palette)
    size = len(values) // 3
    if layout == "RGB":
        return values[0 : 3 * size : 3] == values[1 : 3 * size : 3] == values[2 : 3 * size : 3]
    if layout == "RGB;L":  # all reds, then all greens, then all blues
        return values[:size] == values[size : 2 * size] == values[2 * size : 3 * size]
    return False


def _orientation(image: Image, content: bytes) -> int:
    """Return the EXIF orientation, 1 where there is none, or none that is defined."""
    from PIL import ExifTags
    from PIL.Image import Image as AnyImage

    # Pillow would decode a .png for it, in case that it stands behind the pixels, where few have it.
    behind = image.format == "PNG" and "exif" not in image.info and b"eXIf" in content
    with warnings.catch_warnings(action="ignore"):  # Pillow warns of EXIF that is damaged
        try:
            exif = image.getexif() if behind else AnyImage.getexif(image)
            orientation = exif.get(ExifTags.Base.Orientation, 1)
        except (
            Exception
        ):  # whatever damaged EXIF makes the reader raise; viewers show such images as they are
            return 1
    return orientation if orientation in _TURNS else 1


def _with_8_bits(image: Image) -> Image:
    """Scale values of 16 bits to 8, so that black and white stay so; Pillow has done so with colours."""
    from PIL import Image as images

    transparent = image.info.get("transparency")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.uint32)
        image = images.fromarray(((values + 128) // 257).astype(np.uint8))
        transparent = None if transparent is None else (transparent + 128) // 257
    elif transparent is not None:
        transparent = tuple(value >> 8 for value in transparent)
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


def _damaged(path: Path, fault: Exception) -> str:
    cause = str(fault).partition("<_io")[0].strip() or type(fault).__name__
    return f"{path}: is not an image that can be decoded ({cause}); replace it, or leave it out"
