"""A finished model in a folder: saved by a run, loaded and used without the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from stackae.config import LayerConfig
from stackae.data.features import CHUNK
from stackae.errors import ArtifactError, DataError
from stackae.kinds import AnyUnit, Shape, build_unit, code_shape, output_activation
from stackae.plan import PlannedLayer
from stackae.stack import Classifier, Decoder, Encoder

FORMAT = 1


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
            save_file({key: value.detach().clone() for key, value in module.state_dict().items()}, path)
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
    """Loads the model of a run's folder; ArtifactError where it is missing or damaged."""
    folder = Path(run) / "model"
    try:
        described: dict[str, Any] = json.loads((folder / "config.json").read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{run}: no model in this folder; name the folder of a finished run") from None
    except ValueError:
        raise ArtifactError(f"{folder / 'config.json'}: damaged; run the config again") from None
    if described.get("format") != FORMAT:
        raise ArtifactError(
            f"{folder}: format {described.get('format')}, this version reads {FORMAT}; run it again"
        )
    shape = tuple(described["shape"])
    layers = [(LayerConfig.model_validate(layer), layer["loss"]) for layer in described["layers"]]
    units, code = _units(layers, shape)
    encoder = Encoder([unit.encoder for unit in units])
    decoder = Decoder(
        [
            nn.Sequential(unit.decoder, output_activation(loss, below))
            for unit, (_, loss), below in zip(
                units, layers, [None, *(layer for layer, _ in layers)], strict=False
            )
        ]
    )
    _fill(encoder, folder / "encoder.safetensors")
    _fill(decoder, folder / "decoder.safetensors")
    classifier = None
    if (folder / "classifier.safetensors").exists():
        # Fine-tuning changed the encoder, so the classifier has one of its own.
        own = Encoder([unit.encoder for unit in _units(layers, shape)[0]])
        classifier = Classifier(own, code, len(described["classes"]), dropout=0.0, input_dropout=0.0)
        _fill(classifier, folder / "classifier.safetensors")
    classes = tuple(described["classes"])
    return Model(
        encoder,
        decoder,
        classifier,
        shape=shape,
        scale=described["scale"],
        classes=classes,
        code=code,
        generative=layers[-1][0].kind == "variational",
    )


def _units(layers: Sequence[tuple[LayerConfig, str]], shape: Shape) -> tuple[list[AnyUnit], Shape]:
    """The layers' units with random weights, and the shape of the last one's code."""
    units = []
    for number, (layer, _) in enumerate(layers):
        units.append(build_unit(layer, shape, first=number == 0))
        shape = code_shape(layer, shape, first=number == 0)
    return units, shape


def _fill(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as fault:
        raise ArtifactError(
            f"{path}: damaged or missing ({type(fault).__name__}); run the config again"
        ) from None
