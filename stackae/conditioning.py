"""What stands around a classifier while it learns, and is gone from the model afterwards.

Inputs are scaled, each by a number of its own, and made noisy, and every layer is normalised. All of it is
folded into the weights in the end, so that a model, its export and its speed are those of a plain stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from stackae.shallow.divided import drawn
from stackae.shallow.normalisation import Normalisation, adopt, fold, fold_into, measure, normalise
from stackae.stack import Classifier


class Entry(nn.Module):
    """Multiplies each input by its scale and, while it trains, adds noise: (rows, *shape) -> the same.

    `noise` is the standard deviation of the noise on the scaled input.
    """

    scale: Tensor

    def __init__(self, scale: Tensor, noise: float) -> None:
        super().__init__()
        self.register_buffer("scale", scale)
        self.noise = noise

    def scaled(self, x: Tensor) -> Tensor:
        """Multiply each input by its scale, without noise."""
        return x * self.scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.scaled(x)
        return x + self.noise * drawn(x, torch.randn_like) if self.training and self.noise else x


def condition(
    classifier: Classifier,
    rows: Tensor,
    *,
    batch_norm: bool,
    noise: float,
    input_noise: float,
    scale: Tensor | None,
    pretrained: bool,
    top: bool = False,
) -> None:
    """Make a classifier ready for training, in place.

    With `batch_norm` every layer is normalised, with noise of standard deviation `noise` behind, and with
    `top` the logits too; that on the input, `input_noise`, is in units of the inputs' own deviation. `scale`
    (features,) is for inputs that are flat. A pretrained network keeps, on the unscaled `rows` (rows,
    *shape), the means and deviations of its codes.
    """
    if batch_norm:
        for layer in classifier.encoder.layers:
            assert isinstance(layer, nn.Sequential)
            normalise(layer, noise)
    if batch_norm and pretrained:
        adopt(classifier.encoder, rows)
    deviation = rows.flatten(1).var(0, correction=0).mean().sqrt().item()
    scales = torch.ones(rows.shape[1:]) if scale is None else scale.view(rows.shape[1:])
    classifier.entry = Entry(scales, input_noise * deviation)
    if top:
        # What is normalised must not be all zero.
        nn.init.normal_(classifier.head.weight, std=1 / math.sqrt(classifier.head.in_features))
        classifier.top = Normalisation(classifier.head.out_features, noise)


@contextmanager
def quiet(classifier: Classifier) -> Iterator[None]:
    """Leave the noise away for a while; what normalises over a batch goes on doing so."""
    noisy = [module for module in classifier.modules() if isinstance(module, Normalisation | Entry)]
    noises = [module.noise for module in noisy]
    try:
        for module in noisy:
            module.noise = 0.0
        yield
    finally:
        for module, noise in zip(noisy, noises, strict=True):
            module.noise = noise


@torch.no_grad()
def unconditioned(classifier: Classifier, rows: Tensor) -> None:
    """Make a trained classifier plain again, in place: what `condition` added is folded into its weights.

    The statistics of the normalisation are those of `rows`, what the classifier has learnt from.
    """
    measure(classifier, rows)
    for layer in classifier.encoder.layers:
        assert isinstance(layer, nn.Sequential)
        if any(isinstance(module, Normalisation) for module in layer):
            fold(layer)
    top, classifier.top = classifier.top, nn.Identity()
    if isinstance(top, Normalisation):
        fold_into(top, classifier.head, *([] if classifier.shortcut is None else [classifier.shortcut]))
    entry, classifier.entry = classifier.entry, nn.Identity()
    assert isinstance(entry, Entry)
    if (entry.scale == 1).all():
        return
    first = (module for module in classifier.encoder.layers[0].modules() if isinstance(module, nn.Linear))
    for linear in (next(first), classifier.shortcut):
        if linear is not None:
            linear.weight.mul_(entry.scale.flatten())
