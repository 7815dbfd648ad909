"""The stages with labels: the stack under a softmax head, pretrained or, as the control, from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from stackae.build import AnyUnit
from stackae.committee import together
from stackae.conditioning import condition, unconditioned
from stackae.config import FinetuneConfig, LadderConfig
from stackae.data.batches import Batches
from stackae.data.features import Together, encode, open_features, read_array, sample
from stackae.data.paired import Paired
from stackae.data.rows import chunk_rows
from stackae.metrics import classification
from stackae.plan import Plan, build_members, learn_side_by_side
from stackae.seeds import derive
from stackae.side_by_side import SideBySide
from stackae.stage_context import NOTHING, StageContext, StageOutput
from stackae.stages.finished import load_units
from stackae.stages.input_scale import importances
from stackae.stages.joint_cost import build_joint
from stackae.stages.pretrain import write_history
from stackae.store import Entry
from stackae.weights import WEIGHTS, save_weights

LENGTHS = {"finetune": "length", "scratch": "scratch-length", "labels-alone": "labels-alone-length"}
"""The stages that find how long to train others, by the names of these."""


def finetune(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train the stack with a softmax head on the labelled rows, from the pretrained weights.

    With folds it is one network for each, for a fixed length. After `length` it learns from all labelled rows
    for as long as that found best. Else it keeps its best weights by the rows that validate, or the last.
    Rows without labels are learnt from, too, where `finetune.semi_supervised` says how.
    """
    return _train(_Fit(context, plan, entries, pretrained=True), entries)


