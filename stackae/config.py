"""The configuration of one run: the whole YAML and nothing but the YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ActivationName = Literal["relu", "sigmoid", "tanh", "gelu", "selu", "leaky_relu", "linear", "top_k"]
LossName = Literal["auto", "bernoulli", "squared_error"]
OptimizerName = Literal["adam", "adamw", "sgd"]
ScheduleName = Literal["constant", "cosine", "one_cycle"]

Switch = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
PositiveInt = Annotated[int, Field(ge=1, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
EpochsOrNone = Annotated[int, Field(ge=0, strict=True)]
Share = Annotated[float, Field(gt=0, lt=1, strict=True)]


class Section(BaseModel):
    """What every section of the file has in common: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


# ---- data


class PerClass(Section):
    per_class: PositiveInt
    """How many labelled training rows to keep of each class."""


class SplitConfig(Section):
    pool: Switch = False
    """Put the published training and test rows together first and draw the parts anew."""
    train: PositiveInt | None = None
    """Training rows to keep (drawn, stratified by class); null keeps all that are left."""
    val: PositiveInt | Share = 0.1
    """Validation rows, taken from the training rows: a number, or a share of them between 0 and 1."""
    test: PositiveInt | Share | None = None
    """Test rows: a number or a share. Null takes the published test part, or 0.2 where there is none."""


class DataConfig(Section):
    source: str = "digits"
    """`digits`, `mnist`, `fashion_mnist`, or the path of an `.npz` file with the arrays `x`, `y`
    and, if wanted, `x_test`, `y_test`."""
    root: str | None = None
    """Folder of the IDX files; null takes the environment variable STACKAE_DATA, else the user's cache
    folder."""
    labels: Literal["all"] | PositiveInt | PerClass = "all"
    """Labels to keep: `all`, a number (stratified by class), or `{per_class: n}`. The other training rows
    become unlabelled."""
    split: SplitConfig = SplitConfig()
    """How rows are divided into training, validation and test."""


# ---- layers

PRESETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "denoising": {"corruption": {"type": "masking"}},
    "sparse": {"penalties": [{"type": "kl"}], "activation": "sigmoid"},
    "k_sparse": {"activation": "top_k"},
    "contractive": {"penalties": [{"type": "contractive"}], "activation": "sigmoid"},
    "variational": {"penalties": [{"type": "gaussian_kl"}], "activation": "linear"},
    "rbm": {"activation": "sigmoid", "tied": True},
}
"""What a kind fills in where the file says nothing."""


class MaskingConfig(Section):
    type: Literal["masking"] = "masking"
    """Each input is set to zero with a given probability."""
    rate: Fraction = 0.25
    """Probability with which each input is set to zero, in [0, 1)."""


class GaussianConfig(Section):
    type: Literal["gaussian"]
    """Gaussian noise is added to each input."""
    sigma: PositiveFloat = 0.3
    """Standard deviation of the noise that is added, in the units of the layer's input."""
    clip: Switch = False
    """Clip the noisy input to [0, 1]."""


class SaltPepperConfig(Section):
    type: Literal["salt_pepper"]
    """Each input is set to 0 or to 1, with equal chances, with a given probability."""
    rate: Fraction = 0.25
    """Probability with which each input is replaced, in [0, 1)."""


class SwapConfig(Section):
    type: Literal["swap"]
    """Each input is replaced by the same column's value in another row with a given probability."""
    rate: Fraction = 0.15
    """Probability with which each input is replaced, in [0, 1)."""


class MixPartConfig(Section):
    probability: Annotated[float, Field(gt=0, le=1, strict=True)]
    """Probability with which a row is corrupted in this way; those of a mix add up to 1."""
    corruption: Annotated[
        MaskingConfig | GaussianConfig | SaltPepperConfig | SwapConfig, Field(discriminator="type")
    ]
    """What is done to the row."""


