"""A finished model in a folder: saved by a run, loaded and used without the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from stackae.config import LayerConfig
from stackae.config.section import PositiveFloat, PositiveInt, Section
from stackae.config_file.faults import show
from stackae.data.features import slices
from stackae.data.fitted import FITTED
from stackae.data.preprocessing import Preprocessing, load_preprocessing
from stackae.data.rows import Raw, Rows, chunk_rows
from stackae.data.table_preprocessing import TablePreprocessing
from stackae.errors import ArtifactError, DataError
from stackae.kinds import AnyUnit, Shape, build_loss, build_unit, code_shape, output_activation
from stackae.plan import PlannedLayer
from stackae.shallow.losses import Loss
from stackae.shallow.mixed import Block
from stackae.stack import Classifier, Decoder, Encoder

FORMAT = 1
TOGETHER = "model.safetensors"
"""The one file of weights in a folder that was exported; a run has one file for each part."""
NOVEL = 0.999
"""The share of the validation rows whose reconstruction error counts as usual."""
# A description with a hundred thousand named classes stays below; what is larger is none.
MOST_BYTES = 16 << 20

T = TypeVar("T")


class Novelty(Section):
    """Which reconstruction errors are usual."""

    error: float


class Description(Section):
    """What `config.json` says of a model beside its weights; no paths, and names from fixed lists alone."""

    format: int
    shape: tuple[PositiveInt, ...] = Field(min_length=1)
    preprocessing: dict[str, Any] | None = None
    scale: PositiveFloat = 1.0
    """Of models that were saved before there was a choice of preprocessing."""
    classes: tuple[str, ...]
    novelty: Novelty | None = None
    classifier: bool | None = None
    """Whether there is one; of a run, its file says so."""
    layers: tuple[LayerConfig, ...] = Field(min_length=1)
    """With the loss that each was trained with, never `auto`."""


class Model:
    """The pretrained encoder and decoder of a run and, if it was fine-tuned, its classifier.

    Rows are given as the source has them, and preprocessed as in training: arrays (rows, *shape) or flattened
    (rows, features), with grey values from 0 to 255 for images; of a table a DataFrame, whose columns are
    found by name. `novelty` is the error above which a row is unlike the training data, None if not known.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        classifier: Classifier | None,
        *,
        preprocessing: Preprocessing,
        classes: tuple[str, ...],
        code: Shape,
        generative: bool,
        loss: Loss,
        novelty: float | None,
    ) -> None:
        self.code, self._generative = code, generative
        self.encoder, self.decoder, self.classifier = encoder.eval(), decoder.eval(), classifier
        self.preprocessing, self.classes = preprocessing, classes
        self.loss, self.novelty = loss, novelty
        self._dtype = torch.float32
        if classifier is not None:
            classifier.eval()

    @property
    def shape(self) -> Shape:
        """Shape of one row, as the encoder takes it."""
        return self.preprocessing.shape

    @property
    def scale(self) -> float:
        """What the rows' values are divided by: 255 for 8-bit images, 1 where they are scaled otherwise."""
        return getattr(self.preprocessing, "scale", 1.0)

    def double(self) -> Model:
        """Computes in double precision from now on, so that a row's figures hardly depend on the others'."""
        for module in (self.encoder, self.decoder, self.classifier):
            if module is not None:
                module.double()
        self._dtype = torch.float64
        return self

    def map(self, rows: Rows, what: Callable[[Raw], T]) -> Iterator[T]:
        """What a method of this model makes of rows, chunk by chunk, however many there are."""
        return (what(raw) for _, raw in rows.chunks())

    def predict_proba(self, x: Raw) -> np.ndarray:
        """Class probabilities (rows, classes), in the order of `classes`."""
        return self._map(self._chances, x)

    def _chances(self, x: Tensor) -> Tensor:
        if self.classifier is None:
            raise ArtifactError(
                "this run trained no classifier; set 'finetune' in its config and run it again"
            )
        logits: Tensor = self.classifier(x)
        return logits.softmax(1)

    def predict(self, x: Raw) -> np.ndarray:
        """The likeliest class's name for each row, (rows,)."""
        names: np.ndarray = np.array(self.classes)[self.predict_proba(x).argmax(1)]
        return names

    def encode(self, x: Raw, layer: int | Literal["all"] | None = None) -> np.ndarray:
        """The pretrained features (rows, *code) after layer `layer`, counted from 1; the last without it.

        `all` gives those of all layers side by side, (rows, features).
        """
        if layer == "all":
            return self._map(lambda x: torch.cat([code.flatten(1) for code in self.encoder.depths(x)], 1), x)
        depth = len(self.encoder.layers)
        if layer is not None and layer not in range(1, depth + 1):
            raise ArtifactError(f"layer {layer!r} asked for; this encoder has layers 1 to {depth}")
        return self._map(Encoder(list(self.encoder.layers)[:layer]), x)

    def transform(self, x: Raw) -> np.ndarray:
        """The codes of the last layer, (rows, *code): `encode`, as scikit-learn calls it."""
        return self.encode(x)

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        """What the stack makes of codes, (rows, *shape): `decode`, as scikit-learn calls it."""
        return self.decode(codes)

    def reconstruct(self, x: Raw) -> np.ndarray:
        """What the stack makes of the rows, (rows, *shape), in the units they were given in.

        Of a table's rows, what it makes of their features, as the preprocessing has them.
        """
        return self._inverse(self._map(nn.Sequential(self.encoder, self.decoder), x))

    def errors(self, x: Raw) -> np.ndarray:
        """How badly the stack reconstructs each row, (rows,): the first layer's loss, a sum over features."""
        return self._map(lambda x: row_errors(self.encoder, self.decoder, self.loss, x), x)

    def unlike(self, x: Raw) -> np.ndarray:
        """Whether a row is unlike the training data for any of the `reasons`, (rows,)."""
        found: np.ndarray = np.any(list(self.reasons(x).values()), axis=0)
        return found

    def reasons(self, x: Raw) -> dict[str, np.ndarray]:
        """Why rows are unlike the training data, each (rows,).

        `reconstruction`: the error is above that of 99.9 % of the validation rows, which training did not
        fit. Of a table also `unseen category`, and `out of range`: beyond a numeric column's range by more
        than half its width.
        """
        return self._reasons(x, self.errors(x))

    def judge(self, x: Raw) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """`predict_proba` and `reasons` of rows, which are preprocessed once for both."""

        def both(x: Tensor) -> Tensor:
            errors = row_errors(self.encoder, self.decoder, self.loss, x)
            return torch.cat([self._chances(x), errors[:, None]], 1)

        found = self._map(both, x)
        return found[:, :-1], self._reasons(x, found[:, -1])

    def _reasons(self, x: Raw, errors: np.ndarray) -> dict[str, np.ndarray]:
        if self.novelty is None:
            raise ArtifactError("this model does not say which errors are usual; run its config again")
        found = {"reconstruction": errors > self.novelty}
        if isinstance(self.preprocessing, TablePreprocessing):
            rows: Any = self._given(x)
            found["unseen category"] = self.preprocessing.unseen(rows)
            found["out of range"] = self.preprocessing.outside(rows)
        return found

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """What the stack makes of codes (rows, *code): (rows, *shape), in the units of `reconstruct`.

        Codes may be flattened. DataError where they are none of this model's.
        """
        given = np.asarray(codes, dtype=np.float32)
        if given.shape[1:] not in (self.code, (int(np.prod(self.code)),)):
            raise DataError(f"codes of shape {given.shape} given; this model has {_of_rows(self.code)}")
        given = given.reshape(len(given), *self.code)
        parts = [
            self.decoder(torch.from_numpy(given[some]).to(self._dtype)).numpy() for some in slices(given)
        ]
        return self._inverse(np.concatenate(parts) if parts else np.empty((0, *self.shape), np.float32))

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        # Scalers refuse to scale no rows.
        return self.preprocessing.inverse(x) if len(x) else x

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draws n rows (n, *shape) from the prior of a variational code (Kingma & Welling 2014)."""
        if not self._generative:
            raise ArtifactError("the last layer of this run is not variational; set its kind: variational")
        return self.decode(np.random.default_rng(seed).standard_normal((n, *self.code)))

    def interpolate(self, x: Raw, n: int) -> np.ndarray:
        """Decodes n codes on the line from one row's code to the other's: two rows -> (n, *shape)."""
        codes = self.encode(x)
        if len(codes) != 2:
            raise DataError(f"{len(codes):,} rows given; interpolation goes from one to another, so give two")
        first, second = codes
        share = np.linspace(0.0, 1.0, n, dtype=np.float32).reshape(-1, *(1,) * first.ndim)
        return self.decode(first + share * (second - first))

    @torch.no_grad()
    def _map(self, module: Callable[[Tensor], Tensor], x: Raw) -> np.ndarray:
        rows, size = self._given(x), chunk_rows(self.shape)
        chunks = []
        for at in range(0, max(len(rows), 1), size):
            seen = self._preprocessed(rows[at : at + size], at)
            chunks.append(module(torch.from_numpy(seen).to(self._dtype)).numpy())
        return np.concatenate(chunks)

    def _preprocessed(self, rows: Any, first: int) -> np.ndarray:
        """Rows, of which the first has this number, as the network sees them; DataError if not finite."""
        if isinstance(rows, np.ndarray) and not len(rows):
            return np.empty((0, *self.shape), np.float32)
        with np.errstate(over="ignore"):
            x = self.preprocessing(rows)
        finite = np.isfinite(x)
        if not finite.all():
            # A network makes NaN of it, of which the likeliest class would be the first.
            place = tuple(np.argwhere(~finite)[0])
            raise DataError(
                f"row {first + place[0] + 1:,} of those given: {rows[place]} is no finite number, or too "
                "large a one; correct it, or leave the row out"
            )
        return x

    def _given(self, x: Raw) -> Any:
        """The rows as the preprocessing takes them; DataError where they are none of this model's."""
        if isinstance(self.preprocessing, TablePreprocessing):
            if not hasattr(x, "columns"):
                used = [column.name for column in self.preprocessing.columns if column.dropped is None]
                names = ", ".join(f"'{_line(name)}'" for name in used[:3]) + ", …" * (len(used) > 3)
                raise DataError(f"this model takes a table, a DataFrame with the columns {names}")
            table: Any = x
            return table.reset_index(drop=True)
        rows = np.asarray(x)
        if rows.shape[1:] not in (self.shape, (int(np.prod(self.shape)),)):
            raise DataError(
                f"an array of shape {rows.shape} given; this model takes {_of_rows(self.shape)}"
                f"{_remedy(rows.shape, self.shape)}"
            )
        if rows.dtype.kind not in "biuf":
            try:
                rows = rows.astype(np.float64)
            except (ValueError, TypeError) as fault:
                raise DataError(f"this model takes numbers: {_line(fault)}; give numbers alone") from None
        return rows.reshape(len(rows), *self.shape)


