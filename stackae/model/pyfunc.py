"""A finished model as MLflow loads it, by the name of this module: `mlflow.pyfunc.load_model(…).predict`."""

from __future__ import annotations

from stackae.model.files import load
from stackae.model.model import Model


def _load_pyfunc(path: str) -> Model:
    """Load the model from the folder that was logged; MLflow calls it."""
    return load(path)