def scratch(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train the control: the same networks from random weights, nothing frozen, one learning rate."""
    return _train(_Fit(context, plan, entries, pretrained=False), entries)


def labels_alone(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Train the control that learns from labelled rows alone: from random weights, and for its own length."""
    return _train(_Fit(context, plan, entries, pretrained=False, alone=True), entries)


def length(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Find how long to fine-tune, on rows that are held out."""
    return _find_length(_Fit(context, plan, entries, pretrained=True))


def scratch_length(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Find how long to train the control, on rows that are held out."""
    return _find_length(_Fit(context, plan, entries, pretrained=False))


def labels_alone_length(context: StageContext, plan: Plan, entries: Mapping[str, Entry]) -> StageOutput:
    """Find how long to train on labelled rows alone, on rows that are held out."""
    return _find_length(_Fit(context, plan, entries, pretrained=False, alone=True))


class _Fit:
    """What the fits with labels have in common: the networks, the rows, and the task."""

    def __init__(
        self,
        context: StageContext,
        plan: Plan,
        entries: Mapping[str, Entry],
        *,
        pretrained: bool,
        alone: bool = False,
    ) -> None:
        settings = plan.alone if alone else plan.config.finetune
        assert settings is not None
        assert plan.labels is not None
        self.context, self.plan, self.use = context, plan, plan.labels
        self.settings: FinetuneConfig = settings
        self.seed = plan.seed(context.stage)
        self.frozen = pretrained and self.settings.freeze_encoder
        torch.manual_seed(derive(self.seed, "init"))
        units: list[AnyUnit] | None = load_units(plan, entries) if pretrained else None
        self.members = build_members(
            plan.layers,
            self.settings,
            len(plan.classes),
            max(1, self.use.folds),
            units,
            frozen=self.frozen,
        )
        self.classifiers = [member.classifier for member in self.members]
        self.network = together(self.classifiers)
        if self.frozen:
            for classifier in self.classifiers:
                classifier.encoder.requires_grad_(False)
        self.scale = self.settings.encoder_lr_scale if pretrained else 1.0
        self.pretrained = pretrained
        self.data = entries[plan.data.name]
        parts = ("train", "val")
        self.x = Together(*(open_features(self.data.file, part) for part in parts))
        self.y = np.concatenate([read_array(self.data.file(f"labels-{part}.npy")) for part in parts])
        numbers, weight = np.concatenate([plan.split.train, plan.split.val]), plan.source.weight
        self.weight = None if weight is None else weight[numbers]

    def batches(self, rows: np.ndarray) -> Batches:
        """Return training batches of these rows, marked among those of training and validation."""
        return Batches(
            self.x,
            self.y,
            batch_size=int(self.settings.batch_size),
            rows=np.flatnonzero(rows),
            seed=self.seed,
            balanced=self.settings.balance == "sampling",
            weight=self.weight,
            fold=self.use.fold,
        )

    def judged(self, rows: np.ndarray) -> Batches:
        """Return large batches of rows, in their order."""
        size = chunk_rows(self.x.shape[1:])
        return Batches(self.x, self.y, batch_size=size, rows=np.flatnonzero(rows), weight=self.weight)

    def train(
        self, labelled: Batches, val: Batches | None, *, epochs: int | None = None, keep_best: bool
    ) -> dict[str, Any]:
        """Train the networks, at most for so many epochs of the schedule, and return what came of it."""
        from stackae.tasks import FinetuneTask
        from stackae.training import fit

        settings, y = self.settings, self.y[labelled.numbers]
        assert settings.epochs != "auto"
        learnt = [labelled.numbers]
        if self.use.fold is not None:
            fold = self.use.fold[labelled.numbers]
            learnt = [labelled.numbers[fold != number] for number in range(len(self.members))]
        samples = [] if self.frozen else self._condition(learnt)
        weights = class_weights(y) if settings.balance == "weights" else None
        train: Batches | Paired = labelled
        joint: list[nn.Module] = []
        if settings.semi_supervised is not None:
            torch.manual_seed(derive(self.seed, "joint"))
            x = open_features(self.data.file, "train")
            spread = sample(x).flatten(1).var(0, correction=0).sum().sqrt().item()
            layers = self.plan.layers
            joint = [build_joint(settings.semi_supervised, each, layers, spread) for each in self.members]
            size, seed = settings.semi_supervised.batch_size, derive(self.seed, "beside")
            train = Paired(labelled, Batches(x, batch_size=size, seed=seed))
        steps = settings.epochs * len(train)
        lr, network = settings.lr * self.scale, self.network
        learner: SideBySide | None = None
        small = learn_side_by_side(self.plan.layers, settings, len(self.members))
        if small and not self.frozen and self.context.team.size == 1:
            learner = SideBySide(self.classifiers)
        task = FinetuneTask(
            learner or network,
            settings,
            encoder_lr=lr,
            seed=self.seed,
            steps=steps,
            weights=weights,
            joint=joint,
        )
        if samples and val is not None:
            task.measure_before_validation(network, samples[0])
        limited = settings if epochs is None else settings.model_copy(update={"epochs": epochs})
        fitted = fit(self.context, task, train, val, limited, keep_best=keep_best)
        if learner is not None:
            learner.hand_back()
        for classifier, sampled in zip(self.classifiers, samples, strict=False):
            unconditioned(classifier, sampled)
        self.network.eval()
        if self.context.team.leads:
            write_history(fitted.history, self.context.folder)
        return fitted.metrics | {"train_loss": fitted.history[fitted.kept_epoch - 1]["train_loss"]}

    def _condition(self, learnt: Sequence[np.ndarray]) -> list[torch.Tensor]:
        """Condition each network for the rows that it learns from, and return samples of these."""
        settings = self.settings
        assert settings.noise != "auto"
        input_noise = settings.noise if settings.input_noise == "auto" else settings.input_noise
        around = sample(open_features(self.data.file, "train"))
        # A control multiplies its inputs by what the stack does.
        paired = self.plan.seed("length" if self.context.stage in LENGTHS.values() else "finetune")
        samples = []
        for number, (classifier, rows) in enumerate(zip(self.classifiers, learnt, strict=True)):
            scale = None
            if settings.input_scale == "importance":
                seed = derive(paired, "scale", number)
                scale = importances(self.x, self.y, rows, seed, weight=self.weight)
            torch.manual_seed(derive(self.seed, "condition", number))
            condition(
                classifier,
                around,
                batch_norm=settings.batch_norm,
                noise=settings.noise,
                input_noise=input_noise,
                scale=scale,
                pretrained=self.pretrained,
                top=isinstance(settings.semi_supervised, LadderConfig),
            )
            samples.append(sample(self.x, rows) if settings.semi_supervised is None else around)
        return samples

    def out_of_fold(self) -> np.ndarray:
        """Return the logits (rows, classes) of the learnt rows, each by the network that left it out."""
        assert self.use.fold is not None
        fold = self.use.fold[self.use.learn]
        logits = np.empty((len(fold), len(self.plan.classes)), np.float32)
        for number, classifier in enumerate(self.classifiers):
            logits[fold == number] = _logits(classifier, self.judged(self.use.fold == number))
        return logits


def _train(fit: _Fit, entries: Mapping[str, Entry]) -> StageOutput:
    context, use, files = fit.context, fit.use, [WEIGHTS, "metrics.csv", "logits-test.npy"]
    if use.hold_out is not None and not use.refit:
        metrics = _keep_best(fit, files)
        if not context.team.leads:
            return NOTHING
    else:
        found = entries[LENGTHS[context.stage]].metrics if use.refit else {}
        epochs = found.get("kept_epoch")
        metrics = fit.train(fit.batches(use.learn), None, epochs=epochs, keep_best=False)
        if not context.team.leads:
            return NOTHING
        metrics["val"] = found.get("val")
        if use.folds:
            logits = fit.out_of_fold()
            np.save(context.folder / "logits-folds.npy", logits)
            files.append("logits-folds.npy")
            metrics["val"] = classification(logits, fit.y[use.learn])
    save_weights(context.folder / WEIGHTS, {"": fit.network})
    x_test, path = open_features(fit.data.file, "test"), context.folder / "logits-test.npy"
    encode(fit.network, x_test, path, context.hardware.device)
    logits = np.load(path, mmap_mode="r")
    metrics["test"] = classification(logits, read_array(fit.data.file("labels-test.npy")))
    return StageOutput(metrics, files)


def _find_length(fit: _Fit) -> StageOutput:
    files = ["metrics.csv"]
    return StageOutput(_keep_best(fit, files), files)


def _keep_best(fit: _Fit, files: list[str]) -> dict[str, Any]:
    """Train on what is not held out, keep the weights that are best on what is, and judge them there."""
    use = fit.use
    assert use.hold_out is not None
    held_out = fit.judged(use.hold_out)
    metrics = fit.train(fit.batches(use.first), held_out, keep_best=True)
    if not fit.context.team.leads:
        return metrics
    logits = _logits(fit.network, held_out)
    np.save(fit.context.folder / "logits-val.npy", logits)
    files.append("logits-val.npy")
    metrics["val"] = classification(logits, fit.y[use.hold_out])
    return metrics


@torch.no_grad()
def _logits(network: nn.Module, batches: Batches) -> np.ndarray:
    return np.concatenate([network(batch.x).numpy() for batch in batches])


def class_weights(y: np.ndarray) -> torch.Tensor:
    """Weigh each class inversely to its rows: n / (classes × its rows), on average 1 over the rows."""
    # Where rows are held out by group or by time, a class may have none left.
    sizes = np.maximum(np.bincount(y), 1)
    return torch.from_numpy((len(y) / (len(sizes) * sizes)).astype(np.float32))
