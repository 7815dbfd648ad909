"""One run: all sections of the file, and those that say where and how to compute and log."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stackae.config.data import DataConfig
from stackae.config.joint import LadderConfig
from stackae.config.layers import LayerConfig
from stackae.config.section import NonNegativeFloat, PositiveInt, Section, Switch
from stackae.config.training import BaselineName, FinetuneConfig, PretrainConfig, UnrollConfig


class CompareConfig(Section):
    scratch: Switch = True
    """Train the same network from random weights with the same budget, as a control."""
    probe: Switch = True
    """Fit a logistic regression to the features of every depth."""
    importance: Switch = True
    """Measure what each column of a table is worth to the classifier, unless that takes, by an estimate, more
    than a tenth of the time of the training."""
    baselines: Literal["auto", "none"] | Annotated[tuple[BaselineName, ...], Field(min_length=1)] = "auto"
    """Classifiers of scikit-learn that are fitted to the same labelled rows, for the verdict: `extra_trees`,
    `logistic_regression`, `svm`, `boosting`, each on the columns, and on these with the codes of all depths;
    and `label_spreading`, which learns from rows without labels too, on the columns that matter.
    `auto`: as many of them as take, by an estimate, a fifth of the time of the rest of the run. Those that
    are listed are fitted to the columns whatever they take."""


class TrainerConfig(Section):
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Where to compute; `auto` takes an accelerator if there is one."""
    devices: PositiveInt = 1
    """How many devices on each machine, a process for each; on `cpu` so many processes. Each batch is divided
    over them, so that batch size and learning rate mean the same as with one. See docs/scale.md."""
    num_nodes: PositiveInt = 1
    """How many machines, each with so many devices; the store lies where all of them see it."""
    strategy: Literal["auto", "ddp"] = "auto"
    """Lightning's strategy for several devices; both are its DDP."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` takes bf16-mixed where the hardware multiplies in it, else 32-true. Part of the store's keys."""
    threads: Literal["auto"] | PositiveInt = "auto"
    """Threads on the CPU. `auto` times a few steps of each fit with one and with all, and takes all where
    that is a fifth faster and the cores are not crowded. A fit that was stopped goes on with the number that
    it began with: with another, sums are rounded otherwise."""
    autosave: NonNegativeFloat = 30.0
    """Seconds between two checkpoints within a stage, which is what a kill can cost; 0: one after each batch.
    More where a checkpoint takes long to write, so that at most a twentieth of the time goes into it."""


LoggerName = Literal["wandb", "mlflow", "tensorboard", "csv"]


class TrackingConfig(Section):
    logger: LoggerName | Annotated[tuple[LoggerName, ...], Field(min_length=1)] = "wandb"
    """Where to log, one or several of `wandb`, `mlflow`, `tensorboard` and `csv`. MLflow logs where it is
    told to, as by MLFLOW_TRACKING_URI; the last two write into a folder of their name in the run's."""
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases: `auto` is online where a key is configured, else offline."""
    project: str = Field(default="stackae", min_length=1)
    """The W&B project, and MLflow's experiment."""
    entity: str | None = None
    """The W&B user or team; null takes the account's default."""
    tags: tuple[str, ...] = ()
    """Tags of all W&B runs."""
    notes: str | None = None
    """Notes on all W&B runs."""
    registry: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")
    """The W&B registry that finished models are linked to, under the run's name; null links none."""


class Config(Section):
    """One run of stackae."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run's name: its folder under `runs/` and its group in W&B. Letters, digits, dot, dash, underscore.
    The file's name where it is left out."""
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    """Seed of the split, the initial weights, the order of the rows, and the noise."""
    repeat: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    """Which repetition of what follows pretraining this is. Each keeps other labels and fine-tunes from a new
    start; all of a seed share their rows and their pretraining."""
    repeats: PositiveInt = 1
    """How many repetitions the verdict is over, from `repeat` on; the run keeps the model of the first. With
    one, the interval of the gain is over the test rows; with more it is over the repetitions."""
    data: DataConfig = DataConfig()
    """The data to learn from."""
    layers: tuple[LayerConfig, ...] = Field(min_length=1)
    """The autoencoders, from the input upwards."""
    pretrain: PretrainConfig = PretrainConfig()
    """How each layer is pretrained; a layer may override any of it."""
    unroll: UnrollConfig = UnrollConfig()
    """How the stack is trained to reconstruct as a whole, between pretraining and fine-tuning."""
    finetune: FinetuneConfig | None = FinetuneConfig()
    """How the stack with its softmax head is fine-tuned; null trains no classifier."""
    compare: CompareConfig = CompareConfig()
    """The controls that show what pretraining is worth."""
    report: Switch = True
    """Draw `report.html` into the run's folder at the end."""
    trainer: TrainerConfig = TrainerConfig()
    """Where and how to compute."""
    tracking: TrackingConfig = TrackingConfig()
    """Where to log."""

    @model_validator(mode="after")
    def _scales_flat_inputs(self) -> Self:
        if self.finetune and self.finetune.input_scale == "importance" and self.layers[0].unit == "conv":
            raise ValueError(
                "finetune.input_scale: importance is for a dense first layer; layers[0] is conv; remove it"
            )
        return self

    @model_validator(mode="after")
    def _learns_without_labels(self) -> Self:
        method = self.finetune and self.finetune.semi_supervised
        if not self.finetune or not method:
            return self
        called = f"finetune.semi_supervised: {method.type}"
        if self.finetune.freeze_encoder:
            raise ValueError(
                f"{called} trains the layers, and finetune.freeze_encoder forbids it; remove one"
            )
        if not isinstance(method, LadderConfig):
            return self
        conv = next((number for number, layer in enumerate(self.layers) if layer.unit == "conv"), None)
        if conv is not None:
            raise ValueError(f"{called} is for dense layers; layers[{conv}] is conv; ask for consistency")
        if not self.finetune.batch_norm:
            raise ValueError(f"{called} needs finetune.batch_norm: true")
        levels = len(self.layers) + 2
        if len(method.weights) > levels:
            raise ValueError(
                f"finetune.semi_supervised.weights: {len(method.weights)} weights for {levels} levels (the "
                "input, the layers, the logits); remove the last ones"
            )
        return self

    @model_validator(mode="after")
    def _divides_batches(self) -> Self:
        number = self.trainer.devices * self.trainer.num_nodes
        if number > 1 and self.finetune and self.finetune.semi_supervised:
            raise ValueError(
                f"finetune.semi_supervised: {self.finetune.semi_supervised.type} is for one device; remove "
                f"it, or trainer.devices: {self.trainer.devices}"
                + (f" and trainer.num_nodes: {self.trainer.num_nodes}" if self.trainer.num_nodes > 1 else "")
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_validate(self) -> Self:
        if self.data.labels_for_validation and self.finetune and self.finetune.validation != "auto":
            raise ValueError(
                "data.labels_for_validation and finetune.validation both say what validates; "
                "remove one of them"
            )
        return self

    @model_validator(mode="after")
    def _something_to_repeat(self) -> Self:
        if self.repeats > 1 and self.finetune is None:
            raise ValueError(
                f"repeats: {self.repeats} asks for repetitions of fine-tuning, and finetune is null; "
                "remove one of them"
            )
        return self