class MixConfig(Section):
    type: Literal["mix"]
    """Each row is corrupted in one of several ways, drawn at random."""
    parts: tuple[MixPartConfig, ...] = Field(min_length=1)
    """The ways, with their probabilities."""

    @model_validator(mode="after")
    def _probabilities_add_up(self) -> Self:
        total = sum(part.probability for part in self.parts)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the probabilities of a mix add up to {total:g}; they must add up to 1")
        return self


CorruptionConfig = Annotated[
    MaskingConfig | GaussianConfig | SaltPepperConfig | SwapConfig | MixConfig, Field(discriminator="type")
]


class EmphasisConfig(Section):
    alpha: NonNegativeFloat = 1.0
    """Weight of the loss on inputs that were corrupted."""
    beta: NonNegativeFloat = 0.5
    """Weight of the loss on the other inputs."""


class KLPenaltyConfig(Section):
    type: Literal["kl"]
    """Kullback-Leibler divergence of each unit's mean activity from a target."""
    rho: Share = 0.05
    """The target activity, between 0 and 1."""
    beta: PositiveFloat = 1.0
    """The penalty's weight."""
    average: Literal["batch", "running"] = "batch"
    """Measure the activity on the batch, or as a running mean over batches."""


class L1PenaltyConfig(Section):
    type: Literal["l1"]
    """Sum of the codes' absolute values."""
    alpha: PositiveFloat = 1e-3
    """The penalty's weight."""


class ContractivePenaltyConfig(Section):
    type: Literal["contractive"]
    """Squared Frobenius norm of the Jacobian of the code with respect to the input."""
    lambda_: Annotated[PositiveFloat, Field(alias="lambda")] = 0.1
    """The penalty's weight."""


class GaussianKLPenaltyConfig(Section):
    type: Literal["gaussian_kl"]
    """Kullback-Leibler divergence of the code's distribution from the standard normal one, in nats."""
    beta: PositiveFloat = 1.0
    """The penalty's weight."""
    warmup: NonNegativeFloat = 0.0
    """Epochs over which the weight rises from 0."""


PenaltyConfig = Annotated[
    KLPenaltyConfig | L1PenaltyConfig | ContractivePenaltyConfig | GaussianKLPenaltyConfig,
    Field(discriminator="type"),
]


class FitConfig(Section):
    """What pretraining and fine-tuning have in common."""

    batch_size: PositiveInt = 100
    """Rows per optimiser step; the last, shorter batch of an epoch is used too."""
    optimizer: OptimizerName = "adam"
    """`adam`, `adamw` (decoupled weight decay) or `sgd` (with momentum)."""
    lr: PositiveFloat = 1e-3
    """Learning rate (the highest one, where a schedule is set)."""
    momentum: Fraction = 0.9
    """Momentum of `sgd`; the others ignore it."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; biases are never decayed."""
    schedule: ScheduleName = "constant"
    """`constant`, `cosine` (after `warmup` epochs, down to 0) or `one_cycle`."""
    warmup: NonNegativeFloat = 0.0
    """Epochs over which `constant` and `cosine` raise the learning rate from 0; may be a fraction."""
    epochs: PositiveInt = 20
    """How often the rows are gone through, at most."""
    patience: PositiveInt | None = None
    """Stop after so many epochs without a better validation and keep the best weights. Null never stops
    early."""


class PretrainConfig(FitConfig):
    epochs: EpochsOrNone = 20
    """Epochs per layer, at most; 0 leaves the layers at their random weights, for `unroll` to
    train."""
    patience: PositiveInt | None = None
    """Stop a layer after so many epochs without a better validation reconstruction and keep its best weights.
    Null never stops early."""


