"""Corruptions, penalties and emphasis: what a layer is scored with."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stackae.config.section import Fraction, NonNegativeFloat, PositiveFloat, Section, Share, Switch


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
    """Each input is set to 0 or to 1, with equal probability, at a given rate."""
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
    """The corruption of the row."""


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
