"""How badly a stack reconstructs rows, and up to which error a row is usual."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from stackae.data.features import slices
from stackae.shallow.losses import Loss
from stackae.stack import Decoder, Encoder

NOVEL = 0.999
"""The share of the validation rows whose reconstruction error counts as usual."""


def row_errors(encoder: Encoder, decoder: Decoder, loss: Loss, x: Tensor) -> Tensor:
    """Compute the first layer's loss of each row of x (rows, *shape) through the whole stack, (rows,)."""
    if not len(x):
        return x.new_empty(0)
    output = encoder(x)
    *upper, first = decoder.layers
    for layer in upper:
        output = layer(output)
    # Without its output activation: a loss takes what comes before.
    assert isinstance(first, nn.Sequential)
    return loss.each(first[0](output), x)


@torch.no_grad()
def novelty(encoder: Encoder, decoder: Decoder, loss: Loss, x: np.ndarray) -> float:
    """Find the error that NOVEL of the rows x (rows, *shape), which training did not fit, do not exceed."""
    encoder.eval(), decoder.eval()
    errors = [row_errors(encoder, decoder, loss, torch.from_numpy(np.array(x[part]))) for part in slices(x)]
    return float(np.quantile(torch.cat(errors).numpy(), NOVEL))
