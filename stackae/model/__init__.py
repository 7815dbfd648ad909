"""A finished model in a folder: saved by a run, loaded and used without the rest."""

from stackae.model.baseline_description import BlendDescription, describe_blend
from stackae.model.files import EXPORTED_WEIGHTS, load, load_reading, save
from stackae.model.model import Model
from stackae.model.novelty import novelty
from stackae.model.places import located
from stackae.model.reading import reading_of
from stackae.weights import fill

__all__ = [
    "EXPORTED_WEIGHTS",
    "BlendDescription",
    "Model",
    "describe_blend",
    "fill",
    "load",
    "load_reading",
    "located",
    "novelty",
    "reading_of",
    "save",
]
