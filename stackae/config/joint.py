"""How fine-tuning uses the rows without labels too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stackae.config.section import NonNegativeFloat, PositiveFloat, PositiveInt, Section


class _Beside(Section):
    batch_size: PositiveInt = 250
    """Rows without labels per optimiser step, at most, beside a batch of labelled ones; an epoch goes through
    all training rows once in this way."""


class LadderConfig(_Beside):
    type: Literal["ladder"]
    """Denoising with lateral connections goes on while labels are learnt (Rasmus et al. 2015). The input,
    every layer and the logits are noisy; from the top down, each layer's clean values are estimated from its
    noisy ones and from the estimate above."""
    weights: tuple[NonNegativeFloat, ...] = Field(default=(10.0,), min_length=1)
    """How much the mean squared errors of the estimates count beside the cross-entropy: that of the input,
    then those of the layers, last that of the logits. Those that are left out count nothing."""


class ConsistencyConfig(_Beside):
    type: Literal["consistency"]
    """Rows that are moved a little, in the direction that changes the prediction most, keep their prediction
    (virtual adversarial training, Miyato et al. 2018)."""
    epsilon: PositiveFloat | Literal["auto"] = "auto"
    """How far rows are moved, in units of the square root of the inputs' total variance. `auto`: 0.03 in a
    table and 0.3 elsewhere."""
    weight: NonNegativeFloat = 1.0
    """How much the divergence of the predictions counts beside the cross-entropy."""


class ReconstructionConfig(_Beside):
    type: Literal["reconstruction"]
    """The stack, mirrored into a deep autoencoder, goes on reconstructing its corrupted input, under the
    first layer's loss and corruption."""
    weight: NonNegativeFloat = 1.0
    """How much the loss, divided by the number of inputs, counts beside the cross-entropy."""


SemiSupervisedConfig = Annotated[
    LadderConfig | ConsistencyConfig | ReconstructionConfig, Field(discriminator="type")
]