def _of_rows(shape: Shape) -> str:
    return f"(rows, {', '.join(map(str, shape))})"


def _remedy(given: Shape, wanted: Shape) -> str:
    """What makes the rows that are wanted of an array of another shape, where that is likely."""
    if given in (wanted, (int(np.prod(wanted)),)):
        return "; of one row x give x[None]"
    if len(wanted) == 3 and given[1:] == (*wanted[1:], wanted[0]):
        return "; move the channels to the front, as x.transpose(0, 3, 1, 2)"
    if [length for length in given[1:] if length > 1] == [length for length in wanted if length > 1]:
        return f"; give x.reshape(-1, {', '.join(map(str, wanted))})"
    return ""


def row_errors(encoder: Encoder, decoder: Decoder, loss: Loss, x: Tensor) -> Tensor:
    """The first layer's loss of each row of x (rows, *shape) through the whole stack, (rows,)."""
    if not len(x):
        return x.new_empty(0)
    output = encoder(x)
    *upper, first = decoder.layers
    for layer in upper:
        output = layer(output)
    # Without its output activation: a loss takes what comes before.
    assert isinstance(first, nn.Sequential)
    each: Tensor = torch.vmap(lambda row, target: loss(row[None], target[None]))(first[0](output), x)
    # The result of a vmap keeps alive all that it was made of.
    return each.clone()


