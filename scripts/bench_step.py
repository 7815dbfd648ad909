"""Times epochs of pretraining and of fine-tuning beside loops by hand and beside their matrix products."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from stackae.build import build_objective, build_unit
from stackae.config import FinetuneConfig, LayerConfig, PretrainConfig, TrainerConfig
from stackae.data.batches import Batches
from stackae.data.features import create
from stackae.data.rows import CHUNK
from stackae.machine.hardware import Hardware
from stackae.progress import NoProgress
from stackae.stack import Classifier, Encoder
from stackae.stage_context import StageContext
from stackae.tasks import FinetuneTask, PretrainTask, Task
from stackae.training import fit

CASES = ((64, 32, 100), (64, 32, 256), (784, 1000, 100), (784, 1000, 256))
"""Inputs and units of a layer, and rows per batch."""
TARGETS = {(64, 32, 100): 1.15, (784, 1000, 100): 1.25, (784, 1000, 256): 1.25}
"""The most that our epoch may take, as a multiple of the hand-written one."""
MASKING, DROPOUT, INPUT_DROPOUT, CLASSES = 0.25, 0.5, 0.2, 10

Epoch = Callable[[], None]
"""Does the work of one epoch, to its end."""


@dataclass(frozen=True)
class Case:
    """One line of the table: a denoising layer, its batch, its data on disk, what it is computed on."""

    inputs: int
    units: int
    batch: int
    folder: Path
    hardware: Hardware
    labelled: bool = False
    """Whether the layer is fine-tuned under a softmax head, and not pretrained."""

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

    def classes(self, part: str) -> np.ndarray | None:
        if not self.labelled:
            return None
        return np.random.default_rng(1).integers(0, CLASSES, len(self.read(part)))

    def tensor(self, part: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.read(part))).to(self.hardware.device)


class Rounds(NoProgress):
    """After each of our epochs lets the others do one, and notes everyone's seconds on a clock."""

    def __init__(self, others: Mapping[str, Epoch], clock: Callable[[], float]) -> None:
        self._others, self._clock = others, clock
        self._began = clock()
        self.seconds: dict[str, list[float]] = {name: [] for name in ("ours", *others)}

    @contextmanager
    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> Iterator[Rounds]:
        yield self

    def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
        if share:  # amid an epoch
            return
        self.seconds["ours"].append(self._clock() - self._began)
        for name, run in self._others.items():
            start = self._clock()
            run()
            self.seconds[name].append(self._clock() - start)
        self._began = self._clock()


def measure(
    case: Case, rounds: int, clock: Callable[[], float], others: Mapping[str, Epoch] | None = None
) -> dict[str, list[float]]:
    """Seconds of each variant's epochs; before them each does one that does not count.

    The others are by default a loop by hand and the matrix products.
    """
    meter = Rounds(others or {"hand": _by_hand(case), "products": _products(case)}, clock)
    fit_ours(case, rounds, meter)
    return {name: seconds[1:] for name, seconds in meter.seconds.items()}


def fit_ours(case: Case, rounds: int, meter: Rounds) -> None:
    """Does a stage's fit, an epoch more than there are rounds; the meter notes the seconds of each."""
    train, val = (
        Batches(case.read(part), case.classes(part), batch_size=size, seed=seed)
        for part, size, seed in (("train", case.batch, 0), ("val", CHUNK, None))
    )
    task, settings = (_finetune if case.labelled else _pretrain)(case, rounds + 1, len(train))
    stage, section = ("finetune", "finetune") if case.labelled else ("pretrain-1", "layers.0")
    autosave = TrainerConfig().autosave
    context = StageContext(stage, section, case.folder, 0, case.hardware, False, meter, autosave)
    fit(context, task, train, val, settings, keep_best=case.labelled)


def _pretrain(case: Case, epochs: int, batches: int) -> tuple[Task, PretrainConfig]:
    settings = PretrainConfig(batch_size=case.batch, epochs=epochs)
    layer, shape = LayerConfig(width=case.units), (case.inputs,)
    unit = build_unit(layer, shape, first=True)
    objective = build_objective(layer, shape, (case.units,), "bernoulli", batch_size=case.batch)
    return PretrainTask(unit, objective, settings, seed=0, steps=epochs * batches), settings


def _finetune(case: Case, epochs: int, batches: int) -> tuple[Task, FinetuneConfig]:
    settings = FinetuneConfig(batch_size=case.batch, epochs=epochs, patience=None)
    unit = build_unit(LayerConfig(width=case.units), (case.inputs,), first=True)
    classifier = Classifier(
        Encoder([unit.encoder]), (case.units,), CLASSES, dropout=DROPOUT, input_dropout=INPUT_DROPOUT
    )
    steps = epochs * batches
    return FinetuneTask(classifier, settings, encoder_lr=settings.lr, seed=0, steps=steps), settings


def figures(case: Case, rows: int, found: dict[str, list[float]]) -> dict[str, Any]:
    """Medians of the rounds' seconds, and of their ratios."""
    ratios = {
        name: statistics.median(a / b for a, b in zip(found["ours"], found[name], strict=True))
        for name in ("hand", "products")
    }
    seconds = {name: statistics.median(values) for name, values in found.items()}
    what = "finetune" if case.labelled else "pretrain"
    return {
        "what": what,
        "layer": f"{case.inputs}-{case.units}",
        "batch": case.batch,
        "seconds": seconds,
        "rows/s": rows / seconds["ours"],
        "ratios": ratios,
        "target": TARGETS.get((case.inputs, case.units, case.batch)),
    }


