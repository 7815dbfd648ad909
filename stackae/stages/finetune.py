"""The stage with labels: the stack under a softmax head, pretrained or, as the control, from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from stackae.build import AnyUnit
from stackae.data.batches import Batches
from stackae.data.features import SPLITS, encode, open_features, read_array
from stackae.data.rows import chunk_rows
from stackae.metrics import classification
from stackae.plan import Plan, build_classifier
from stackae.seeds import derive
from stackae.stage_context import StageContext, StageOutput
from stackae.stages.finished import load_units
from stackae.stages.pretrain import write_history
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights


def finetune(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train the stack with a softmax head on the labelled rows, from the pretrained weights."""
    return _train(context, plan, entries, pretrained=True)


def scratch(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train the control: the same network from random weights, nothing frozen, one learning rate."""
    return _train(context, plan, entries, pretrained=False)


def _train(
    context: StageContext, plan: Plan, entries: Mapping[str, Entry], *, pretrained: bool
) -> StageOutput:
    from stackae.tasks import FinetuneTask
    from stackae.training import fit

    settings = plan.config.finetune
    assert settings is not None
    assert settings.epochs != "auto"
    seed = plan.seed(context.stage)
    torch.manual_seed(derive(seed, "init"))
    data = entries[plan.data.name]
    units: list[AnyUnit] = (
        load_units(plan, entries) if pretrained else [layer.unit() for layer in plan.layers]
    )
    classifier = build_classifier(plan.layers, units, settings, len(plan.classes))
    if pretrained and settings.freeze_encoder:
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
        weight=_weight(plan, plan.split.train),
    )
    x_val = open_features(data.file, "val")
    val = Batches(
        x_val, y["val"], batch_size=chunk_rows(x_val.shape[1:]), weight=_weight(plan, plan.split.val)
    )
    encoder_lr_scale = settings.encoder_lr_scale if pretrained else 1.0
    task = FinetuneTask(
        classifier,
        settings,
        encoder_lr=settings.lr * encoder_lr_scale,
        seed=seed,
        steps=settings.epochs * len(train),
        weights=class_weights(y["train"][labelled]) if settings.balance == "weights" else None,
    )
    fitted = fit(context, task, train, val, settings, keep_best=True)
    save_weights(context.folder / WEIGHTS, {"": classifier})
    write_history(fitted.history, context.folder)
    metrics: dict[str, Any] = {
        "epochs": len(fitted.history),
        "kept_epoch": fitted.kept_epoch,
        "seconds": fitted.seconds,
        "train_loss": fitted.history[fitted.kept_epoch - 1]["train_loss"],
    }
    for split in ("val", "test"):
        x = open_features(data.file, split)
        encode(classifier, x, context.folder / f"logits-{split}.npy", context.hardware.device)
        logits = np.load(context.folder / f"logits-{split}.npy", mmap_mode="r")
        metrics[split] = classification(logits, y[split])
    return StageOutput(metrics, [WEIGHTS, "metrics.csv", "logits-val.npy", "logits-test.npy"])


def _weight(plan: Plan, rows: np.ndarray) -> np.ndarray | None:
    return None if plan.source.weight is None else plan.source.weight[rows]


def class_weights(y: np.ndarray) -> torch.Tensor:
    """Weigh each class inversely to its rows: n / (classes × its rows), on average 1 over the rows."""
    sizes = np.bincount(y)
    return torch.from_numpy((len(y) / (len(sizes) * sizes)).astype(np.float32))
