"""Stacked autoencoders as estimators of scikit-learn, trained by the same main path as any run."""

import os

# As in commands/: torch reads it when it is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from stackae.estimator.autoencoder import StackedAutoencoder
from stackae.estimator.classifier import StackedAutoencoderClassifier

__all__ = ["StackedAutoencoder", "StackedAutoencoderClassifier"]
