"""How much of a device a stage's fit gets: `python scripts/bench.py gpu`. Needs CUDA; under five minutes."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_step import Case, Rounds, fit_ours

from stackae.config import TrainerConfig
from stackae.machine.hardware import Hardware, resolve

PEAK_SIZE = 8192
"""Rows and columns of the matrices whose product says what the device can do."""


@dataclass(frozen=True)
class Load:
    """A layer, its batch, and how many rows and timed epochs say how fast it learns."""

    inputs: int
    units: int
    batch: int
    rows: int
    rounds: int


LOADS = (
    Load(784, 1000, 1024, 204_800, 5),
    Load(8192, 8192, 8192, 65_536, 3),
    Load(64, 32, 100, 50_000, 5),
)


def gpu(
    precision: Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")] = "auto",
) -> list[dict[str, Any]]:
    """Times pretraining on a CUDA device: the share of its measured peak, and steps per second."""
    if not torch.cuda.is_available():
        print("no CUDA device, so nothing to measure; start this where PyTorch finds one", file=sys.stderr)
        raise typer.Exit(2)
    hardware = resolve(TrainerConfig.model_validate({"accelerator": "gpu", "precision": precision}))
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}, {hardware.precision}")
    return table(hardware, LOADS, PEAK_SIZE)


def table(hardware: Hardware, loads: Sequence[Load], peak_size: int) -> list[dict[str, Any]]:
    """Prints and returns a row for each load, below the peak of the product of two large matrices."""
    best = peak(hardware, peak_size)
    print(f"measured peak: {best / 1e12:,.2f} TFLOP/s in a product of {peak_size} x {peak_size} matrices\n")
    print("| fit | batch | s/epoch | steps/s | rows/s | TFLOP/s | share of the peak |")
    print("|---|---|---|---|---|---|---|")
    return [_row(hardware, load, best) for load in loads]


def _row(hardware: Hardware, load: Load, best: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        case = Case(load.inputs, load.units, load.batch, Path(folder), hardware)
        case.write(load.rows)
        meter = Rounds({}, time.monotonic)
        fit_ours(case, load.rounds, meter)
    # The first epoch pays for what is done once.
    seconds = statistics.median(meter.seconds["ours"][1:])
    steps = -(-load.rows // load.batch)
    made = {
        "layer": f"{load.inputs}-{load.units}",
        "batch": load.batch,
        "seconds": seconds,
        "steps/s": steps / seconds,
        "rows/s": load.rows / seconds,
        "flop/s": epoch_flops(load.inputs, load.units, load.rows) / seconds,
    }
    made["share"] = made["flop/s"] / best
    print(
        f"| pretrain {made['layer']} | {load.batch} | {seconds:.4f} | {made['steps/s']:,.0f} | "
        f"{made['rows/s']:,.0f} | {made['flop/s'] / 1e12:,.3f} | {made['share']:.1%} |",
        flush=True,
    )
    return made


def epoch_flops(inputs: int, units: int, rows: int) -> int:
    """Floating-point operations of the matrix products of an epoch, its validation included.

    A training row goes through both matrices forward, both get a gradient, and so does the code; a
    validation row, of which there are a tenth as many, goes forward alone. A product counts twice.
    """
    validation = max(rows // 10, 1)
    return 2 * inputs * units * (5 * rows + 2 * validation)


def peak(hardware: Hardware, size: int) -> float:
    """Operations per second of a product of square matrices, the best of several, in the fit's precision."""
    kind = torch.bfloat16 if hardware.precision == "bf16-mixed" else torch.float32
    one, other = (torch.rand(size, size, device=hardware.device, dtype=kind) for _ in range(2))
    out = torch.empty_like(one)
    seconds = []
    for _ in range(6):
        _wait(hardware.device)
        start = time.monotonic()
        for _ in range(5):
            torch.mm(one, other, out=out)
        _wait(hardware.device)
        seconds.append((time.monotonic() - start) / 5)
    return 2 * size**3 / min(seconds)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
