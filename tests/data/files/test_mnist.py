"""IDX files: written here byte by byte, read back, and refused where they are damaged."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from stackae.data.files import mnist
from stackae.data.files.mnist import IDX_SETS, read_idx, read_idx_set
from stackae.errors import DataError

IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
LABELS = np.array([0, 9, 3, 3, 1], np.uint8)


def packed(array: np.ndarray) -> bytes:
    """The format's definition: two zero bytes, the type, the rank, big-endian sizes, then the values."""
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_set(
    folder: Path, *, gz: bool = True, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            path = folder / (f"{name}.gz" if gz else name)
            path.write_bytes(gzip.compress(packed(array)) if gz else packed(array))


def refused(path: Path, ndim: int = 3) -> str:
    with pytest.raises(DataError) as caught:
        read_idx(path, ndim)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    return message


@pytest.mark.parametrize("name", ["plain", "named.gz"])
@pytest.mark.parametrize("zipped", [False, True])
def test_reads_plain_and_gzipped_files_whatever_their_name(tmp_path: Path, name: str, zipped: bool) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(packed(IMAGES)) if zipped else packed(IMAGES))
    images = read_idx(path, 3)
    np.testing.assert_array_equal(images, IMAGES)
    assert images.dtype == np.uint8
    assert images.flags.writeable, "torch warns about arrays it may not write to"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not an IDX file: starts with ''"),
        (b"<html>Not found</html>", "not an IDX file: starts with '3c68746d', '00000803' expected"),
        (b"\0\0\x0d\x03" + packed(IMAGES)[4:], "IDX type 0x0d; only unsigned bytes"),
        (packed(LABELS), "1 dimensions where 3 are expected"),
        (packed(IMAGES)[:9], "truncated: ends within the header"),
        (packed(IMAGES)[:-1], "truncated: header promises 30 bytes of data, 29 found; download it again"),
        (packed(IMAGES)[:16], "truncated: header promises 30 bytes of data, 0 found"),
        (packed(IMAGES) + b"\0", "trailing bytes: more than the 30 bytes"),
        (packed(IMAGES[:0]), "empty: the header promises 0 x 3 x 2 values"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"few", "bytes of data, 3 found"),
    ],
)
def test_refuses_damaged_files(tmp_path: Path, content: bytes, says: str, zipped: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert says in refused(path)


def test_names_what_a_cut_gzip_file_held(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 28, 28), np.uint8)  # does not compress
    whole = gzip.compress(packed(noise))
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[: len(whole) // 2])
    message = refused(path)
    assert "truncated: header promises 78,400 bytes of data, " in message
    found = int(message.split("of data, ")[1].split(" found")[0].replace(",", ""))
    assert 35_000 < found < 45_000
    path.write_bytes(whole[:-4])
    assert "ends before its checksum" in refused(path)


def test_refuses_a_gzip_file_whose_content_was_altered(tmp_path: Path) -> None:
    whole = bytearray(
        gzip.compress(packed(IMAGES), compresslevel=0)
    )  # stored as it is: a flipped bit is a pixel
    whole[-12] ^= 1
    path = tmp_path / "flipped.gz"
    path.write_bytes(whole)
    assert "corrupt gzip" in refused(path)
    path.write_bytes(whole[:10] + b"\xff" * 40)
    assert "corrupt gzip" in refused(path)


def test_decompresses_no_more_than_the_header_promises(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(packed(LABELS) + bytes(200 << 20), compresslevel=1))
    tracemalloc.start()
    message = refused(path, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "trailing bytes" in message
    assert peak < 5 << 20


def test_a_folder_in_the_files_place_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", "MNIST/raw"),
        ("mnist", "mnist"),
        ("mnist", "."),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("fashion_mnist", "fashion_mnist"),
    ],
)
def test_finds_the_files_below_the_root(tmp_path: Path, name: str, folder: str, gz: bool) -> None:
    write_set(tmp_path / folder, gz=gz)
    train, test = read_idx_set(name, str(tmp_path))
    for part in (train, test):
        np.testing.assert_array_equal(part.x, IMAGES)
        np.testing.assert_array_equal(part.y, LABELS)
        assert part.y.dtype == np.int64


def test_the_root_given_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "given" / "mnist")
    write_set(tmp_path / "environment" / "mnist", images=IMAGES + 1)
    monkeypatch.setenv("STACKAE_DATA", str(tmp_path / "environment"))
    assert read_idx_set("mnist", str(tmp_path / "given"))[0].x[0, 0, 0] == 0
    assert read_idx_set("mnist", None)[0].x[0, 0, 0] == 1


