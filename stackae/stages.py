"""What is done in each stage. A stage reads finished stages, writes files into its folder, and
returns the metrics and the names of the files; committing them is the pipeline's.

Lightning takes seconds to import, so that is left to the stages that train: a run whose stages are all
in the store does without it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stackae import metrics
from stackae.config import FinetuneConfig
from stackae.data.batches import Batches
from stackae.data.features import (
    CHUNK,
    FEATURES,
    SPLITS,
    create,
    encode,
    flat,
    mean_row,
    open_features,
    squared_distance,
    squared_error,
)
from stackae.data.sources import Source
from stackae.data.splits import Split
from stackae.kinds import build
from stackae.plan import Plan, PlannedLayer
from stackae.seeds import derive
from stackae.shallow.losses import LOSSES
from stackae.shallow.units import DenseUnit
from stackae.stack import Classifier, Decoder, Encoder
from stackae.store import Entry

if TYPE_CHECKING:
    from stackae.training import Job

WEIGHTS = "weights.safetensors"
PROBE_ROWS = 10_000
PROBE_STRENGTHS = (0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True)
class Done:
    """What a stage returns: metrics for the manifest, and the names of its files."""

    metrics: dict[str, Any]
    files: list[str]


def prepare(job: Job, source: Source, split: Split) -> Done:
    """Writes the rows of each part as float32 in [0, 1] or as they are, and their classes (-1: none)."""
    files = []
    boundary = len(source.x)
    for name, rows in zip(SPLITS, (split.train, split.val, split.test), strict=True):
        features = create(job.folder / f"features-{name}.npy", (len(rows), *source.shape))
        labels = np.full(len(rows), -1, dtype=np.int64)
        # Indices from `boundary` on are rows of the published test part.
        parts = (
            (rows < boundary, source.x, source.y, 0),
            (rows >= boundary, source.x_test, source.y_test, boundary),
        )
        for here, x, y, start in parts:
            taken = np.flatnonzero(here)
            for at in range(0, len(taken), CHUNK):
                to = taken[at : at + CHUNK]
                assert x is not None
                features[to] = x[rows[to] - start].astype(np.float32) / np.float32(source.scale)
            if y is not None:
                labels[taken] = y[rows[taken] - start]
        features.flush()
        np.save(job.folder / f"labels-{name}.npy", labels)
        files += [f"features-{name}.npy", f"labels-{name}.npy"]
    return Done(
        {name: len(rows) for name, rows in zip(SPLITS, (split.train, split.val, split.test), strict=True)},
        files,
    )


def pretrain(job: Job, plan: Plan, below: Sequence[Entry]) -> Done:
    """Trains one layer on the features of the layer below, then writes its own features.

    `below` are the finished stages from the data to the layer below.
    """
    from stackae.tasks import PretrainTask
    from stackae.training import fit

    lower, layer = plan.layers[: len(below) - 1], plan.layers[len(below) - 1]
    seed = derive(job.seed, job.stage)
    torch.manual_seed(derive(seed, "init"))
    unit, objective = build(layer.config, layer.shape, layer.loss)
    train = Batches(open_features(below[-1].file, "train"), batch_size=layer.fit.batch_size, seed=seed)
    val_rows = open_features(below[-1].file, "val")
    val = Batches(val_rows, batch_size=CHUNK)
    task = PretrainTask(unit, objective, layer.fit, seed=seed, steps=layer.fit.epochs * len(train))
    fitted = fit(job, task, train, val, layer.fit, keep_best=layer.fit.patience is not None)
    _save_weights(unit, job.folder / WEIGHTS)
    _write_history(fitted.history, job.folder)
    for split in SPLITS:
        encode(
            unit.encoder,
            open_features(below[-1].file, split),
            job.folder / f"features-{split}.npy",
            job.hardware.device,
        )
    codes = np.load(job.folder / "features-val.npy", mmap_mode="r")
    one = nn.Sequential(unit.decoder, LOSSES[layer.loss].activation())
    mean = mean_row(open_features(below[-1].file, "train"))
    last = fitted.history[fitted.kept_epoch - 1]
    numbers: dict[str, Any] = {name: last[name] for name in ("train_loss", "val_reconstruction")}
    spread = squared_distance(val_rows, mean)
    # Inputs that are all alike, as those from dead units, leave nothing to learn: that is 1.
    ratio = squared_error(one, codes, val_rows) / spread if spread > 0 else 1.0
    numbers["reconstruction_ratio"] = ratio
    numbers["effective_rank"] = metrics.effective_rank(codes)
    decoder = Decoder([*map(load_decoder, below[1:], lower), one])
    test = open_features(below[0].file, "test")
    total = squared_error(decoder, np.load(job.folder / "features-test.npy", mmap_mode="r"), test)
    numbers |= {"test_sse_per_row": total / len(test), "test_mse": total / test.size}
    numbers |= {"epochs": len(fitted.history), "kept_epoch": fitted.kept_epoch, "seconds": fitted.seconds}
    return Done(numbers, [WEIGHTS, "metrics.csv", *FEATURES])


def finetune(job: Job, plan: Plan, data: Entry, layers: Sequence[Entry]) -> Done:
    """Trains the stack with a softmax head on the labelled rows; starts from `layers`' weights.

    Without layers it is the control: the same network from random weights, nothing frozen, one
    learning rate.
    """
    from stackae.tasks import FinetuneTask
    from stackae.training import fit

    settings = plan.config.finetune
    assert settings is not None
    seed = derive(job.seed, job.stage)
    torch.manual_seed(derive(seed, "init"))
    if layers:
        units = [load_unit(entry, layer) for entry, layer in zip(layers, plan.layers, strict=True)]
    else:
        units = [build(layer.config, layer.shape, layer.loss)[0] for layer in plan.layers]
    classifier = build_classifier(units, plan, settings)
    if layers and settings.freeze_encoder:
        classifier.encoder.requires_grad_(False)
    y = {split: np.load(data.file(f"labels-{split}.npy")) for split in SPLITS}
    labelled = np.flatnonzero(plan.split.labelled)
    train = Batches(
        open_features(data.file, "train"),
        y["train"],
        batch_size=settings.batch_size,
        rows=labelled,
        seed=seed,
    )
    val = Batches(open_features(data.file, "val"), y["val"], batch_size=CHUNK)
    scale = settings.encoder_lr_scale if layers else 1.0
    task = FinetuneTask(
        classifier, settings, encoder_lr=settings.lr * scale, seed=seed, steps=settings.epochs * len(train)
    )
    fitted = fit(job, task, train, val, settings, keep_best=True)
    _save_weights(classifier, job.folder / WEIGHTS)
    _write_history(fitted.history, job.folder)
    numbers: dict[str, Any] = {
        "epochs": len(fitted.history),
        "kept_epoch": fitted.kept_epoch,
        "seconds": fitted.seconds,
        "train_loss": fitted.history[fitted.kept_epoch - 1]["train_loss"],
    }
    for split in ("val", "test"):
        encode(
            classifier,
            open_features(data.file, split),
            job.folder / f"logits-{split}.npy",
            job.hardware.device,
        )
        numbers[split] = metrics.classification(np.load(job.folder / f"logits-{split}.npy"), y[split])
    return Done(numbers, [WEIGHTS, "metrics.csv", "logits-val.npy", "logits-test.npy"])


def probe(job: Job, plan: Plan, depths: Sequence[Entry]) -> Done:
    """Fits a logistic regression to the labelled rows' features at each depth (0 = the data).

    Features are standardised; of four strengths of the penalty the one best on validation is taken.
    At most 10,000 labelled rows are used.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    y = {split: np.load(depths[0].file(f"labels-{split}.npy")) for split in SPLITS}
    labelled = np.flatnonzero(plan.split.labelled)
    if len(labelled) > PROBE_ROWS:
        drawn = np.random.default_rng(derive(job.seed, job.stage)).choice(labelled, PROBE_ROWS, replace=False)
        labelled = np.sort(drawn)
    found = []
    with job.progress.stage(job.stage, len(depths), step="depth") as line:
        for depth, entry in enumerate(depths):
            x = {split: flat(open_features(entry.file, split)) for split in SPLITS}
            rows, best, best_accuracy = x["train"][labelled], None, -1.0
            for strength in PROBE_STRENGTHS:
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(C=strength, max_iter=200, tol=1e-3)
                )
                model.fit(rows, y["train"][labelled])
                accuracy = model.score(x["val"], y["val"])
                if accuracy > best_accuracy:
                    best, best_accuracy, chosen = model, accuracy, strength
            assert best is not None
            test = best.score(x["test"], y["test"])
            found.append(
                {
                    "depth": depth,
                    "C": chosen,
                    "val": {"accuracy": best_accuracy},
                    "test": {"accuracy": float(test)},
                }
            )
            line.advance(depth + 1, 0.0, {"val_accuracy": best_accuracy})
    return Done({"depths": found}, [])