@torch.no_grad()
def novelty(encoder: Encoder, decoder: Decoder, loss: Loss, x: np.ndarray) -> float:
    """The error that NOVEL of the rows x (rows, *shape), which training did not fit, do not exceed."""
    encoder.eval(), decoder.eval()
    errors = [row_errors(encoder, decoder, loss, torch.from_numpy(np.array(x[some]))) for some in slices(x)]
    return float(np.quantile(torch.cat(errors).numpy(), NOVEL))


def save(
    folder: Path,
    layers: Sequence[PlannedLayer],
    encoder: Encoder,
    decoder: Decoder,
    classifier: Classifier | None,
    *,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    novelty: float,
) -> None:
    """Writes weights as safetensors, and preprocessing and architecture as `config.json`, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, nn.Module | None] = {"encoder": encoder, "decoder": decoder, "classifier": classifier}
    for name, module in parts.items():
        path = folder / f"{name}.safetensors"
        if module is None:
            path.unlink(missing_ok=True)
        else:
            tensors = {key: value.detach().clone() for key, value in module.state_dict().items()}
            path.write_bytes(serialised(tensors))
    (folder / FITTED).unlink(missing_ok=True)
    described = {
        "format": FORMAT,
        "shape": list(layers[0].shape),
        "preprocessing": preprocessing.save(folder),
        "classes": list(classes),
        "novelty": {"error": novelty},
        "layers": [
            layer.config.model_dump(mode="json", by_alias=True) | {"loss": layer.loss} for layer in layers
        ],
    }
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n")


def load(run: str | Path) -> Model:
    """Loads the model of a run's folder, of the `model` in it, or of a folder that was exported.

    ArtifactError where there is none, or it is damaged or not to be trusted: a model from elsewhere can
    neither run code nor take more memory than its files are large.
    """
    folder = Path(run)
    if not any((folder / name).is_file() for name in (TOGETHER, "encoder.safetensors")):
        folder /= "model"
    description = _describe(run, folder / "config.json")
    plain = {"type": "scaling", "shape": description.shape, "scale": description.scale, "range": [0.0, 1.0]}
    preprocessing = load_preprocessing(folder, description.preprocessing or plain)
    if tuple(preprocessing.shape) != description.shape:
        raise ArtifactError(f"{folder / 'config.json'}: damaged; run the config again")
    blocks = preprocessing.blocks
    tuned = description.classifier
    if tuned is None:
        tuned = (folder / "classifier.safetensors").exists()
    try:
        # Nothing is allocated before the weights' file proves to be as large as the description says.
        with torch.device("meta"):
            encoder, decoder, code = _networks(description, blocks)
            classifier = None
            if tuned:
                # Fine-tuning changed the encoder, so the classifier has one of its own.
                own, _, _ = _networks(description, blocks)
                classifier = Classifier(own, code, len(description.classes), dropout=0.0, input_dropout=0.0)
    except (ValueError, RuntimeError, OverflowError, TypeError) as fault:
        # What does not fit together, and what is beyond all numbers of torch.
        raise ArtifactError(
            f"{folder / 'config.json'}: damaged ({_line(fault)}); run the config again"
        ) from None
    _fill(encoder, folder, "encoder")
    _fill(decoder, folder, "decoder")
    if classifier is not None:
        _fill(classifier, folder, "classifier")
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
    )


def _fill(module: nn.Module, folder: Path, part: str) -> None:
    together = folder / TOGETHER
    if together.is_file():
        fill(module, together, within=f"{part}.")
    else:
        fill(module, folder / f"{part}.safetensors")


def fill(module: nn.Module, path: Path, *, within: str = "") -> None:
    """Gives a module, which may be on the meta device, the weights in a safetensors file.

    `within` is what the names of its tensors begin with in a file that holds others too.

    ArtifactError where the file is missing or damaged, or holds other tensors than the module has, of other
    shapes, or values that are no finite numbers.
    """
    wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(within)]  # noqa: SIM118
            held = {name.removeprefix(within): file.get_slice(name) for name in names}
            found = {name: one.get_shape() for name, one in held.items() if one.get_dtype() == "F32"}
            if found != wanted or len(held) != len(wanted):
                raise ArtifactError(
                    f"{path}: damaged: it has not the weights that belong here; run the config again"
                )
            # Cloned, since a tensor in a mapped file lies at any address, and sums come out otherwise there.
            tensors = {name: file.get_tensor(within + name).clone() for name in wanted}
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


def _networks(description: Description, blocks: tuple[Block, ...] | None) -> tuple[Encoder, Decoder, Shape]:
    """The stack, and the shape of the last layer's code; ValueError where layers do not fit each other."""
    units: list[AnyUnit] = []
    outputs: list[nn.Module] = []
    below, shape = None, description.shape
    for layer in description.layers:
        code = code_shape(layer, shape, first=below is None)
        units.append(build_unit(layer, shape, first=below is None))
        # Index tensors, which no file of weights has, and which are as large as the preprocessing's.
        with torch.device("cpu"):
            made = output_activation(layer.loss, below, blocks if below is None else None)
        outputs.append(nn.Sequential(units[-1].decoder, made))
        shape, below = code, layer
    return Encoder([unit.encoder for unit in units]), Decoder(outputs), shape


def _line(fault: Exception | str) -> str:
    return " ".join(str(fault).split())[:200]
