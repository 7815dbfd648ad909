"""A finished model in a folder: saved by a run, loaded without the rest, and trusted in nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from torch import nn

from stackae.baseline import Blend
from stackae.build import (
    AnyUnit,
    Shape,
    build_loss,
    build_unit,
    code_shape,
    output_activation,
    untie,
)
from stackae.committee import Committee, together
from stackae.config import DataConfig, LayerConfig
from stackae.config.section import PositiveFloat, PositiveInt, Section, changed
from stackae.config_file.faults import show
from stackae.data.preprocessing.load import Preprocessing, load_preprocessing
from stackae.data.preprocessing.sklearn_file import FITTED
from stackae.errors import ArtifactError, in_a_line
from stackae.model.baseline_description import BlendDescription, describe_blend
from stackae.model.model import Model
from stackae.model.places import located
from stackae.model.reading import Reading
from stackae.shallow.mixed import Block
from stackae.stack import Classifier, Decoder, Encoder
from stackae.temperature import LEAST, MOST
from stackae.weights import fill, save_weights

FORMAT = 1
EXPORTED_WEIGHTS = "model.safetensors"
"""The one file of weights in a folder that was exported; a run has one file for each part."""
# A description with a hundred thousand named classes stays below; what is larger is none.
MOST_BYTES = 16 << 20


class Novelty(Section):
    """The greatest reconstruction error that is usual."""

    error: float


class Description(Section):
    """The fields of a model's `config.json`; no paths, and names from fixed lists alone."""

    format: int
    shape: tuple[PositiveInt, ...] = Field(min_length=1)
    preprocessing: dict[str, Any] | None = None
    scale: PositiveFloat = 1.0
    """Of models that were saved before there was a choice of preprocessing."""
    classes: tuple[str, ...]
    novelty: Novelty | None = None
    classifier: bool | None = None
    """Whether there is one; of a run, its file says so."""
    networks: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    """Of how many networks the classifier averages the probabilities."""
    shortcut: Annotated[bool, Field(strict=True)] = False
    """Whether each adds a linear map of the input to its logits."""
    temperature: Annotated[float, Field(ge=LEAST, le=MOST)] = 1.0
    """By what the classifier's logits are divided."""
    blend: BlendDescription | None = None
    """What it averages them with once more, and how."""
    reading: Reading = Reading()
    """How its rows are read from files."""
    untied: Annotated[bool, Field(strict=True)] = False
    """Whether the decoders of tied layers got weights of their own."""
    layers: tuple[LayerConfig, ...] = Field(min_length=1)
    """With the loss that each was trained with, never `auto`."""


