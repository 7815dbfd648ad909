"""One training run: the trainer, its checkpoints, early stopping, and what can go wrong in it."""

from stackae.training.checkpoint import CHECKPOINT
from stackae.training.fit import Fitted, fit

__all__ = ["CHECKPOINT", "Fitted", "fit"]
