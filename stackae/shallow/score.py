"""The score that a denoising autoencoder has learned."""

from __future__ import annotations

import torch
from torch import Tensor

from stackae.shallow.losses import Loss
from stackae.shallow.units import Unit


@torch.no_grad()
def score(unit: Unit, loss: Loss, x: Tensor, sigma: float) -> Tensor:
    """Estimate the gradient of the log density at x: (reconstruction - x) / sigma^2.

    (rows, *shape) -> (rows, *shape), in units of 1/x. For a unit in eval mode that was trained with `loss`
    on inputs with unclipped Gaussian noise of standard deviation `sigma` > 0. For the best such unit this
    is exactly the score of the data's density smoothed by the noise (Vincent 2011, section 4.3; Alain &
    Bengio 2014, theorem 1).
    """
    assert not unit.training, "the score is that of a trained unit: call unit.eval() first"
    reconstruction: Tensor = loss.activation()(unit.decoder(unit.encoder(x)))
    return (reconstruction - x) / sigma**2
