"""Measures stackae: `python scripts/bench.py step` compares a pretraining epoch with a hand-written loop,
`python scripts/bench.py predict` times predictions for a table.

docs/benchmarks.md says what each figure means and holds the figures of one machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

# OpenMP reads it when torch is imported; it is what stackae's own entry sets.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import typer
from bench_memory import memory
from torch import nn

import stackae
from stackae.build import build_objective, build_unit
from stackae.commands.predict import predict as predict_rows
from stackae.config import LayerConfig, PretrainConfig, TrainerConfig
from stackae.config_file import load_config
from stackae.data.batches import Batches
from stackae.data.features import create
from stackae.data.new_rows import read_rows
from stackae.data.rows import CHUNK
from stackae.machine.hardware import Hardware, resolve
from stackae.progress import NoProgress
from stackae.stage_context import StageContext
from stackae.tasks import PretrainTask
from stackae.training import fit

CASES = ((64, 32, 100), (64, 32, 256), (784, 1000, 100), (784, 1000, 256))
"""Inputs and units of a layer, and rows per batch."""
TARGETS = {(784, 1000): 1.25}
"""The most that our epoch may take, as a multiple of the hand-written one, by inputs and units."""
MASKING = 0.25

Epoch = Callable[[], None]
"""Does the work of one epoch, to its end."""

app = typer.Typer(add_completion=False, no_args_is_help=True)


app.command()(memory)


@app.callback()
def bench() -> None:
    """Benchmarks of stackae."""


@app.command()
def step(
    rows: Annotated[int, typer.Option(help="Training rows of an epoch; a tenth as many validate.")] = 20_000,
    rounds: Annotated[int, typer.Option(help="Timed epochs of each variant, in turn.")] = 15,
    threads: Annotated[int, typer.Option(help="Threads of torch; 0 keeps torch's own number.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, 32-true or bf16-mixed.")] = "auto",
) -> None:
    """Times a pretraining epoch of ours, of a plain PyTorch loop, and of its matrix products alone."""
    if precision not in ("auto", "32-true", "bf16-mixed"):
        raise typer.BadParameter(f"'{precision}'; use auto, 32-true or bf16-mixed", param_hint="--precision")
    if threads:
        torch.set_num_threads(threads)
    hardware = resolve(TrainerConfig.model_validate({"precision": precision}))
    print(
        f"torch {torch.__version__} on {platform.system()} {platform.machine()}, {hardware.device.type}, "
        f"{hardware.precision}, {torch.get_num_threads()} of {os.cpu_count()} cores; "
        f"{rows} rows; medians of {rounds} rounds\n"
    )
    print("| layer | batch | ours s/epoch | by hand | products | ours rows/s | ours/hand | ours/products |")
    print("|---|---|---|---|---|---|---|---|")
    for inputs, units, batch in CASES:
        with tempfile.TemporaryDirectory() as folder:
            case = Case(inputs, units, batch, Path(folder), hardware)
            case.write(rows)
            print(_row(case, rows, _measure(case, rounds)), flush=True)


@app.command()
def predict(
    rows: Annotated[int, typer.Option(help="Rows of the table.")] = 100_000,
    rounds: Annotated[int, typer.Option(help="Timed predictions; the first of all does not count.")] = 7,
) -> None:
    """Times `stackae predict` of a CSV with 6 numeric and 8 categorical columns, and its parts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _table(2_000).to_csv(folder / "train.csv", index=False)
        _table(rows).drop(columns="label").to_csv(folder / "rows.csv", index=False)
        (folder / "run.yaml").write_text(RUN.format(source=folder / "train.csv"))
        stackae.run(folder / "run.yaml", out=folder / "run", store=folder / "store")
        model = stackae.load(folder / "run")
        given = read_rows(
            str(folder / "rows.csv"), load_config(folder / "run.yaml").data, model.preprocessing
        )

        def flagged() -> None:
            path, out = str(folder / "rows.csv"), folder / "found.csv"
            predict_rows(folder / "run", path, out, keep=(), only_flagged=False, quiet=True)

        def read() -> None:
            read_rows(str(folder / "rows.csv"), load_config(folder / "run.yaml").data, model.preprocessing)

        loaded = [raw for _, raw in given.rows.chunks()]

        def judged() -> None:
            for raw in loaded:
                model.judge(raw)

        def plain() -> None:
            for _ in model.map(given.rows, model.predict_proba):
                pass

        print(f"{rows:,} rows, {torch.get_num_threads()} threads, {os.cpu_count()} cores\n")
        print("| work | s | rows/s |")
        print("|---|---|---|")
        works = {
            "predict, with flags, CSV to CSV": flagged,
            "of which checking the file": read,
            "predict rows in memory, with flags": judged,
            "read once and predict, without flags": plain,
        }
        for called, work in works.items():
            seconds = statistics.median(_seconds(work) for _ in range(rounds + 1))
            print(f"| {called} | {seconds:.2f} | {rows / seconds:,.0f} |", flush=True)


