"""Features on disk: one memory map per part, written and read a chunk of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.lib.format import open_memmap, write_array_header_1_0
from torch import nn

from stackae.data.batches import Indexed
from stackae.data.rows import chunk_rows
from stackae.errors import ArtifactError
from stackae.machine.disk import allocate, storage_faults
from stackae.machine.memory import by_chunks
from stackae.ranks.team import ALONE, Team
from stackae.shallow.divided import evenly

SPLITS = ("train", "val", "test")
FEATURES = tuple(f"features-{split}.npy" for split in SPLITS)
MOST_SAMPLED, MOST_VALUES = 4096, 1 << 22
"""The most rows of a sample, and the most values of them together."""


def create(path: Path, shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> np.memmap:
    """Create a memory map on disk, to be filled; StorageError where the disk has no room for all of it."""
    type_ = np.dtype(dtype)
    size = math.prod(shape) * type_.itemsize
    header = {"descr": type_.str, "fortran_order": False, "shape": shape}
    with storage_faults(path, size):
        try:
            # A new file: the old one may still be mapped by another process, or be a link to elsewhere.
            path.unlink(missing_ok=True)
            with path.open("xb") as file:
                write_array_header_1_0(file, header)
                allocate(file, size)
        except BaseException:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        array: np.memmap = open_memmap(path, mode="r+")
    return array


def open_features(file: Callable[[str], Path], split: str) -> np.ndarray:
    """Open the features of one part as a read-only memory map; `file` gives the path of a file's name."""
    return read_array(file(f"features-{split}.npy"), mapped=True)


def read_array(path: Path, *, mapped: bool = False) -> np.ndarray:
    """Read an array that a stage wrote, memory-mapped read-only if `mapped`; ArtifactError if it is none."""
    array = None
    with suppress(ValueError, EOFError):
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ArtifactError(f"{path}: not an array that a stage wrote; remove its folder, and run again")
    return array


def slices(x: np.ndarray) -> Iterator[slice]:
    """Divide the rows of x (rows, *shape) into slices that are worked on one at a time."""
    size = chunk_rows(x.shape[1:])
    return (slice(start, start + size) for start in range(0, len(x), size))


def sample(x: Indexed, numbers: np.ndarray | None = None) -> torch.Tensor:
    """Return rows of x (rows, *shape), or of those of ascending `numbers`, evenly spread and not too many."""
    numbers = np.arange(len(x)) if numbers is None else numbers
    width = math.prod(x.shape[1:])
    most = max(2, min(MOST_SAMPLED, MOST_VALUES // width))
    places = np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), most)).round().astype(int))
    return torch.from_numpy(x.take(numbers[places], axis=0))


class Together:
    """Arrays (rows, *shape) as one, the rows of the first before those of the next, copied when asked for."""

    def __init__(self, *parts: np.ndarray) -> None:
        self._parts = parts
        self.shape: tuple[int, ...] = (sum(map(len, parts)), *parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: np.ndarray, axis: Literal[0] = 0) -> np.ndarray:
        """Take rows by their numbers, as an array does."""
        taken, first = np.empty((len(rows), *self.shape[1:]), self._parts[0].dtype), 0
        for part in self._parts:
            of_part = (rows >= first) & (rows < first + len(part))
            taken[of_part] = part[rows[of_part] - first]
            first += len(part)
        return taken


def flat(x: np.ndarray) -> np.ndarray:
    """Flatten each row: (rows, *shape) -> (rows, features)."""
    return x.reshape(len(x), -1)


def encode_parts(
    module: nn.Module,
    file: Callable[[str], Path],
    folder: Path,
    device: torch.device,
    team: Team = ALONE,
) -> None:
    """Write a module's features of every part into `folder`; `file` gives the path of its input's files."""
    for split, name in zip(SPLITS, FEATURES, strict=True):
        encode(module, open_features(file, split), folder / name, device, team)


@torch.no_grad()
def encode(module: nn.Module, x: np.ndarray, path: Path, device: torch.device, team: Team = ALONE) -> None:
    """Write module(x) in eval mode and float32, chunk by chunk, into a memory map at `path`.

    Each of a team writes the features of its part of the rows.
    """
    module.eval().to(device)
    if team.size > 1:
        _encode_together(module, x, path, device, team)
        module.cpu()
        return
    out: np.memmap | None = None

    def work(rows: slice) -> None:
        nonlocal out
        codes = module(torch.from_numpy(np.array(x[rows])).to(device)).cpu().numpy()
        if out is None:
            out = create(path, (len(x), *codes.shape[1:]))
        out[rows] = codes

    by_chunks(len(x), chunk_rows(x.shape[1:]), work)
    assert out is not None
    out.flush()
    module.cpu()


def _encode_together(module: nn.Module, x: np.ndarray, path: Path, device: torch.device, team: Team) -> None:
    width = module(torch.from_numpy(np.array(x[:1])).to(device)).shape[1:]
    if team.leads:
        create(path, (len(x), *width))
    team.meet()
    own = evenly(len(x), team.size, team.rank).own
    row_bytes = 4 * math.prod(width)
    # Not through a map: machines that share a disk write pages of one, and two of them may share a page.
    with path.open("r+b") as written:
        first = path.stat().st_size - len(x) * row_bytes

        def work(rows: slice) -> None:
            here = slice(own.start + rows.start, own.start + rows.stop)
            codes = module(torch.from_numpy(np.array(x[here])).to(device)).cpu().numpy()
            written.seek(first + here.start * row_bytes)
            written.write(np.ascontiguousarray(codes, np.float32).data)

        by_chunks(own.stop - own.start, chunk_rows(x.shape[1:]), work)
    team.meet()


def mean_row(x: np.ndarray) -> np.ndarray:
    """Return the mean of the rows, (*shape), in float64."""
    total = np.zeros(x.shape[1:])
    for chunk in slices(x):
        total += x[chunk].sum(axis=0, dtype=np.float64)
    mean: np.ndarray = total / len(x)
    return mean


@torch.no_grad()
def squared_error(decoder: nn.Module, codes: np.ndarray, target: np.ndarray) -> float:
    """Return the sum of squares of decoder(codes) - target over all rows."""
    decoder.eval()
    total = 0.0

    def work(rows: slice) -> None:
        nonlocal total
        reconstruction = decoder(torch.from_numpy(np.array(codes[rows])))
        total += (reconstruction - torch.from_numpy(np.array(target[rows]))).double().square().sum().item()

    by_chunks(len(target), chunk_rows(target.shape[1:]), work)
    return total


def squared_distance(x: np.ndarray, row: np.ndarray) -> float:
    """Return the sum of squares of x - row over all rows of x (rows, *shape)."""
    return sum(float(np.square(x[chunk] - row).sum()) for chunk in slices(x))
