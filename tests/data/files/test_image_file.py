"""Image files: what is shown of each is what a viewer shows, whatever way it is stored in."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stackae.data.files.image_file import ImageFile, Mode
from stackae.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 8), dtype=np.uint8)
RGB = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)
DEEP = np.linspace(0, 65535, 40).astype(np.uint16).reshape(5, 8)

# What a viewer shows of stored rows, by the EXIF orientation (CIPA DC-008, figure 5).
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def save(path: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return path


def shown(path: Path, mode: Mode = "grey") -> np.ndarray:
    """Pixels as (height, width) or (height, width, 3)."""
    file = ImageFile(path)
    pixels = file.pixels(file.size, mode)
    return pixels if mode == "grey" else np.moveaxis(pixels, 0, -1)


def orientation(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def cut(path: Path) -> Path:
    """The file without its end, so that its pixels cannot be decoded."""
    path.write_bytes(path.read_bytes()[:-30])
    return path


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize("number", UPRIGHT)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_images_are_turned_upright_as_exif_says(number: int, name: str, tmp_path: Path) -> None:
    path = save(tmp_path / name, RGB, exif=orientation(number), **({"lossless": True} if "w" in name else {}))
    expected = UPRIGHT[number](RGB)
    assert ImageFile(path).size == expected.shape[:2]
    np.testing.assert_array_equal(shown(path, "rgb"), expected)
    assert ImageFile(path).kind.turned == (number > 1)


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16) * 12, np.arange(24) * 2).astype(np.uint8)
    for number, turn in UPRIGHT.items():
        path = save(tmp_path / "a.jpg", smooth, exif=orientation(number), quality=100)
        assert np.abs(shown(path) - turn(smooth).astype(int)).max() <= 2


def test_orientation_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    content = path.read_bytes()
    exif = orientation(6).tobytes().removeprefix(b"Exif\0\0")
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:end] + png_chunk(b"eXIf", exif) + content[end:])
    assert ImageFile(path).size == (8, 5)
    np.testing.assert_array_equal(shown(path), np.rot90(GREY, -1))


@pytest.mark.parametrize("number", [0, 9, 65535])
def test_orientations_that_do_not_exist_turn_nothing(number: int, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY, exif=orientation(number))
    np.testing.assert_array_equal(shown(path), GREY)
    assert not ImageFile(path).kind.turned


def test_exif_that_is_damaged_turns_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    np.testing.assert_array_equal(shown(path), GREY)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_transparency_lies_on_white(name: str, tmp_path: Path) -> None:
    alpha = np.tile(np.array([0, 64, 128, 255], np.uint8), (5, 2))
    image = np.dstack([RGB, alpha])
    options = {"lossless": True, "exact": True} if name == "a.webp" else {}
    path = save(tmp_path / name, Image.fromarray(image, "RGBA"), **options)
    opaque = alpha[:, :, None] / 255
    assert np.abs(shown(path, "rgb") - (opaque * RGB + (1 - opaque) * 255)).max() <= 1
    assert ImageFile(path).kind.transparent


def test_transparent_grey_lies_on_white(tmp_path: Path) -> None:
    alpha = np.tile(np.array([0, 64, 128, 255], np.uint8), (5, 2))
    path = save(tmp_path / "a.png", Image.fromarray(np.dstack([GREY, alpha]), "LA"))
    assert np.abs(shown(path) - (alpha / 255 * GREY + 255 - alpha.astype(float))).max() <= 1
    assert (str(ImageFile(path).kind), ImageFile(path).kind.coloured) == ("grey, transparent", False)


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_the_transparent_colour_of_a_palette_is_white(name: str, tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(40, dtype=np.uint8).reshape(5, 8) % 4, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    path = save(tmp_path / name, image, transparency=0)
    colours = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    np.testing.assert_array_equal(shown(path, "rgb"), colours[np.arange(40).reshape(5, 8) % 4])
    assert str(ImageFile(path).kind) == "palette, transparent"


@pytest.mark.parametrize("bits", [8, 16])
def test_the_transparent_value_of_grey_is_white(bits: int, tmp_path: Path) -> None:
    stored = GREY if bits == 8 else GREY.astype(np.uint16) * 257
    path = save(tmp_path / "a.png", stored, transparency=int(stored[2, 3]))
    np.testing.assert_array_equal(shown(path), np.where(GREY[2, 3] == GREY, 255, GREY))


def test_turned_and_transparent_at_once(tmp_path: Path) -> None:
    alpha = np.where(np.arange(40).reshape(5, 8) < 20, 0, 255).astype(np.uint8)
    path = save(tmp_path / "a.png", Image.fromarray(np.dstack([RGB, alpha]), "RGBA"), exif=orientation(8))
    expected = np.rot90(np.where(alpha[:, :, None] == 0, 255, RGB))
    np.testing.assert_array_equal(shown(path, "rgb"), expected)
    assert ImageFile(path).kind.use("rgb") == "turned upright, laid on white"


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.tif", {}), ("a.tif", {"compression": "tiff_lzw"}), ("a.pgm", {})],
)
def test_grey_of_16_bits_is_divided_by_257(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = save(tmp_path / name, DEEP, **options)
    np.testing.assert_array_equal(shown(path), np.rint(DEEP / 257))
    kind = ImageFile(path).kind
    assert (str(kind), kind.use("grey")) == ("grey, 16 bits", "scaled to 8 bits")


def test_big_endian_tiff_of_16_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.frombytes("I;16B", (8, 5), DEEP.astype(">u2").tobytes()))
    np.testing.assert_array_equal(shown(path), np.rint(DEEP / 257))


def test_colours_of_16_bits_keep_the_upper_ones(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + (RGB[row].astype(">u2") * 256 + 17).astype(">u2").tobytes() for row in range(5))
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 5, 16, 2, 0, 0, 0))
    key = png_chunk(b"tRNS", (RGB[1, 1].astype(">u2") * 256 + 17).astype(">u2").tobytes())
    pixels = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels)
    np.testing.assert_array_equal(shown(path, "rgb"), RGB)
    assert str(ImageFile(path).kind) == "rgb, 16 bits"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + key + pixels)
    expected = RGB.copy()
    expected[1, 1] = 255
    np.testing.assert_array_equal(shown(path, "rgb"), expected)


@pytest.mark.parametrize(
    ("text", "mode"), [("P2 2 1 1000\n0 1000\n", "grey"), ("P3 1 1 1000\n0 0 1000\n", "rgb")]
)
def test_pnm_of_other_depths_are_scaled(text: str, mode: Mode, tmp_path: Path) -> None:
    path = tmp_path / "a.ppm"
    path.write_text(text)
    assert str(ImageFile(path).kind) == f"{mode}, 16 bits"
    assert shown(path, mode).ravel().tolist() == ([0, 255] if mode == "grey" else [0, 0, 255])


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_is_converted(name: str, tmp_path: Path) -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[:, :, 0] = 255  # cyan
    path = save(tmp_path / name, Image.fromarray(ink, "CMYK"))
    assert np.abs(shown(path, "rgb") - np.array([0.0, 255, 255])).max() <= 2
    assert (ImageFile(path).kind.coloured, ImageFile(path).kind.use("rgb")) == (True, "converted to rgb")


@pytest.mark.parametrize(
    ("image", "coloured"),
    [
        (Image.fromarray(GREY), False),
        (Image.fromarray(GREY).convert("1"), False),
        (Image.fromarray(GREY).convert("LA"), False),
        (Image.fromarray(DEEP), False),
        (Image.fromarray(GREY).quantize(64), False),
        (Image.fromarray(RGB), True),
        (Image.fromarray(RGB).convert("RGBA"), True),
        (Image.fromarray(RGB).quantize(16), True),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_the_header_tells_whether_there_are_colours(
    image: Image.Image, coloured: bool, name: str, tmp_path: Path
) -> None:
    path = save(tmp_path / name, image)
    if name == "a.png":  # its header stands first
        cut(path)
    assert ImageFile(path).kind.coloured == coloured


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_of_other_depths_are_refused(mode: str, tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", Image.fromarray(GREY).convert(mode))
    with pytest.raises(DataError, match=r"a\.tif: has values that are not of 8 or 16 bits .* as \.npy"):
        ImageFile(path)


def test_a_palette_that_is_not_there_is_damage(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(GREY).quantize(16).save(buffer, "PNG")
    content = buffer.getvalue()
    at = content.index(b"PLTE") - 4
    size = struct.unpack(">I", content[at : at + 4])[0] + 12
    path = tmp_path / "a.png"
    path.write_bytes(content[:at] + content[at + size :])
    with pytest.raises(DataError, match=r"a\.png: is not an image that can be decoded"):
        shown(path)