def save(
    folder: Path,
    layers: Sequence[LayerConfig],
    encoder: Encoder,
    decoder: Decoder,
    classifier: Classifier | Committee | Blend | None,
    *,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    novelty: float,
    reading: Reading,
    temperature: float = 1.0,
    untied: bool = False,
) -> None:
    """Write weights as safetensors, and preprocessing and architecture as `config.json`, into `folder`.

    Each of `layers` names the loss that it was trained with, never `auto`. `reading` says how rows are read
    from files. The model divides its logits by `temperature`. `untied` says that the decoders of tied layers
    have weights of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, nn.Module | None] = {"encoder": encoder, "decoder": decoder, "classifier": classifier}
    for name, module in parts.items():
        path = folder / f"{name}.safetensors"
        if module is None:
            path.unlink(missing_ok=True)
        else:
            save_weights(path, {"": module})
    (folder / FITTED).unlink(missing_ok=True)
    network = classifier.network if isinstance(classifier, Blend) else classifier
    beside = {}
    if isinstance(classifier, Blend):
        beside["blend"] = describe_blend(classifier.partners, classifier.mixture).model_dump(
            mode="json", exclude_defaults=True
        )
    description = {
        "format": FORMAT,
        "shape": list(preprocessing.shape),
        "preprocessing": preprocessing.save(folder),
        "classes": list(classes),
        "novelty": {"error": novelty},
        "networks": len(network) if isinstance(network, Committee) else 1,
        "shortcut": network is not None and network.shortcut is not None,
        "temperature": temperature,
        **({"untied": True} if untied else {}),
        **beside,
        "reading": changed(reading),
        "layers": [layer.model_dump(mode="json", by_alias=True) for layer in layers],
    }
    (folder / "config.json").write_text(json.dumps(description, indent=1) + "\n")


def load(run: str | Path) -> Model:
    """Load the model of a run's folder, of the `model` in it, or of one that was exported, here or elsewhere.

    ArtifactError where there is none, or it is damaged or not to be trusted: a model from elsewhere can
    neither run code nor take more memory than its files are large.
    """
    folder = _folder(run)
    description = _describe(run, folder / "config.json")
    unscaled = {
        "type": "scaling",
        "shape": description.shape,
        "scale": description.scale,
        "range": [0.0, 1.0],
    }
    preprocessing = load_preprocessing(folder, description.preprocessing or unscaled)
    if tuple(preprocessing.shape) != description.shape:
        raise ArtifactError(f"{folder / 'config.json'}: damaged; run the config again")
    blocks = preprocessing.blocks
    has_classifier = description.classifier
    if has_classifier is None:
        has_classifier = (folder / "classifier.safetensors").exists()
    try:
        # Nothing is allocated before the weights' file proves to be as large as the description says.
        with torch.device("meta"):
            encoder, decoder, code = _networks(description, blocks)
            classifier = _classifier(description, blocks, code) if has_classifier else None
    except (ValueError, RuntimeError, OverflowError, TypeError) as fault:
        # What does not fit together, and what is beyond all numbers of torch.
        raise ArtifactError(
            f"{folder / 'config.json'}: damaged ({in_a_line(fault)}); run the config again"
        ) from None
    _fill(encoder, folder, "encoder")
    _fill(decoder, folder, "decoder")
    if classifier is not None:
        _fill(classifier, folder, "classifier")
        if isinstance(classifier, Blend):
            try:
                classifier.check()
            except ValueError as fault:
                raise ArtifactError(f"{folder}: damaged ({fault}); run the config again") from None
    return Model(
        encoder,
        decoder,
        classifier,
        preprocessing=preprocessing,
        classes=description.classes,
        code=code,
        generative=description.layers[-1].kind == "variational",
        loss=build_loss(description.layers[0].loss, blocks),
        novelty=None if description.novelty is None else description.novelty.error,
        temperature=description.temperature,
    )


def load_reading(run: str | Path) -> DataConfig:
    """Load how the rows of such a model are read from files, as the section `data` of a config."""
    folder = _folder(run)
    description = _describe(run, folder / "config.json")
    size = description.reading.image_size
    if size is not None and size != description.shape[-2:]:
        raise ArtifactError(f"{folder / 'config.json'}: damaged; run the config again")
    return description.reading.config()


def _folder(run: str | Path) -> Path:
    folder = located(run)
    if any((folder / name).is_file() for name in (EXPORTED_WEIGHTS, "encoder.safetensors")):
        return folder
    return folder / "model"


def _classifier(
    description: Description, blocks: tuple[Block, ...] | None, code: Shape
) -> Classifier | Committee | Blend:
    """Build the classifier, whose networks have encoders of their own, since fine-tuning changed them."""
    members = []
    for _ in range(description.networks):
        encoder, _, _ = _networks(description, blocks)
        classes, inputs = len(description.classes), math.prod(description.shape)
        if not description.shortcut:
            inputs = 0
        members.append(Classifier(encoder, code, classes, dropout=0.0, input_dropout=0.0, inputs=inputs))
    network = together(members)
    if description.blend is None:
        return network
    # The pretrained layers as the baselines' codes are made by them; fine-tuning changed the networks' own.
    coder, _, _ = _networks(description, blocks)
    return description.blend.build(
        network,
        coder,
        columns=math.prod(description.shape),
        codes=_codes(description),
        classes=len(description.classes),
    )


def _codes(description: Description) -> int:
    """Count the codes of all depths."""
    shape, codes = description.shape, 0
    for number, layer in enumerate(description.layers):
        shape = code_shape(layer, shape, first=number == 0)
        codes += math.prod(shape)
    return codes


def _fill(module: nn.Module, folder: Path, part: str) -> None:
    exported = folder / EXPORTED_WEIGHTS
    if exported.is_file():
        fill(module, exported, within=f"{part}.")
    else:
        fill(module, folder / f"{part}.safetensors")


def _describe(run: str | Path, path: Path) -> Description:
    try:
        if not path.is_file():
            raise ArtifactError(f"{run}: no model in this folder; name the folder of a finished run")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        fields = json.loads(text) if len(text) <= MOST_BYTES else None
    except OSError as fault:
        raise ArtifactError(
            f"{path}: cannot be read ({fault.strerror}); name the folder of a finished run"
        ) from None
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise ArtifactError(f"{path}: damaged; run the config again")
    if fields.get("format") != FORMAT:
        raise ArtifactError(
            f"{path.parent}: format {fields.get('format')!r:.9}, this version reads {FORMAT}; run it again"
        )
    try:
        description = Description.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        says = " ".join(first["msg"].split())[:200]
        raise ArtifactError(f"{path}: {show(first['loc'])}: {says}; run the config again") from None
    for number, layer in enumerate(description.layers):
        if layer.loss == "auto":
            raise ArtifactError(f"{path}: layers[{number}].loss: missing; run the config again")
    return description


def _networks(description: Description, blocks: tuple[Block, ...] | None) -> tuple[Encoder, Decoder, Shape]:
    """Build the stack; return it and its code's shape. ValueError where layers do not fit each other."""
    units: list[AnyUnit] = []
    outputs: list[nn.Module] = []
    below, shape = None, description.shape
    for layer in description.layers:
        code = code_shape(layer, shape, first=below is None)
        units.append(build_unit(layer, shape, first=below is None))
        if description.untied:
            untie(units[-1])
        # Index tensors, which no file of weights has, and which are as large as the preprocessing's.
        with torch.device("cpu"):
            activation = output_activation(layer.loss, below, blocks if below is None else None)
        outputs.append(nn.Sequential(units[-1].decoder, activation))
        shape, below = code, layer
    return Encoder([unit.encoder for unit in units]), Decoder(outputs), shape