def test_names_a_root_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"data\.root: there is no folder '.*nowhere'"):
        read_idx_set("mnist", nowhere)
    monkeypatch.setenv("STACKAE_DATA", nowhere)
    with pytest.raises(DataError, match=r"STACKAE_DATA: there is no folder '.*nowhere'"):
        read_idx_set("mnist", None)


def test_refuses_parts_that_do_not_fit_together(tmp_path: Path) -> None:
    write_set(tmp_path / "counts" / "mnist", labels=LABELS[:4])
    with pytest.raises(DataError, match=r"5 images, but train-labels-idx1-ubyte\.gz has 4 labels"):
        read_idx_set("mnist", str(tmp_path / "counts"))
    write_set(tmp_path / "labels" / "mnist", labels=np.array([1, 2, 10, 3, 11], np.uint8))
    with pytest.raises(DataError, match="label 10 in row 2, but mnist has classes 0 to 9"):
        read_idx_set("mnist", str(tmp_path / "labels"))
    write_set(tmp_path / "sizes" / "mnist")
    (tmp_path / "sizes/mnist/t10k-images-idx3-ubyte.gz").write_bytes(packed(IMAGES[:, :2]))
    with pytest.raises(DataError, match=r"images of 2 x 2, but train-images-idx3-ubyte\.gz has 3 x 2"):
        read_idx_set("mnist", str(tmp_path / "sizes"))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for MNIST's mirror, served on this machine."""
    folder = tmp_path / "mirror"
    write_set(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    sums = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    served = replace(IDX_SETS["mnist"], mirror=f"http://127.0.0.1:{server.server_port}/", sha256=sums)
    monkeypatch.setitem(mnist.IDX_SETS, "mnist", served)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_downloads_what_is_missing_once(tmp_path: Path, mirror: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    train, _ = read_idx_set("mnist", str(root))
    np.testing.assert_array_equal(train.x, IMAGES)
    assert sorted(path.name for path in (root / "MNIST/raw").iterdir()) == sorted(
        p.name for p in mirror.iterdir()
    )
    for path in mirror.iterdir():
        path.unlink()
    read_idx_set("mnist", str(root))


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_a_failed_download_is_one_line_and_leaves_no_file(tmp_path: Path, mirror: Path, harm: str) -> None:
    file = mirror / "t10k-images-idx3-ubyte.gz"
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(gzip.compress(packed(IMAGES + 1)))
    root = tmp_path / "root"
    root.mkdir()
    with pytest.raises(DataError) as caught:
        read_idx_set("mnist", str(root))
    message = str(caught.value)
    assert "\n" not in message
    for part in ("'t10k-images-idx3-ubyte.gz'", str(root / "MNIST/raw"), "data.root", "STACKAE_DATA"):
        assert part in message
    assert not (root / "MNIST/raw/t10k-images-idx3-ubyte.gz").exists()


def test_a_mirror_that_does_not_answer_is_one_line(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = replace(
        mnist.IDX_SETS["mnist"], mirror="http://127.0.0.1:9/"
    )  # the discard port: nothing listens
    monkeypatch.setitem(mnist.IDX_SETS, "mnist", served)
    with pytest.raises(DataError, match=r"could not be downloaded \(ConnectionError"):
        read_idx_set("mnist", str(tmp_path))


# the counts of the published labels
MNIST_TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
MNIST_TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.skipif(
    "STACKAE_DATA" not in os.environ, reason="STACKAE_DATA does not name the folder of real data"
)
@pytest.mark.parametrize(
    ("name", "train_counts", "test_counts"),
    [("mnist", MNIST_TRAIN, MNIST_TEST), ("fashion_mnist", [6000] * 10, [1000] * 10)],
)
def test_the_published_sets(name: str, train_counts: list[int], test_counts: list[int]) -> None:
    train, test = read_idx_set(name, None)
    assert train.x.shape == (60_000, 28, 28)
    assert test.x.shape == (10_000, 28, 28)
    assert np.bincount(train.y).tolist() == train_counts
    assert np.bincount(test.y).tolist() == test_counts
    # for every class, the mean image tells it from the others: images and labels are in the same order
    means = np.stack([train.x[train.y == c].mean(axis=0).ravel() for c in range(10)])
    flat = test.x[:500].reshape(500, -1).astype(float)
    nearest = np.argmin(((flat[:, None] - means) ** 2).sum(axis=2), axis=1)
    assert np.mean(nearest == test.y[:500]) > 0.6
