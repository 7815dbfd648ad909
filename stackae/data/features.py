"""Features on disk: one memory map per part, written and read a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import nn

SPLITS = ("train", "val", "test")
FEATURES = tuple(f"features-{split}.npy" for split in SPLITS)
CHUNK = 2048


def create(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new float32 memory map on disk, to be filled."""
    made: np.memmap = open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    return made


def open_features(file: Callable[[str], Path], split: str) -> np.ndarray:
    """The features of one part, as a read-only memory map; `file` gives the path of a file's name."""
    features: np.ndarray = np.load(file(f"features-{split}.npy"), mmap_mode="r", allow_pickle=False)
    return features


def flat(x: np.ndarray) -> np.ndarray:
    """(rows, *shape) -> (rows, features)."""
    return x.reshape(len(x), -1)


@torch.no_grad()
def encode(module: nn.Module, x: np.ndarray, path: Path, device: torch.device) -> None:
    """Writes module(x) in eval mode and float32, chunk by chunk, into a memory map at `path`."""
    module.eval().to(device)
    out: np.memmap | None = None
    for at in range(0, len(x), CHUNK):
        codes = module(torch.from_numpy(np.array(x[at : at + CHUNK])).to(device)).cpu().numpy()
        if out is None:
            out = create(path, (len(x), *codes.shape[1:]))
        out[at : at + CHUNK] = codes
    assert out is not None
    out.flush()
    module.cpu()


def mean_row(x: np.ndarray) -> np.ndarray:
    """The mean of the rows, (*shape), in float64."""
    total = np.zeros(x.shape[1:])
    for at in range(0, len(x), CHUNK):
        total += x[at : at + CHUNK].sum(axis=0, dtype=np.float64)
    mean: np.ndarray = total / len(x)
    return mean


@torch.no_grad()
def squared_error(decoder: nn.Module, codes: np.ndarray, target: np.ndarray) -> float:
    """Sum of squares of decoder(codes) - target over all rows."""
    decoder.eval()
    total = 0.0
    for at in range(0, len(target), CHUNK):
        guess = decoder(torch.from_numpy(np.array(codes[at : at + CHUNK])))
        total += (guess - torch.from_numpy(np.array(target[at : at + CHUNK]))).double().square().sum().item()
    return total


def squared_distance(x: np.ndarray, row: np.ndarray) -> float:
    """Sum of squares of x - row over all rows of x (rows, *shape)."""
    return sum(float(np.square(x[at : at + CHUNK] - row).sum()) for at in range(0, len(x), CHUNK))
