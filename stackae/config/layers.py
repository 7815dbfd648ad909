"""The autoencoders: what a layer is, and what its kind fills in."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stackae.config.objective import CorruptionConfig, EmphasisConfig, PenaltyConfig
from stackae.config.section import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section, Switch
from stackae.config.training import OptimizerName, PretrainConfig, ScheduleName

ActivationName = Literal["relu", "sigmoid", "tanh", "gelu", "selu", "leaky_relu", "linear", "top_k"]
LossName = Literal["auto", "bernoulli", "squared_error", "mixed"]

PRESETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "denoising": {"corruption": {"type": "masking"}},
    "sparse": {"penalties": [{"type": "kl"}], "activation": "sigmoid", "batch_norm": False},
    "k_sparse": {"activation": "top_k"},
    "contractive": {"penalties": [{"type": "contractive"}], "activation": "sigmoid", "batch_norm": False},
    "variational": {"penalties": [{"type": "gaussian_kl"}], "activation": "linear", "batch_norm": False},
    "rbm": {"activation": "sigmoid", "tied": True, "batch_norm": False},
}
"""The settings that a kind fills in where the file says nothing."""


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
    """The corruption of the layer's own input in pretraining; `denoising` without it masks at rate 0.25."""
    emphasis: EmphasisConfig | None = None
    """Different weights of the loss on corrupted and other inputs; null weighs all alike."""
    penalties: tuple[PenaltyConfig, ...] = ()
    """Terms added to the reconstruction loss."""
    gibbs_steps: PositiveInt = 1
    """Steps of contrastive divergence, for `rbm`."""
    persistent: Switch = False
    """Go on with the Gibbs chains of the batch before (persistent contrastive divergence), for `rbm`."""
    loss: LossName = "auto"
    """`bernoulli` (cross-entropy, for inputs in [0, 1]), `squared_error`, `mixed` (for a first layer on a
    table: cross-entropy of categories, squared error of numbers), or `auto`: the one that fits the input.
    For `rbm` it says whether the visible units are binary or Gaussian with variance 1."""
    epochs: PositiveInt | Literal["auto"] | None = None
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
    patience: PositiveInt | Literal["auto"] | None = None
    """Overrides `pretrain.patience` for this layer."""
    batch_norm: Switch | None = None
    """Overrides `pretrain.batch_norm` for this layer. `sparse`, `contractive`, `variational`, `rbm` and tied
    layers default to false."""

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, settings: Any) -> Any:
        """Fill in what the kind implies where the file says nothing."""
        if not isinstance(settings, dict):
            return settings
        preset = (
            PRESETS.get(settings.get("kind", "denoising"), {})
            if isinstance(settings.get("kind", ""), str)
            else {}
        )
        if settings.get("tied") is True:
            preset = {"batch_norm": False} | preset
        missing = {name: value for name, value in preset.items() if settings.get(name) is None}
        # `corruption: {rate: 0.4}` leaves open only what the preset says.
        partial = {
            name: value | settings[name]
            for name, value in preset.items()
            if isinstance(value, dict)
            and isinstance(settings.get(name), dict)
            and "type" not in settings[name]
        }
        return settings | missing | partial

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.batch_norm and self.tied:
            raise ValueError(
                "a tied layer has one weight matrix for both directions, and batch_norm would change one of "
                "them; remove one of the two"
            )
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
        """Return the pretraining settings of this layer: the common ones, overridden by the layer's own."""
        overrides = {name: getattr(self, name) for name in PretrainConfig.model_fields}
        return common.model_copy(
            update={name: value for name, value in overrides.items() if value is not None}
        )