def line(made: Mapping[str, Any]) -> str:
    """The figures as a line of a table."""
    seconds, ratios = made["seconds"], made["ratios"]
    aim = "" if made["target"] is None else f" (target: at most {made['target']})"
    return (
        f"| {made['what']} {made['layer']} | {made['batch']} | {seconds['ours']:.4f} | {seconds['hand']:.4f} "
        f"| {seconds['products']:.4f} | {made['rows/s']:,.0f} "
        f"| {ratios['hand']:.2f}{aim} | {ratios['products']:.2f} |"
    )


def _by_hand(case: Case) -> Epoch:
    """The same work as one would write it in plain PyTorch, with the rows in memory.

    With what makes ours fast where it helps: masks from random bits, tensors that are used again.
    """
    device = case.hardware.device
    train, val = case.tensor("train"), case.tensor("val")
    y_train, y_val = (
        None if made is None else torch.from_numpy(made).to(device)
        for made in (case.classes("train"), case.classes("val"))
    )
    outputs = CLASSES if case.labelled else case.inputs
    first, last = nn.Linear(case.inputs, case.units).to(device), nn.Linear(case.units, outputs).to(device)
    parameters = [*first.parameters(), *last.parameters()]
    kind = torch.optim.AdamW if case.labelled else torch.optim.Adam
    optimizer = kind(parameters, lr=1e-3, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10**6) if case.labelled else None
    mixed = torch.autocast(device.type, torch.bfloat16, enabled=case.hardware.precision == "bf16-mixed")
    taken = torch.empty(case.batch, case.inputs, device=device)
    most = case.batch * max(case.inputs, case.units)
    draws = torch.empty(-(-most // 4), dtype=torch.int64, device=device)
    total = torch.zeros((), device=device)

    def kept(like: torch.Tensor, rate: float) -> torch.Tensor:
        bits = draws[: -(-like.numel() // 4)].random_(-(2**63), None).view(torch.int16)
        lost = round(rate * 2**16) - 2**15
        return torch.ge(bits[: like.numel()].view(like.shape), lost, out=torch.empty_like(like))

    def learnt(x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        with mixed:
            if y is None:
                output = last(F.relu(first(kept(x, MASKING).mul_(x))))
            else:
                code = F.relu(first(kept(x, INPUT_DROPOUT).mul_(x).mul_(1 / (1 - INPUT_DROPOUT))))
                output = last(code * kept(code.detach(), DROPOUT).mul_(1 / (1 - DROPOUT)))
        return loss(output, x, y)

    def loss(output: torch.Tensor, x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
        if y is not None:
            return F.cross_entropy(output.float(), y)
        return F.binary_cross_entropy_with_logits(output.float(), x, reduction="sum") / len(x)

    def epoch() -> None:
        total.zero_()
        for rows in torch.randperm(len(train), device=device).split(case.batch):
            x = torch.index_select(train, 0, rows, out=taken[: len(rows)])
            value = learnt(x, None if y_train is None else y_train[rows])
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            total.add_(value.detach(), alpha=len(x))
        validation = 0.0
        with torch.no_grad(), mixed:
            for at in range(0, len(val), CHUNK):
                x, y = val[at : at + CHUNK], None if y_val is None else y_val[at : at + CHUNK]
                validation += float(loss(last(F.relu(first(x))), x, y)) * len(x)
        # As ours, it reports both losses: a device must have finished before it can.
        total.item() / len(train), validation / len(val)

    return epoch


def _products(case: Case) -> Epoch:
    """The matrix products of such an epoch and nothing else; that by the inputs' gradient is not needed."""
    device = case.hardware.device
    kind = torch.bfloat16 if case.hardware.precision == "bf16-mixed" else torch.float32
    rows, val_rows = len(case.read("train")), len(case.read("val"))
    outputs = CLASSES if case.labelled else case.inputs
    encoder = torch.rand(case.units, case.inputs, device=device, dtype=kind)
    decoder = torch.rand(outputs, case.units, device=device, dtype=kind)

    def chunks(count: int, size: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Inputs, code and output of each chunk; chunks of one size are the same memory."""
        full, rest = divmod(count, size)
        sizes = [size] * full + [rest] * (rest > 0)
        made = {
            n: (
                torch.rand(n, case.inputs, device=device, dtype=kind),
                torch.rand(n, case.units, device=device, dtype=kind),
                torch.rand(n, outputs, device=device, dtype=kind),
            )
            for n in set(sizes)
        }
        return [made[n] for n in sizes]

    training, validating = chunks(rows, case.batch), chunks(val_rows, CHUNK)

    def epoch() -> None:
        for x, code, output in training:
            _ = x @ encoder.t(), code @ decoder.t()
            # With gradients of the output's shape and of the code's.
            _ = output.t() @ code, output @ decoder, code.t() @ x
        for x, code, _output in validating:
            out = x @ encoder.t(), code @ decoder.t()
        out[0][0, 0].item()

    return epoch