class LayerConfig(Section):
    kind: Literal["plain", "denoising", "sparse", "k_sparse", "contractive", "variational", "rbm"] = (
        "denoising"
    )
    """The preset: `plain`, `denoising` (masking unless `corruption` says otherwise), `sparse` (KL, unless
    `penalties` says otherwise), `k_sparse` (`top_k`), `contractive`, `variational` (a Gaussian code) or
    `rbm`."""
    unit: Literal["dense", "conv"] = "dense"
    """The autoencoder's parameters: `dense`, or `conv` for signals and images."""
    width: PositiveInt
    """Units in the layer, that is the length of its code; the channels of a `conv` layer."""
    activation: ActivationName = "relu"
    """The encoder's activation. `sparse`, `contractive` and `rbm` default to sigmoid, `k_sparse` to top_k,
    `variational` to linear."""
    k: PositiveInt | None = None
    """How many units `top_k` keeps for each row; null keeps a tenth of the width, at least one."""
    tied: Switch = False
    """Use the encoder's weights, transposed, as the decoder's. An `rbm` always does."""
    connectivity: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0
    """Share of a dense layer's weights that exist, drawn at random once."""
    kernel: PositiveInt = 3
    """Size of a `conv` layer's kernel along each axis."""
    stride: PositiveInt = 1
    """Step of a `conv` layer's kernel."""
    padding: Annotated[int, Field(ge=0, strict=True)] | None = None
    """Zeros around a `conv` layer's input; null takes half the kernel, rounded down."""
    pool: PositiveInt | None = None
    """Size of the max-pooling after a `conv` layer's activation; null pools nothing."""
    corruption: CorruptionConfig | None = None
    """What is done to the layer's own input in pretraining; `denoising` without it means masking at 0.25."""
    emphasis: EmphasisConfig | None = None
    """Different weights of the loss on corrupted and other inputs; null weighs all alike."""
    penalties: tuple[PenaltyConfig, ...] = ()
    """Terms added to the reconstruction loss."""
    gibbs_steps: PositiveInt = 1
    """Steps of contrastive divergence, for `rbm`."""
    persistent: Switch = False
    """Go on with the Gibbs chains of the batch before (persistent contrastive divergence), for `rbm`."""
    loss: LossName = "auto"
    """`bernoulli` (cross-entropy, for inputs in [0, 1]), `squared_error`, or `auto`: the one that fits the
    input. For `rbm` it says whether the visible units are binary or Gaussian with variance 1."""
    epochs: PositiveInt | None = None
    """Overrides `pretrain.epochs` for this layer."""
    batch_size: PositiveInt | None = None
    """Overrides `pretrain.batch_size` for this layer."""
    optimizer: OptimizerName | None = None
    """Overrides `pretrain.optimizer` for this layer."""
    lr: PositiveFloat | None = None
    """Overrides `pretrain.lr` for this layer."""
    momentum: Fraction | None = None
    """Overrides `pretrain.momentum` for this layer."""
    weight_decay: NonNegativeFloat | None = None
    """Overrides `pretrain.weight_decay` for this layer."""
    schedule: ScheduleName | None = None
    """Overrides `pretrain.schedule` for this layer."""
    warmup: NonNegativeFloat | None = None
    """Overrides `pretrain.warmup` for this layer."""
    patience: PositiveInt | None = None
    """Overrides `pretrain.patience` for this layer."""

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, given: Any) -> Any:
        """Fills in what the kind implies where the file says nothing."""
        if not isinstance(given, dict):
            return given
        preset = (
            PRESETS.get(given.get("kind", "denoising"), {}) if isinstance(given.get("kind", ""), str) else {}
        )
        missing = {name: value for name, value in preset.items() if given.get(name) is None}
        return given | missing

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "plain" and self.corruption is not None:
            raise ValueError("kind 'plain' has no corruption; use kind: denoising, or remove 'corruption'")
        if self.kind == "variational" and self.unit == "conv":
            raise ValueError("kind 'variational' is dense; put it on top of a conv layer, or remove 'unit'")
        if self.kind == "rbm":
            if self.unit == "conv":
                raise ValueError("kind 'rbm' is dense; remove 'unit'")
            if not self.tied:
                raise ValueError("kind 'rbm' has one weight matrix for both directions; remove 'tied: false'")
            if self.corruption is not None or self.penalties or self.emphasis is not None:
                raise ValueError("kind 'rbm' has no corruption, penalties or emphasis; remove them")
            if self.activation not in ("sigmoid", "linear"):
                raise ValueError(
                    "kind 'rbm' has hidden units that are binary (activation: sigmoid) or Gaussian (linear), "
                    f"not '{self.activation}'"
                )
        if self.activation == "top_k" and (self.k or 1) > self.width:
            raise ValueError(f"k is {self.k}, but the layer has {self.width} units; k is at most the width")
        if self.unit == "conv" and self.connectivity < 1:
            raise ValueError("connectivity is for dense layers; remove it from this conv layer")
        if self.emphasis is not None and self.corruption is None:
            raise ValueError("emphasis needs a corruption; add one, or remove 'emphasis'")
        types = [penalty.type for penalty in self.penalties]
        if len(set(types)) < len(types):
            raise ValueError("the same penalty is given twice; keep one of them")
        if "gaussian_kl" in types and self.kind != "variational":
            raise ValueError("the penalty 'gaussian_kl' needs kind: variational")
        if "kl" in types and self.activation != "sigmoid":
            raise ValueError(
                f"the penalty 'kl' needs activities in (0, 1): activation: sigmoid, not '{self.activation}'; "
                "or use the penalty 'l1'"
            )
        return self

    def pretrain(self, common: PretrainConfig) -> PretrainConfig:
        """The pretraining settings of this layer: the common ones, overridden by the layer's own."""
        own = {name: getattr(self, name) for name in PretrainConfig.model_fields}
        return common.model_copy(update={name: value for name, value in own.items() if value is not None})


