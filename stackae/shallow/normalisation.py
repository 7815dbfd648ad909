"""Batch normalisation that is there while a network trains, and folded into its weights afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stackae.shallow.divided import are_divided, drawn, of_each, rows_of_each, whole_rows

VARIANCE = 1e-5
"""Added to each variance, so that what is the same for all rows is not divided by nothing."""


class Normalisation(nn.Module):
    """Normalises each channel over a batch, then scales and shifts it: (rows, channels, *sizes) -> the same.

    While it trains, `noise` is the standard deviation of what is added between the two, as in Rasmus et al.
    2015 (Semi-supervised learning with ladder networks, section 3.1). In eval mode, and where a batch has one
    value of each channel, it normalises by the mean and variance that `measure` has found. Ioffe & Szegedy
    2015, algorithms 1 and 2.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int, noise: float = 0.0) -> None:
        super().__init__()
        self.channels = channels
        self.noise = noise
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))
        self.measuring = False

    def forward(self, x: Tensor) -> Tensor:
        # In float32 whatever precision the matrix products were made in: a variance is a small difference.
        x = x.float()
        if self.measuring:
            others = [axis for axis in range(x.ndim) if axis != 1]
            variance, mean = torch.var_mean(x, others, correction=0)
            self.mean.copy_(mean)
            self.variance.copy_(variance)
        # One value has no variance of its own.
        if not self.training or whole_rows(len(x)) * math.prod(x.shape[2:]) <= 1:
            return F.batch_norm(x, self.mean, self.variance, self.gain, self.bias, eps=VARIANCE)
        if not self.noise and not are_divided():
            return F.batch_norm(x, None, None, self.gain, self.bias, training=True, eps=VARIANCE)
        return self.scaled(self.standardised(x))

    def standardised(self, x: Tensor) -> Tensor:
        """Normalise over the batch and add the noise, without gain and bias: the first half of training."""
        x = standardise(x)
        return x + self.noise * drawn(x, torch.randn_like) if self.noise else x

    def scaled(self, x: Tensor) -> Tensor:
        """Scale and shift what is normalised: the second half."""
        channels = (-1, *[1] * (x.ndim - 2))
        return x * self.gain.view(channels) + self.bias.view(channels)


def standardise(x: Tensor) -> Tensor:
    """Give each channel mean 0 and variance 1 over the batch: (rows, channels, *sizes) -> the same."""
    x = x.float()
    if not are_divided():
        return F.batch_norm(x, None, None, training=True, eps=VARIANCE)
    others = [axis for axis in range(x.ndim) if axis != 1]
    own = x.sum(others, keepdim=True) / max(1, x.numel() // x.shape[1])
    # Means and sums of squares about them, put together (Chan et al. 1979, equation 1.5b): the difference of
    # two large sums would not be a variance to rely on.
    means, squares = of_each(torch.stack([own, (x - own).square().sum(others, keepdim=True)])).unbind(1)
    counts = x.new_tensor(rows_of_each(len(x))).view(-1, *[1] * x.ndim) * math.prod(x.shape[2:])
    mean = (counts * means).sum(0) / counts.sum()
    variance = (squares + counts * (means - mean).square()).sum(0) / counts.sum()
    return (x - mean) * torch.rsqrt(variance + VARIANCE)


def standardise_present(x: Tensor, share: Tensor) -> Tensor:
    """Give each channel of each network mean 0 and variance 1 over its rows: (networks, rows, channels).

    `share` (networks, rows, 1) is what each row counts; of a network the rows' add up to 1.
    """
    x = x.float()
    centred = x - (share * x).sum(1, keepdim=True)
    variance = (share * centred.square()).sum(1, keepdim=True)
    return centred * torch.rsqrt(variance + VARIANCE)


def normalise(encoder: nn.Sequential, noise: float = 0.0) -> None:
    """Put a normalisation behind the linear map or convolution of a unit's encoder, in place."""
    place, linear = _linear(encoder)
    # Whatever it adds is taken away again.
    assert linear.bias is not None
    linear.bias.requires_grad_(False)
    encoder.insert(place + 1, Normalisation(len(linear.weight), noise).to(linear.weight.device))


@torch.no_grad()
def fold(encoder: nn.Sequential) -> None:
    """Fold a unit's normalisation into the weights and biases before it, so that the encoder is plain again.

    It computes what it computed in eval mode.
    """
    place, linear = _linear(encoder)
    normalisation = encoder[place + 1]
    assert isinstance(normalisation, Normalisation)
    fold_into(normalisation, linear)
    del encoder[place + 1]


@torch.no_grad()
def fold_into(
    normalisation: Normalisation, linear: nn.Linear | nn.Conv1d | nn.Conv2d, *without_bias: nn.Linear
) -> None:
    """Fold a normalisation into the maps whose sum it normalises; they may have no bias but the first."""
    assert linear.bias is not None
    factor = normalisation.gain * torch.rsqrt(normalisation.variance + VARIANCE)
    for each in (linear, *without_bias):
        each.weight.mul_(factor.view(-1, *[1] * (each.weight.ndim - 1)))
    linear.bias.copy_((linear.bias - normalisation.mean) * factor + normalisation.bias)
    linear.bias.requires_grad_(True)


@torch.no_grad()
def measure(network: nn.Module, rows: Tensor) -> None:
    """Set the means and variances of all normalisations of a network to those of rows, lowest first."""
    normalisations = list(_normalisations(network))
    training = network.training
    network.eval()
    for normalisation in normalisations:
        normalisation.measuring = True
    network(rows)
    for normalisation in normalisations:
        normalisation.measuring = False
    network.train(training)


@torch.no_grad()
def adopt(network: nn.Module, rows: Tensor) -> None:
    """Set gains and biases to the deviations and means of rows, so that the network computes what it did."""
    # With gains of 1 and biases of 0 a layer above would see other codes.
    for normalisation in _normalisations(network):
        measure(network, rows)
        normalisation.gain.copy_((normalisation.variance + VARIANCE).sqrt())
        normalisation.bias.copy_(normalisation.mean)


def _normalisations(network: nn.Module) -> Iterator[Normalisation]:
    return (module for module in network.modules() if isinstance(module, Normalisation))


def _linear(encoder: nn.Sequential) -> tuple[int, nn.Linear | nn.Conv1d | nn.Conv2d]:
    """Return the place of a unit encoder's linear map or convolution, and the map."""
    return next(
        (place, module)
        for place, module in enumerate(encoder)
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)
    )
