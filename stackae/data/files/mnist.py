"""MNIST and Fashion-MNIST: where their IDX files are looked for, how they are fetched, how they are read."""

from __future__ import annotations

import gzip
import io
import os
import textwrap
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stackae.data.files.archive_safety import check_compression, check_memory
from stackae.errors import DataError

TRAIN_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
TEST_FILES = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_UNSIGNED_BYTE = 0x08
_CHUNK = 1 << 20  # bytes
_FIRST = 1 << 24  # bytes, read before it is asked whether the rest can be
_TIMEOUT = (10.0, 30.0)  # seconds: to connect, and without a byte arriving


@dataclass(frozen=True)
class IdxSet:
    """A published data set of four IDX files: two parts, images and labels each."""

    folders: tuple[str, ...]
    """Below the root, in the order in which they are tried; downloads go into the first."""
    mirror: str
    """Address of the folder of the `.gz` files, ending in a slash."""
    sha256: dict[str, str]
    """Checksum of each `.gz` file, by the file's name without `.gz`."""
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Images `(rows, height, width)` uint8 and their labels `(rows,)` int64."""

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64]


IDX_SETS = {
    "mnist": IdxSet(
        folders=("MNIST/raw", "mnist", "."),
        mirror="https://ossci-datasets.s3.amazonaws.com/mnist/",
        sha256={
            "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
        classes=tuple("0123456789"),
    ),
    "fashion_mnist": IdxSet(
        folders=("FashionMNIST/raw", "fashion_mnist", "."),
        mirror="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        sha256={
            "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}


def read_idx_set(name: str, root: str | None) -> tuple[Part, Part]:
    """Read the published training and test part of one of `IDX_SETS`, downloading missing files.

    `root` is the folder the files are looked for in; None takes the environment variable STACKAE_DATA, else
    the user's cache folder. Raises `DataError` where files are missing and cannot be downloaded, are damaged,
    or don't fit together.
    """
    idx_set = IDX_SETS[name]
    folders = [_root(root) / folder for folder in idx_set.folders]
    folder = next(
        (path for path in folders if any(_present(path, file) for file in TRAIN_FILES + TEST_FILES)),
        folders[0],
    )
    paths = [
        _present(folder, file) or _download(name, folder, file, folders) for file in TRAIN_FILES + TEST_FILES
    ]
    train = _read_part(name, *paths[:2])
    test = _read_part(name, *paths[2:])
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{paths[2]}: images of {_by(test.x.shape[1:])}, but {paths[0].name} has {_by(train.x.shape[1:])}"
        )
    return train, test


def read_idx(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes with `ndim` dimensions, plain or gzipped.

    Which of the two is told by the content, not by the name. Never reads or decompresses more than the header
    promises, plus the one byte that shows there is more; and only the beginning where it promises more than
    could be compressed into the file, or than there is memory for.
    Raises `DataError` where the file is not such an IDX file, is cut short, or goes on too long.
    Format: LeCun, Cortes and Burges, "The MNIST database", section "file formats".
    """
    try:
        with path.open("rb") as file:
            compressed = file.peek(2)[:2] == b"\x1f\x8b"
            with gzip.GzipFile(fileobj=file) if compressed else nullcontext(file) as stream:
                return _parse(stream, ndim, path.stat().st_size)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except EOFError:
        raise DataError(
            f"{path}: truncated: the gzip stream ends before its checksum; download it again"
        ) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: corrupt gzip ({error}); download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _parse(stream: gzip.GzipFile | io.BufferedReader, ndim: int, on_disk: int) -> npt.NDArray[np.uint8]:
    magic = bytes(_read_up_to(stream, 4))
    expected = bytes([0, 0, _UNSIGNED_BYTE, ndim])
    if len(magic) < 4 or magic[:2] != expected[:2]:
        raise DataError(
            f"not an IDX file: starts with '{magic.hex()}', '{expected.hex()}' expected; download it again"
        )
    if magic[2] != _UNSIGNED_BYTE:
        raise DataError(f"values of IDX type 0x{magic[2]:02x}; only unsigned bytes (0x08) are read")
    if magic[3] != ndim:
        raise DataError(
            f"{magic[3]} dimensions where {ndim} are expected; are image and label files swapped?"
        )
    header = _read_up_to(stream, 4 * ndim)
    if len(header) < 4 * ndim:
        raise DataError("truncated: ends within the header; download it again")
    shape = tuple(int(length) for length in np.frombuffer(header, ">u4"))
    if 0 in shape:
        raise DataError(f"empty: the header promises {_by(shape)} values")
    size = int(np.prod(shape, dtype=object))  # Python's integers: the header's product may exceed 64 bits
    data = _read_up_to(stream, min(size, _FIRST))
    if len(data) == _FIRST:  # what ends before is cut short, whatever it promises
        check_compression("the file", compressed=on_disk, uncompressed=size)
        check_memory("the file", size)
        data += _read_up_to(stream, size - len(data))
    if len(data) < size:
        raise DataError(
            f"truncated: header promises {size:,} bytes of data, {len(data):,} found; download it again"
        )
    if stream.read1(1):  # asking for more also makes gzip compare its checksum
        raise DataError(
            f"trailing bytes: more than the {size:,} bytes of data the header promises; download it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_up_to(stream: gzip.GzipFile | io.BufferedReader, limit: int) -> bytearray:
    """Read up to `limit` bytes; fewer where the stream, or the gzip member, ends early."""
    data = bytearray()
    try:
        while len(data) < limit and (chunk := stream.read1(min(_CHUNK, limit - len(data)))):
            data += chunk
    except EOFError:
        return data
    return data


def _read_part(name: str, images: Path, labels: Path) -> Part:
    x, y = read_idx(images, 3), read_idx(labels, 1)
    if len(x) != len(y):
        raise DataError(
            f"{images}: {len(x):,} images, but {labels.name} has {len(y):,} labels; download both again"
        )
    classes = len(IDX_SETS[name].classes)
    if y.max() >= classes:
        row = int(np.argmax(y >= classes))
        raise DataError(f"{labels}: label {y[row]} in row {row}, but {name} has classes 0 to {classes - 1}")
    return Part(x, y.astype(np.int64))


def _root(root: str | None) -> Path:
    name = root or os.environ.get("STACKAE_DATA")
    if not name:
        from platformdirs import user_cache_dir

        return Path(user_cache_dir("stackae"))
    try:
        folder = Path(name).expanduser()
        exists = folder.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, a user who is unknown
        exists = False
    if not exists:
        setting = "data.root" if root else "STACKAE_DATA"
        raise DataError(
            f"{setting}: there is no folder '{name}'; name the folder that has the IDX files, or create it"
        )
    return folder


def _present(folder: Path, file: str) -> Path | None:
    return next((path for path in (folder / file, folder / f"{file}.gz") if path.is_file()), None)


def _download(name: str, folder: Path, file: str, looked_in: list[Path]) -> Path:
    import pooch

    idx_set = IDX_SETS[name]
    url = f"{idx_set.mirror}{file}.gz"
    try:
        return Path(
            pooch.retrieve(
                url,
                known_hash=f"sha256:{idx_set.sha256[file]}",
                fname=f"{file}.gz",
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
            )
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200, placeholder=" …")
        places = ", ".join(str(place) for place in looked_in)
        raise DataError(
            f"{name}: '{file}.gz' is in none of {places}, and {url} could not be downloaded ({reason}); put "
            "the files there, or set data.root or STACKAE_DATA to the folder that has them"
        ) from None


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)
