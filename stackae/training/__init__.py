"""One training run: the trainer, its checkpoints, early stopping, and what can go wrong in it."""

from stackae.training.autosave import CHECKPOINT
from stackae.training.fitting import Fitted, fit

__all__ = ["CHECKPOINT", "Fitted", "fit"]
