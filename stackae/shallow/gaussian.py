"""The Gaussian unit: an encoder that gives a distribution of codes, as in a variational autoencoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stackae.shallow.activations import Activation
from stackae.shallow.divided import drawn
from stackae.shallow.units import Trace, connect, unflatten

LOG_VARIANCE_RANGE = (-20.0, 10.0)
"""Log-variances are clamped to it: standard deviations from 4.5e-5 to 148, whose exponentials stay finite."""


class GaussianUnit(nn.Module):
    """A dense autoencoder whose code is normally distributed: mean activation(W x + b), log-variance U x + d.

    Inputs of any shape (rows, *shape) are flattened; mean and log-variance are (rows, width). The
    features, which the encoder returns, are the mean. While the unit trains, what is decoded is a sample
    around it; in eval mode it is the mean itself. The decoder returns what the loss takes, as
    DenseUnit's does. `connectivity` is the share of each weight matrix that exists. Kingma & Welling
    2014, section 2.4 (the reparametrisation) and appendix C.2.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int, activation: Activation, *, connectivity: float = 1.0
    ) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.encoder = nn.Sequential(
            nn.Flatten(), connect(inputs, width, activation, connectivity), activation.make()
        )
        spread = connect(inputs, width, None, connectivity)
        # The variance starts at 1 for every input: the prior's, and neither noiseless nor drowned in noise.
        nn.init.zeros_(spread.weight)
        self.log_variance = nn.Sequential(nn.Flatten(), spread)
        self.decoder = nn.Sequential(connect(width, inputs, None, connectivity), unflatten(shape))

    @property
    def output_bias(self) -> Tensor:
        """The bias of the decoder's output: one per input."""
        output = self.decoder[0]
        assert isinstance(output, nn.Linear)
        return output.bias

    def trace(self, x: Tensor, rng: torch.Generator) -> Trace:
        mean = self.encoder(x)
        # In float32 whatever precision the matrix products were made in: an exponential magnifies rounding.
        log_variance = self.log_variance(x).float().clamp(*LOG_VARIANCE_RANGE)
        if not self.training:
            return Trace(x, mean, mean, log_variance)
        noise = drawn(mean, lambda rows: torch.randn(rows.shape, generator=rng, device=mean.device))
        return Trace(x, mean + torch.exp(log_variance / 2) * noise, mean, log_variance)