def load_unit(entry: Entry, layer: PlannedLayer) -> DenseUnit:
    """The trained unit of a finished pretraining stage."""
    unit, _ = build(layer.config, layer.shape, layer.loss)
    unit.load_state_dict(load_file(entry.file(WEIGHTS)))
    return unit.eval()


def load_decoder(entry: Entry, layer: PlannedLayer) -> nn.Module:
    """The trained decoder of a finished pretraining stage, with its output activation."""
    return nn.Sequential(load_unit(entry, layer).decoder, LOSSES[layer.loss].activation())


def load_classifier(entry: Entry, plan: Plan) -> Classifier:
    """The fine-tuned classifier of a finished stage."""
    settings = plan.config.finetune
    assert settings is not None
    units = [build(layer.config, layer.shape, layer.loss)[0] for layer in plan.layers]
    classifier = build_classifier(units, plan, settings)
    classifier.load_state_dict(load_file(entry.file(WEIGHTS)))
    return classifier


def build_classifier(units: Sequence[DenseUnit], plan: Plan, settings: FinetuneConfig) -> Classifier:
    """The units' encoders, stacked, under a fresh softmax head."""
    return Classifier(
        Encoder([unit.encoder for unit in units]),
        plan.layers[-1].config.width,
        len(plan.classes),
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
    )


def _save_weights(module: nn.Module, path: Path) -> None:
    """Saves a module's tensors; a tied weight is written once under each of its names."""
    save_file({name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}, path)


def _write_history(history: Sequence[dict[str, float]], folder: Path) -> None:
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