RUN = """\
name: bench
data: {{source: {source}, target: label}}
layers: [{{width: 128}}, {{width: 64}}]
pretrain: {{epochs: 1}}
finetune: {{epochs: 1}}
compare: {{scratch: false, probe: false, baselines: none}}
tracking: {{wandb: disabled}}
"""


def _table(rows: int) -> pd.DataFrame:
    """A table like the census's: as many columns, of as many categories, some of them missing."""
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {f"number {at}": rng.integers(0, 10**at + 50, rows) for at in range(6)}
    for at, categories in enumerate((8, 16, 7, 14, 6, 5, 2, 41)):
        names = np.array(["", *(f"category {at}.{one}" for one in range(categories))])
        made[f"text {at}"] = names[rng.integers(at % 2, categories + 1, rows)]
    return pd.DataFrame(made | {"label": rng.choice(["no", "yes"], rows)})


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


@dataclass(frozen=True)
class Case:
    """One line of the table: a denoising layer, its batch, its data on disk, what it is computed on."""

    inputs: int
    units: int
    batch: int
    folder: Path
    hardware: Hardware

    def write(self, rows: int) -> None:
        """Writes training rows and a tenth as many validation rows, uniform in [0, 1)."""
        rng = np.random.default_rng(0)
        for part, count in (("train", rows), ("val", max(rows // 10, 1))):
            made = create(self.folder / f"{part}.npy", (count, self.inputs))
            for at in range(0, count, CHUNK):
                made[at : at + CHUNK] = rng.random(made[at : at + CHUNK].shape, dtype=np.float32)
            made.flush()

    def read(self, part: str) -> np.ndarray:
        made: np.ndarray = np.load(self.folder / f"{part}.npy", mmap_mode="r")
        return made

    def tensor(self, part: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.read(part))).to(self.hardware.device)


class Rounds(NoProgress):
    """After each of our epochs lets the others do one, and notes everyone's seconds."""

    def __init__(self, others: Mapping[str, Epoch]) -> None:
        self._others = others
        self._began = 0.0
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[Rounds]:
        yield self

    def advance(self, epoch: int, share: float, metrics: Mapping[str, float]) -> None:
        if share:  # amid an epoch
            return
        self.seconds["ours"].append(metrics["seconds"] - self._began)
        paused = time.monotonic()
        for name, run in self._others.items():
            start = time.monotonic()
            run()
            self.seconds[name].append(time.monotonic() - start)
        self._began = metrics["seconds"] + time.monotonic() - paused


def _measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant's epochs; before them each does one that does not count."""
    meter = Rounds({"hand": _by_hand(case), "products": _products(case)})
    settings = PretrainConfig(batch_size=case.batch, epochs=rounds + 1)
    layer, shape = LayerConfig(width=case.units), (case.inputs,)
    unit = build_unit(layer, shape, first=True)
    objective = build_objective(layer, shape, (case.units,), "bernoulli", batch_size=case.batch)
    train = Batches(case.read("train"), batch_size=case.batch, seed=0)
    val = Batches(case.read("val"), batch_size=CHUNK)
    task = PretrainTask(unit, objective, settings, seed=0, steps=settings.epochs * len(train))
    context = StageContext(
        "pretrain-1", "layers.0", case.folder, 0, case.hardware, False, meter, TrainerConfig().autosave
    )
    fit(context, task, train, val, settings, keep_best=False)
    return {name: seconds[1:] for name, seconds in meter.seconds.items()}


def _row(case: Case, rows: int, found: dict[str, list[float]]) -> str:
    seconds = {name: statistics.median(values) for name, values in found.items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(found["ours"], found[name], strict=True))
        for name in ("hand", "products")
    }
    target = TARGETS.get((case.inputs, case.units))
    aim = "" if target is None else f" (target: at most {target})"
    return (
        f"| {case.inputs}-{case.units} | {case.batch} | {seconds['ours']:.4f} | {seconds['hand']:.4f} "
        f"| {seconds['products']:.4f} | {rows / seconds['ours']:,.0f} "
        f"| {ratios['hand']:.2f}{aim} | {ratios['products']:.2f} |"
    )


def _by_hand(case: Case) -> Epoch:
    """The same work as one would write it in plain PyTorch, with the rows in memory."""
    device = case.hardware.device
    train, val = case.tensor("train"), case.tensor("val")
    model = nn.Sequential(
        nn.Linear(case.inputs, case.units), nn.ReLU(), nn.Linear(case.units, case.inputs)
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=case.hardware.precision == "bf16-mixed")

    def loss(x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        with mixed:
            output = model(seen)
        return F.binary_cross_entropy_with_logits(output.float(), x, reduction="sum") / len(x)

    def epoch() -> None:
        total = torch.zeros((), device=device)
        for rows in torch.randperm(len(train), device=device).split(case.batch):
            x = train[rows]
            value = loss(x, x * (torch.rand_like(x) >= MASKING))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.detach() * len(x)
        with torch.no_grad():
            validation = sum(loss(x, x) * len(x) for x in val.split(CHUNK))
        # As ours, it reports both losses: a device must have finished before it can.
        (total / len(train)).item(), float(validation) / len(val)

    return epoch


def _products(case: Case) -> Epoch:
    """The matrix products of such an epoch and nothing else; that by the inputs' gradient is not needed."""
    device = case.hardware.device
    kind = torch.bfloat16 if case.hardware.precision == "bf16-mixed" else torch.float32
    rows, val_rows = len(case.read("train")), len(case.read("val"))
    encoder = torch.rand(case.units, case.inputs, device=device, dtype=kind)
    decoder = torch.rand(case.inputs, case.units, device=device, dtype=kind)

    def chunks(count: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Inputs and code of each chunk; chunks of one size are the same memory."""
        full, rest = divmod(count, size)
        sizes = [size] * full + [rest] * (rest > 0)
        made = {
            n: (
                torch.rand(n, case.inputs, device=device, dtype=kind),
                torch.rand(n, case.units, device=device, dtype=kind),
            )
            for n in set(sizes)
        }
        return [made[n] for n in sizes]

    training, validating = chunks(rows, case.batch), chunks(val_rows, CHUNK)

    def epoch() -> None:
        for x, code in training:
            _ = x @ encoder.t(), code @ decoder.t()
            # With an output's gradient of x's shape, and a code's gradient of the code's.
            _ = x.t() @ code, x @ decoder, code.t() @ x
        for x, code in validating:
            out = x @ encoder.t(), code @ decoder.t()
        out[0][0, 0].item()

    return epoch


if __name__ == "__main__":
    app()
