"""Pictures of a layer while it learns, for the log of its stage."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from stackae.build import AnyUnit
from stackae.data.features import open_features
from stackae.pictures import filter_images, grid, is_image
from stackae.plan import Plan, stacked
from stackae.store import Entry

WATCHED_ROWS = 10


def pictures_of(
    plan: Plan, units: Sequence[AnyUnit], data: Entry
) -> Callable[[], Mapping[str, np.ndarray]] | None:
    """Return a function that draws reconstructions of validation images, and the first layer's weights.

    It works on copies, so that nothing of the training is touched. None where the data are no images.
    """
    shape = plan.layers[0].shape
    if not is_image(shape):
        return None
    rows = np.array(open_features(data.file, "val")[:WATCHED_ROWS])

    def draw() -> Mapping[str, np.ndarray]:
        encoder, decoder = stacked(plan.layers, [copy.deepcopy(unit).cpu().eval() for unit in units])
        with torch.no_grad():
            rebuilt = nn.Sequential(encoder, decoder)(torch.from_numpy(rows)).numpy()
        pictures = {"reconstructions": grid(np.concatenate([rows, rebuilt]), scale=1.0, columns=len(rows))}
        if len(units) == 1:
            weights = next((each for each in units[0].encoder.parameters() if each.ndim > 1), None)
            filters = (
                None if weights is None else filter_images(weights.detach().float().cpu().numpy(), shape)
            )
            if filters is not None:
                pictures["weights"] = grid(filters, scale=1.0)
        return pictures

    return draw
