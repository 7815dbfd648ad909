"""Folders of images: which rows and classes they give, and what is refused with its file's name."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stackae.config import DataConfig
from stackae.data.files.images import read_images
from stackae.data.read import Source, read_source
from stackae.errors import DataError

RNG = np.random.default_rng(0)


def write(path: Path, pixels: np.ndarray) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def grey(height: int = 4, width: int = 6) -> np.ndarray:
    return RNG.integers(0, 256, (height, width), dtype=np.uint8)


def rgb(height: int = 4, width: int = 6) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(folder: Path, **words: Any) -> Source:
    return read_source(DataConfig.model_validate({"source": str(folder)} | words))


def refused(folder: Path, **words: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def all_rows(source: Source) -> np.ndarray:
    return np.asarray(source.all.take(np.arange(len(source.all))))


def test_folders_are_classes_and_images_beside_them_have_none(tmp_path: Path) -> None:
    files = ["10/a.png", "10/b.BMP", "9/z.png", "loose.png"]
    pixels = {name: write(tmp_path / name, grey()) for name in files}
    (tmp_path / "9" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "c.png", grey(9, 9))
    source = read(tmp_path)
    assert source.classes == ("9", "10")
    assert source.name == tmp_path.name
    assert source.labels.tolist() == [-1, 1, 1, 0]
    expected = np.stack([pixels[name] for name in ("loose.png", "10/a.png", "10/b.BMP", "9/z.png")])
    np.testing.assert_array_equal(all_rows(source), expected)
    ((first, chunk),) = source.rows.chunks()
    np.testing.assert_array_equal(chunk, expected)
    made = source.preprocessing(np.arange(4))
    assert (first, made.shape, made.low, made.high) == (0, (4, 6), 0, 1)
    np.testing.assert_array_equal(made(chunk), (expected / np.float32(255)).astype(np.float32))


def test_coloured_images_have_their_channels_first(tmp_path: Path) -> None:
    pixels = [write(tmp_path / folder / "a.png", rgb()) for folder in ("a", "b")]
    source = read(tmp_path)
    np.testing.assert_array_equal(all_rows(source), np.moveaxis(np.stack(pixels), -1, 1))
    as_grey = read(tmp_path, image_mode="grey")
    luma = np.stack(pixels) @ [0.299, 0.587, 0.114]
    assert np.abs(all_rows(as_grey) - luma).max() < 1
    assert as_grey.fingerprint != source.fingerprint


def test_any_colour_in_the_folder_makes_all_images_rgb(tmp_path: Path) -> None:
    pixels = write(tmp_path / "a" / "a.png", grey())
    write(tmp_path / "b" / "a.png", grey())
    assert all_rows(read(tmp_path)).shape == (2, 4, 6)
    coloured = write(tmp_path / "b" / "z.png", rgb())
    rows = all_rows(read(tmp_path))
    assert rows.shape == (3, 3, 4, 6)
    np.testing.assert_array_equal(rows[0], np.stack([pixels] * 3))
    np.testing.assert_array_equal(rows[2], np.moveaxis(coloured, -1, 0))


def test_colours_of_other_parts_change_nothing(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "more/1.png"):
        write(tmp_path / name, grey())
    write(tmp_path / "test" / "a" / "1.png", rgb())
    write(tmp_path / "more" / "2.png", rgb())
    source = read(tmp_path / "train", test=str(tmp_path / "test"), unlabelled=str(tmp_path / "more"))
    assert all_rows(source).shape == (5, 4, 6)


def test_images_that_are_turned_have_the_size_that_is_shown(tmp_path: Path) -> None:
    upright = write(tmp_path / "a" / "1.png", grey())
    stored = grey(6, 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "b").mkdir()
    Image.fromarray(stored).save(tmp_path / "b" / "1.png", exif=exif)
    np.testing.assert_array_equal(all_rows(read(tmp_path)), np.stack([upright, np.rot90(stored, -1)]))


def test_sizes_that_differ_are_refused_or_made_alike(tmp_path: Path) -> None:
    write(tmp_path / "a" / "a.png", np.full((4, 6), 80, np.uint8))
    write(tmp_path / "b" / "b.png", np.full((5, 7), 90, np.uint8))
    says = refused(tmp_path)
    assert f"{tmp_path}/b/b.png: has 5 by 7 pixels" in says
    assert f"'{tmp_path}/a/a.png' 4 by 6; set data.image_size" in says
    resized = all_rows(read(tmp_path, image_size=(3, 2)))
    np.testing.assert_array_equal(resized, np.full((2, 3, 2), [[[80]], [[90]]]))


def test_test_images_have_the_classes_the_size_and_the_mode_of_the_others(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "test/b/1.png"):
        write(tmp_path / name, grey())
    write(tmp_path / "test/b/2.png", rgb())
    write(tmp_path / "more/3.png", grey())
    words = {"test": str(tmp_path / "test"), "unlabelled": str(tmp_path / "more")}
    source = read(tmp_path / "train", **words)
    assert (source.labels.tolist(), source.extra, len(source.rows)) == ([0, 1, -1, 1, 1], 1, 3)
    assert all_rows(source).shape == (5, 4, 6)
    write(tmp_path / "test/c/4.png", grey())
    says = refused(tmp_path / "train", **words)
    assert f"data.test has the label 'c' ('{tmp_path}/test/c/4.png'), which never occurs" in says
    write(tmp_path / "test/c/4.png", grey(8, 8))
    assert "test/c/4.png: has 8 by 8 pixels (height by width), but those to learn from 4 by 6" in refused(
        tmp_path / "train", **words
    )


def test_the_fingerprint_is_of_content_and_classes_not_of_paths(tmp_path: Path) -> None:
    for root in ("one", "two"):
        for folder in ("a", "b"):
            write(tmp_path / root / folder / "1.png", np.full((4, 6), ord(folder), np.uint8))
    one = read(tmp_path / "one")
    assert read(tmp_path / "two").fingerprint == one.fingerprint
    assert read(tmp_path / "two", image_size=(4, 4)).fingerprint != one.fingerprint
    write(tmp_path / "two" / "b" / "2.png", grey())
    assert read(tmp_path / "two").fingerprint != one.fingerprint


def test_a_file_that_does_not_decode_is_named(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "1.png", rgb(64, 64))
    (tmp_path / "a" / "2.jpg").write_text("no image")
    assert f"{tmp_path}/a/2.jpg: is not an image that can be decoded" in refused(tmp_path)
    (tmp_path / "a" / "2.jpg").unlink()
    # Its header is whole, so that only decoding shows it.
    whole = (tmp_path / "b" / "1.png").read_bytes()
    (tmp_path / "b" / "1.png").write_bytes(whole[: len(whole) // 2])
    source = read(tmp_path)
    with pytest.raises(DataError, match=r"b/1\.png: is not an image that can be decoded \("):
        list(source.rows.chunks())


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int, tmp_path: Path) -> None:
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    assert "a.png: has more than 89,478,485 pixels; make it smaller" in refused(tmp_path)


def test_conversions_are_told_once_for_all_parts(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png"):
        write(tmp_path / name, grey())
    assert read(tmp_path / "train").remarks == ()
    write(tmp_path / "train" / "b" / "2.png", np.full((4, 6), 40_000, np.uint16))
    write(tmp_path / "test" / "b" / "1.png", np.full((4, 6), 257, np.uint16))
    Image.fromarray(np.zeros((4, 6, 4), np.uint8), "CMYK").save(tmp_path / "test" / "b" / "2.tif")
    source = read(tmp_path / "train", test=str(tmp_path / "test"))
    assert source.remarks == (
        "images: 2 of 16 bits scaled to 8 (as .npy they keep all), 1 of cmyk converted to grey",
    )
    assert all_rows(source)[2:4, 0, 0].tolist() == [round(40_000 / 257), 1]


@pytest.mark.parametrize("how", ["plain", "turned", "transparent", "deep"])
def test_the_fingerprint_moves_only_where_images_are_read_otherwise_than_before(
    how: str, tmp_path: Path
) -> None:
    path = tmp_path / "1.png"
    image = Image.fromarray(grey().astype(np.uint16) if how == "deep" else grey())
    exif = Image.Exif()
    exif[0x0112] = 3 if how == "turned" else 1
    (image.convert("LA") if how == "transparent" else image).save(path, exif=exif)
    before = hashlib.sha256(hashlib.sha256(path.read_bytes()).digest())
    before.update(b"(4, 6) grey")
    assert (read_images(tmp_path, None, None).digest == before.hexdigest()) == (how == "plain")


def test_only_known_formats_are_opened_whatever_the_name(tmp_path: Path) -> None:
    # Pillow would hand PostScript to another program.
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n")
    assert "a.png: is not an image that can be decoded" in refused(tmp_path)


def test_a_folder_too_high_is_told_from_classes(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "test/a/1.png"):
        write(tmp_path / name, grey())
    says = refused(tmp_path)
    assert "the images in 'test/a' lie one folder too deep" in says
    assert f"as '{tmp_path}/test'" in says
