"""A finished model in a folder: saved by a run, loaded and used without the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import nn

from stackae.config import LayerConfig
from stackae.config.section import PositiveFloat, PositiveInt, Section
from stackae.config_file.faults import show
from stackae.data.features import CHUNK
from stackae.errors import ArtifactError, DataError
from stackae.kinds import AnyUnit, Shape, build_unit, code_shape, output_activation
from stackae.plan import PlannedLayer
from stackae.stack import Classifier, Decoder, Encoder

FORMAT = 1
# A description with a hundred thousand named classes stays below; what is larger is none.
MOST_BYTES = 16 << 20


class Description(Section):
    """What `config.json` says of a model beside its weights; no paths, and names from fixed lists alone."""

    format: int
    shape: tuple[PositiveInt, ...] = Field(min_length=1)
    scale: PositiveFloat
    classes: tuple[str, ...]
    layers: tuple[LayerConfig, ...] = Field(min_length=1)
    """With the loss that each was trained with, never `auto`."""


class Model:
    """The pretrained encoder and decoder of a run and, if it was fine-tuned, its classifier.

    Rows are given as the source has them (grey values 0 to 255 for images): (rows, *shape) or
    flattened (rows, features). They are scaled as in training.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        classifier: Classifier | None,
        *,
        shape: tuple[int, ...],
        scale: float,
        classes: tuple[str, ...],
        code: Shape,
        generative: bool,
    ) -> None:
        self.code, self._generative = code, generative
        self.encoder, self.decoder, self.classifier = encoder.eval(), decoder.eval(), classifier
        self.shape, self.scale, self.classes = shape, scale, classes
        if classifier is not None:
            classifier.eval()

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities (rows, classes), in the order of `classes`."""
        if self.classifier is None:
            raise ArtifactError(
                "this run trained no classifier; set 'finetune' in its config and run it again"
            )
        return self._map(nn.Sequential(self.classifier, nn.Softmax(dim=1)), x)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The likeliest class's name for each row, (rows,)."""
        names: np.ndarray = np.array(self.classes)[self.predict_proba(x).argmax(1)]
        return names

    def encode(self, x: np.ndarray, layer: int | None = None) -> np.ndarray:
        """The pretrained features (rows, width) after layer `layer`, counted from 1; the last without it."""
        depth = len(self.encoder.layers)
        if layer is not None and not 1 <= layer <= depth:
            raise ArtifactError(f"layer {layer} asked for; this encoder has layers 1 to {depth}")
        return self._map(Encoder(list(self.encoder.layers)[:layer]), x)

    def reconstruct(self, x: np.ndarray) -> np.ndarray:
        """What the stack makes of the rows, (rows, *shape), in the units they were given in."""
        return self._map(nn.Sequential(self.encoder, self.decoder), x) * np.float32(self.scale)

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """What the stack makes of codes (rows, *code): (rows, *shape), in the units of the source."""
        given = torch.from_numpy(np.asarray(codes, dtype=np.float32))
        parts = [self.decoder(given[at : at + CHUNK]).numpy() for at in range(0, len(given), CHUNK)]
        rows: np.ndarray = np.concatenate(parts) * np.float32(self.scale)
        return rows

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws n rows (n, *shape) from the prior of a variational code (Kingma & Welling 2014)."""
        if not self._generative:
            raise ArtifactError("the last layer of this run is not variational; set its kind: variational")
        return self.decode(np.random.default_rng(seed).standard_normal((n, *self.code)))

    def interpolate(self, x: np.ndarray, n: int) -> np.ndarray:
        """Decodes n codes on the line from one row's code to the other's: x (2, *shape) -> (n, *shape)."""
        first, second = self.encode(x)
        share = np.linspace(0.0, 1.0, n, dtype=np.float32).reshape(-1, *(1,) * first.ndim)
        return self.decode(first + share * (second - first))

    @torch.no_grad()
    def _map(self, module: nn.Module, x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        if x.shape[1:] != self.shape and x.shape[1:] != (int(np.prod(self.shape)),):
            raise DataError(f"rows of shape {x.shape[1:]} given; this model takes {self.shape}")
        x = x.reshape(len(x), *self.shape)
        chunks = [
            module(torch.from_numpy(x[at : at + CHUNK].astype(np.float32) / np.float32(self.scale))).numpy()
            for at in range(0, max(len(x), 1), CHUNK)
        ]
        return np.concatenate(chunks)


def save(
    folder: Path,
    layers: Sequence[PlannedLayer],
    encoder: Encoder,
    decoder: Decoder,
    classifier: Classifier | None,
    *,
    scale: float,
    classes: tuple[str, ...],
) -> None:
    """Writes weights as safetensors and the architecture as `config.json` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, nn.Module | None] = {"encoder": encoder, "decoder": decoder, "classifier": classifier}
    for name, module in parts.items():
        path = folder / f"{name}.safetensors"
        if module is None:
            path.unlink(missing_ok=True)
        else:
            tensors = {key: value.detach().clone() for key, value in module.state_dict().items()}
            path.write_bytes(serialised(tensors))
    described = {
        "format": FORMAT,
        "shape": list(layers[0].shape),
        "scale": scale,
        "classes": list(classes),
        "layers": [
            layer.config.model_dump(mode="json", by_alias=True) | {"loss": layer.loss} for layer in layers
        ],
    }
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n")