# ---- fine-tuning and comparison


class FinetuneConfig(FitConfig):
    optimizer: OptimizerName = "adamw"
    """`adam`, `adamw` (decoupled weight decay) or `sgd` (with momentum)."""
    schedule: ScheduleName = "cosine"
    """`constant`, `cosine` (after `warmup` epochs, down to 0) or `one_cycle`."""
    epochs: PositiveInt = 50
    """Epochs over the labelled rows, at most."""
    patience: PositiveInt | None = 20
    """Stop after so many epochs without a better validation accuracy; the best weights are kept either way.
    Null never stops early."""
    dropout: Fraction = 0.5
    """Share of each hidden layer's outputs that is dropped in training."""
    input_dropout: Fraction = 0.2
    """Share of the inputs that is dropped in training."""
    label_smoothing: Fraction = 0.0
    """Share of each label's probability that is spread over all classes; helps where labels are few."""
    encoder_lr_scale: PositiveFloat = 1.0
    """The pretrained layers' learning rate, as a multiple of `lr`; the scratch control always uses 1."""
    freeze_encoder: Switch = False
    """Train the softmax head only. The scratch control is trained as a whole all the same."""


class UnrollConfig(FitConfig):
    epochs: EpochsOrNone = 0
    """Epochs of training the whole stack, mirrored into a deep autoencoder, to reconstruct its input; 0:
    none."""


class CompareConfig(Section):
    scratch: Switch = True
    """Train the same network from random weights with the same budget, as a control."""
    probe: Switch = True
    """Fit a logistic regression to the features of every depth."""


# ---- where and how


class TrainerConfig(Section):
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Where to compute; `auto` takes an accelerator if there is one."""
    devices: PositiveInt = 1
    """How many devices."""
    strategy: str = "auto"
    """Lightning's strategy, as `ddp`."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """`auto` takes bf16-mixed where the hardware multiplies in it, else 32-true. Part of the store's keys."""


class TrackingConfig(Section):
    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    """Weights & Biases: `auto` is online where a key is configured, else offline."""
    project: str = Field(default="stackae", min_length=1)
    """The W&B project."""
    entity: str | None = None
    """The W&B user or team; null takes the account's default."""


class Config(Section):
    """One run of stackae."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The run's name: its folder under `runs/` and its group in W&B. Letters, digits, dot, dash, underscore.
    The file's name where it is left out."""
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = 0
    """Seed of the split, the initial weights, the order of the rows, and the noise."""
    data: DataConfig = DataConfig()
    """What to learn from."""
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
    trainer: TrainerConfig = TrainerConfig()
    """Where and how to compute."""
    tracking: TrackingConfig = TrackingConfig()
    """Where to log."""
