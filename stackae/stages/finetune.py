"""The stage with labels: the stack under a softmax head, pretrained or, as the control, from scratch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stackae import metrics
from stackae.build import AnyUnit
from stackae.data.batches import Batches
from stackae.data.features import SPLITS, encode, open_features, read_array
from stackae.data.rows import chunk_rows
from stackae.plan import Plan
from stackae.seeds import derive
from stackae.stage_context import Done, Job
from stackae.stages.pretrain import write_history
from stackae.stages.weights import build_classifier, load_units
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights


def finetune(
    job: Job, plan: Plan, data: Entry, layers: list[Entry] | None, unrolled: Entry | None = None
) -> Done:
    """Trains the stack with a softmax head on the labelled rows; starts from `layers`' weights.

    Without layers it is the control: the same network from random weights, nothing frozen, one
    learning rate.
    """
    from stackae.tasks import FinetuneTask
    from stackae.training import fit

    settings = plan.config.finetune
    assert settings is not None
    assert settings.epochs != "auto"
    seed = plan.seed(job.stage)
    torch.manual_seed(derive(seed, "init"))
    units: list[AnyUnit] = (
        load_units(plan, layers, unrolled) if layers is not None else [layer.unit() for layer in plan.layers]
    )
    classifier = build_classifier(plan, units, settings)
    if layers is not None and settings.freeze_encoder:
        classifier.encoder.requires_grad_(False)
    y = {split: read_array(data.file(f"labels-{split}.npy")) for split in SPLITS}
    labelled = np.flatnonzero(plan.split.labelled)
    train = Batches(
        open_features(data.file, "train"),
        y["train"],
        batch_size=settings.batch_size,
        rows=labelled,
        seed=seed,
        balanced=settings.balance == "sampling",
    )
    x_val = open_features(data.file, "val")
    val = Batches(x_val, y["val"], batch_size=chunk_rows(x_val.shape[1:]))
    scale = settings.encoder_lr_scale if layers is not None else 1.0
    task = FinetuneTask(
        classifier,
        settings,
        encoder_lr=settings.lr * scale,
        seed=seed,
        steps=settings.epochs * len(train),
        weights=class_weights(y["train"][labelled]) if settings.balance == "weights" else None,
    )
    fitted = fit(job, task, train, val, settings, keep_best=True)
    save_weights(job.folder / WEIGHTS, {"": classifier})
    write_history(fitted.history, job.folder)
    numbers: dict[str, Any] = {
        "epochs": len(fitted.history),
        "kept_epoch": fitted.kept_epoch,
        "seconds": fitted.seconds,
        "train_loss": fitted.history[fitted.kept_epoch - 1]["train_loss"],
    }
    for split in ("val", "test"):
        x = open_features(data.file, split)
        encode(classifier, x, job.folder / f"logits-{split}.npy", job.hardware.device)
        logits = np.load(job.folder / f"logits-{split}.npy", mmap_mode="r")
        numbers[split] = metrics.classification(logits, y[split])
    return Done(numbers, [WEIGHTS, "metrics.csv", "logits-val.npy", "logits-test.npy"])


def class_weights(y: np.ndarray) -> torch.Tensor:
    """A weight for each class, inverse to its rows: n / (classes × its rows), on average 1 over the rows."""
    sizes = np.bincount(y)
    return torch.from_numpy((len(y) / (len(sizes) * sizes)).astype(np.float32))