def load(run: str | Path) -> Model:
    """Loads the model of a run's folder; ArtifactError where it is missing, damaged or not to be trusted.

    A model from elsewhere can neither run code nor take more memory than its files are large.
    """
    folder = Path(run) / "model"
    description = _describe(run, folder / "config.json")
    try:
        # Nothing is allocated before the weights' file proves to be as large as the description says.
        with torch.device("meta"):
            encoder, decoder, code = _networks(description)
            # Fine-tuning changed the encoder, so the classifier has one of its own.
            own, _, _ = _networks(description)
            classifier = Classifier(own, code, len(description.classes), dropout=0.0, input_dropout=0.0)
    except (ValueError, RuntimeError, OverflowError, TypeError) as fault:
        # What does not fit together, and what is beyond all numbers of torch.
        raise ArtifactError(
            f"{folder / 'config.json'}: damaged ({_line(fault)}); run the config again"
        ) from None
    fill(encoder, folder / "encoder.safetensors")
    fill(decoder, folder / "decoder.safetensors")
    tuned = (folder / "classifier.safetensors").exists()
    if tuned:
        fill(classifier, folder / "classifier.safetensors")
    return Model(
        encoder,
        decoder,
        classifier if tuned else None,
        shape=description.shape,
        scale=description.scale,
        classes=description.classes,
        code=code,
        generative=description.layers[-1].kind == "variational",
    )


def fill(module: nn.Module, path: Path) -> None:
    """Gives a module, which may be on the meta device, the weights in a safetensors file.

    ArtifactError where the file is missing or damaged, or holds other tensors than the module has, of other
    shapes, or values that are no finite numbers.
    """
    wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: one.get_shape() for name, one in slices.items() if one.get_dtype() == "F32"}
            if found != wanted or len(slices) != len(wanted):
                raise ArtifactError(
                    f"{path}: damaged: it has not the weights that belong here; run the config again"
                )
            # Cloned, since a tensor in a mapped file lies at any address, and sums come out otherwise there.
            tensors = {name: file.get_tensor(name).clone() for name in wanted}
    except (OSError, SafetensorError) as fault:
        raise ArtifactError(f"{path}: damaged or missing ({_line(fault)}); run the config again") from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise ArtifactError(f"{path}: damaged: '{name}' holds NaN or infinity; run the config again")
    module.load_state_dict(tensors, assign=True)


def _describe(run: str | Path, path: Path) -> Description:
    try:
        if not path.is_file():
            raise ArtifactError(f"{run}: no model in this folder; name the folder of a finished run")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        described = json.loads(text) if len(text) <= MOST_BYTES else None
    except OSError as fault:
        raise ArtifactError(
            f"{path}: cannot be read ({fault.strerror}); name the folder of a finished run"
        ) from None
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        raise ArtifactError(f"{path}: damaged; run the config again")
    if described.get("format") != FORMAT:
        raise ArtifactError(
            f"{path.parent}: format {described.get('format')!r:.9}, this version reads {FORMAT}; run it again"
        )
    try:
        description = Description.model_validate(described)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        says = " ".join(first["msg"].split())[:200]
        raise ArtifactError(f"{path}: {show(first['loc'])}: {says}; run the config again") from None
    for number, layer in enumerate(description.layers):
        if layer.loss == "auto":
            raise ArtifactError(f"{path}: layers[{number}].loss: missing; run the config again")
    return description


def _networks(description: Description) -> tuple[Encoder, Decoder, Shape]:
    """The stack, and the shape of the last layer's code; ValueError where layers do not fit each other."""
    units: list[AnyUnit] = []
    outputs: list[nn.Module] = []
    below, shape = None, description.shape
    for layer in description.layers:
        code = code_shape(layer, shape, first=below is None)
        units.append(build_unit(layer, shape, first=below is None))
        outputs.append(nn.Sequential(units[-1].decoder, output_activation(layer.loss, below)))
        shape, below = code, layer
    return Encoder([unit.encoder for unit in units]), Decoder(outputs), shape


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]
