"""A finished model: its networks and its preprocessing, put to use on rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from stackae.baseline import Blend
from stackae.build import Shape
from stackae.committee import Committee
from stackae.data.features import slices
from stackae.data.preprocessing.load import Preprocessing
from stackae.data.preprocessing.table import TablePreprocessing
from stackae.data.rows import Raw, Rows, chunk_rows
from stackae.data.tables.frames import is_frame
from stackae.data.tables.normalised import Normalised
from stackae.errors import ArtifactError, DataError, in_a_line
from stackae.model.novelty import row_errors
from stackae.outputs import apart
from stackae.shallow.losses import Loss
from stackae.stack import Classifier, Decoder, Encoder

T = TypeVar("T")

Given: TypeAlias = Any
"""Rows as a person has them, an array or a frame, or as they are read from files."""

Layer: TypeAlias = int | Literal["all"] | None
"""Whose codes are asked for: a layer's, counted from 1, those of all, or by None the last one's."""


class Model:
    """The pretrained encoder and decoder of a run and, if it was fine-tuned, its classifier.

    Rows are as the source has them, and preprocessed as in training: arrays (rows, *shape) or flattened
    (rows, features), with grey values from 0 to 255 for images; of a table a DataFrame of pandas
    or Polars or a table of Arrow, whose columns are found by name and whose cells are read as those of a
    file. `novelty` is the error above which a row is unlike the training data, None if not known, and
    `temperature` what the classifier's logits are divided by.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        classifier: Classifier | Committee | Blend | None,
        *,
        preprocessing: Preprocessing,
        classes: tuple[str, ...],
        code: Shape,
        generative: bool,
        loss: Loss,
        novelty: float | None,
        temperature: float = 1.0,
    ) -> None:
        self.code, self._generative = code, generative
        self.encoder, self.decoder, self.classifier = encoder.eval(), decoder.eval(), classifier
        self.preprocessing, self.classes = preprocessing, classes
        self.loss, self.novelty, self.temperature = loss, novelty, temperature
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
        """Compute in double precision from now on, so that a row's figures hardly depend on the others'."""
        for module in (self.encoder, self.decoder, self.classifier):
            if module is not None:
                module.double()
        self._dtype = torch.float64
        return self

    def map(self, rows: Rows, method: Callable[[Raw], T]) -> Iterator[T]:
        """Apply a method of this model to rows, chunk by chunk, however many there are."""
        return (method(raw) for _, raw in rows.chunks())

    def predict_proba(self, x: Given) -> np.ndarray:
        """Return class probabilities (rows, classes), in the order of `classes`."""
        return self._map(self._probabilities, x)

    def _probabilities(self, x: Tensor) -> Tensor:
        if self.classifier is None:
            raise ArtifactError(
                "this run trained no classifier; set 'finetune' in its config and run it again"
            )
        logits: Tensor = self.classifier(x)
        return (logits / self.temperature).softmax(1)

    def predict(self, x: Given) -> np.ndarray:
        """Return the likeliest class's name for each row, (rows,)."""
        names: np.ndarray = np.array(self.classes)[self.predict_proba(x).argmax(1)]
        return names

    def encode(self, x: Given, layer: Layer = None, *, with_input: bool = False) -> np.ndarray:
        """Return the pretrained features (rows, *code) after a layer, counted from 1; by default the last.

        `all` gives those of all layers side by side, (rows, features), and `with_input` puts the preprocessed
        rows in front of them. `code_names` names these features.
        """
        depths = self._depths(layer)
        if layer != "all" and not with_input:
            return self._map(Encoder(list(self.encoder.layers)[: depths[0]]), x)

        def side_by_side(x: Tensor) -> Tensor:
            found = [x, *self.encoder.depths(x)]
            return torch.cat([found[depth].flatten(1) for depth in ([0] if with_input else []) + depths], 1)

        return self._map(side_by_side, x)

    @torch.no_grad()
    def code_names(self, layer: Layer = None, *, with_input: bool = False) -> list[str]:
        """Name the features of `encode`, flattened: `code_3`, of all layers `layer_2_code_3`, both from 1.

        The preprocessed rows' names are those of their columns, or of arrays their places; one that a code
        has too gets `_input` behind it.
        """
        codes = self.encoder.depths(torch.zeros(1, *self.shape, dtype=self._dtype))
        names = [
            f"layer_{depth}_code_{unit}" if layer == "all" else f"code_{unit}"
            for depth in self._depths(layer)
            for unit in range(1, codes[depth - 1].numel() + 1)
        ]
        return [*apart(self.preprocessing.names(), names, "_input"), *names] if with_input else names

    def _depths(self, layer: Layer) -> list[int]:
        """Return the numbers of the layers that are asked for; ArtifactError where there are no such."""
        last = len(self.encoder.layers)
        if layer == "all":
            return list(range(1, last + 1))
        if layer is not None and layer not in range(1, last + 1):
            raise ArtifactError(f"layer {layer!r} asked for; this encoder has layers 1 to {last}")
        return [layer or last]

    def transform(self, x: Given) -> np.ndarray:
        """Return the codes of the last layer, (rows, *code): `encode`, as scikit-learn calls it."""
        return self.encode(x)

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes to rows (rows, *shape): `decode`, as scikit-learn calls it."""
        return self.decode(codes)

    def reconstruct(self, x: Given) -> np.ndarray:
        """Encode rows and decode their codes: (rows, *shape), in the units of the rows.

        Of a table's rows the features are reconstructed, as the preprocessing has them.
        """
        return self._inverse(self._map(nn.Sequential(self.encoder, self.decoder), x))

    def errors(self, x: Given) -> np.ndarray:
        """Compute each row's reconstruction error, (rows,): the first layer's loss, a sum over features."""
        return self._map(lambda x: row_errors(self.encoder, self.decoder, self.loss, x), x)

    def unlike(self, x: Given) -> np.ndarray:
        """Tell whether each row is unlike the training data for any of the `reasons`: boolean (rows,)."""
        unlike: np.ndarray = np.any(list(self.reasons(x).values()), axis=0)
        return unlike

    def reasons(self, x: Given) -> dict[str, np.ndarray]:
        """Tell why rows are unlike the training data: a boolean array (rows,) for each reason.

        `reconstruction`: the error is above that of 99.9 % of the validation rows, which training did not
        fit. Of a table also `unseen category`, and `out of range`: beyond a numeric column's range by more
        than half its width.
        """
        rows = self._checked(x)
        return self._reasons(rows, self.errors(rows))

    def judge(self, x: Given) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Return `predict_proba` and `reasons` of rows, which are preprocessed once for both."""

        def probabilities_and_errors(x: Tensor) -> Tensor:
            errors = row_errors(self.encoder, self.decoder, self.loss, x)
            return torch.cat([self._probabilities(x), errors[:, None]], 1)

        rows = self._checked(x)
        columns = self._map(probabilities_and_errors, rows)
        return columns[:, :-1], self._reasons(rows, columns[:, -1])

    def _reasons(self, rows: Raw, errors: np.ndarray) -> dict[str, np.ndarray]:
        if self.novelty is None:
            raise ArtifactError("this model does not say which errors are usual; run its config again")
        reasons = {"reconstruction": errors > self.novelty}
        if isinstance(self.preprocessing, TablePreprocessing):
            assert isinstance(rows, Normalised)
            reasons["unseen category"] = self.preprocessing.unseen(rows)
            reasons["out of range"] = self.preprocessing.outside(rows)
        return reasons

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode codes (rows, *code) to rows (rows, *shape), in the units of `reconstruct`.

        Codes may be flattened. DataError where they are none of this model's.
        """
        array = np.asarray(codes, dtype=np.float32)
        if array.shape[1:] not in (self.code, (int(np.prod(self.code)),)):
            raise DataError(f"codes of shape {array.shape} given; this model has {_with_rows(self.code)}")
        array = array.reshape(len(array), *self.code)
        parts = [
            self.decoder(torch.from_numpy(array[part]).to(self._dtype)).numpy() for part in slices(array)
        ]
        return self._inverse(np.concatenate(parts) if parts else np.empty((0, *self.shape), np.float32))

    def _inverse(self, x: np.ndarray) -> np.ndarray:
        # Scalers refuse to scale no rows.
        return self.preprocessing.inverse(x) if len(x) else x

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """Draw n rows (n, *shape) from the prior of a variational code (Kingma & Welling 2014)."""
        if not self._generative:
            raise ArtifactError("the last layer of this run is not variational; set its kind: variational")
        return self.decode(np.random.default_rng(seed).standard_normal((n, *self.code)))

    def interpolate(self, x: Given, n: int) -> np.ndarray:
        """Decode n codes on the line from one row's code to the other's: two rows -> (n, *shape)."""
        codes = self.encode(x)
        if len(codes) != 2:
            raise DataError(f"{len(codes):,} rows given; interpolation goes from one to another, so give two")
        first, second = codes
        share = np.linspace(0.0, 1.0, n, dtype=np.float32).reshape(-1, *(1,) * first.ndim)
        return self.decode(first + share * (second - first))

    @torch.no_grad()
    def _map(self, module: Callable[[Tensor], Tensor], x: Given) -> np.ndarray:
        rows, size = self._checked(x), chunk_rows(self.shape)
        chunks = []
        for start in range(0, max(len(rows), 1), size):
            inputs = self._preprocessed(rows[start : start + size], start)
            chunks.append(module(torch.from_numpy(inputs).to(self._dtype)).numpy())
        return np.concatenate(chunks)

    def _preprocessed(self, rows: Any, first: int) -> np.ndarray:
        """Preprocess rows, of which the first has the number `first` from 0; DataError if not finite."""
        if isinstance(rows, np.ndarray) and not len(rows):
            return np.empty((0, *self.shape), np.float32)
        with np.errstate(over="ignore"):
            x = self.preprocessing(rows)
        finite = np.isfinite(x)
        if not finite.all():
            # A network makes NaN of it, of which the likeliest class would be the first.
            place = tuple(np.argwhere(~finite)[0])
            raise DataError(
                f"row {first + place[0] + 1:,} of those given: {rows[place]} is not a finite number, or "
                "too large a one; correct it, or leave the row out"
            )
        return x

    def _checked(self, x: Given) -> Any:
        """Return rows as the preprocessing takes them; DataError where they are none of this model's."""
        if isinstance(self.preprocessing, TablePreprocessing):
            if isinstance(x, Normalised):
                return x
            if not is_frame(x):
                used = [column.name for column in self.preprocessing.used]
                names = ", ".join(f"'{in_a_line(name)}'" for name in used[:3]) + ", …" * (len(used) > 3)
                raise DataError(f"this model takes a table, a DataFrame with the columns {names}")
            return self.preprocessing.read(x)
        if np.ma.isMaskedArray(x) and np.ma.getmaskarray(x).any():
            raise DataError(
                "values of the array are masked, and a model needs all; fill them, as x.filled(0)"
            )
        rows = np.asarray(x)
        if rows.shape[1:] not in (self.shape, (int(np.prod(self.shape)),)):
            raise DataError(
                f"an array of shape {rows.shape} given; this model takes {_with_rows(self.shape)}"
                f"{_remedy(rows.shape, self.shape)}"
            )
        if rows.dtype.kind not in "biuf":
            try:
                rows = rows.astype(np.float64)
            except (ValueError, TypeError) as fault:
                raise DataError(f"this model takes numbers: {in_a_line(fault)}; give numbers alone") from None
        # Sums are rounded otherwise where columns lie together.
        return np.ascontiguousarray(rows.reshape(len(rows), *self.shape))


def _with_rows(shape: Shape) -> str:
    return f"(rows, {', '.join(map(str, shape))})"


def _remedy(actual: Shape, expected: Shape) -> str:
    """Say how to make rows of the expected shape of an array of another shape, where that is likely."""
    if actual in (expected, (int(np.prod(expected)),)):
        return "; of one row x give x[None]"
    if len(expected) == 3 and actual[1:] == (*expected[1:], expected[0]):
        return "; move the channels to the front, as x.transpose(0, 3, 1, 2)"
    if [length for length in actual[1:] if length > 1] == [length for length in expected if length > 1]:
        return f"; give x.reshape(-1, {', '.join(map(str, expected))})"
    return ""
