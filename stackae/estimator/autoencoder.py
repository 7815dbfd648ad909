"""The transformer: rows become the codes of a stack of autoencoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from stackae.data.preprocessing.table import TablePreprocessing
from stackae.estimator.fit import fit_model
from stackae.estimator.messages import as_value_errors
from stackae.estimator.refusals import check_given
from stackae.estimator.validation import check_new_rows, check_rows


class StackedAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Autoencoders that are trained one on top of the other, as a transformer of scikit-learn.

    `layers` are widths, or mappings as under `layers` in a file; `kind` and `corruption` are those of the
    widths; without a corruption a denoising layer swaps a fifth of its inputs with those of other rows.
    `epochs`, `batch_size`, `lr` and `patience` are those of each layer's pretraining, `unroll_epochs` those
    of training the whole stack afterwards; `auto` and None are what a file has by default. `scaling` is
    `standard`, `minmax`, `quantile` or `none`, of each feature on its own. `validation_fraction` of the rows
    validate; where they are too few, all do.
    `output` says what `transform` gives: the codes of the `last` layer, or of `all`, side by side, with names
    as `layer_2_code_3`. `store` is a folder in which fits find the layers that another fit trained already;
    None keeps nothing.

    Rows are numbers (rows, features), or a DataFrame: of one that has other columns than numbers, or missing
    cells, columns are encoded as those of a table in a file. Where rows of a DataFrame lack numbers only
    after the fit, the column's median stands for them, as in a table. After `fit`, `model_` is what
    `stackae.load` returns, and `results_` are those of a run, in which the test rows are the validation rows.
    """

    def __init__(
        self,
        layers: Sequence[int | Mapping[str, Any]] = (256, 256, 128),
        *,
        kind: str = "denoising",
        corruption: Mapping[str, Any] | None = None,
        scaling: str = "standard",
        epochs: int | str = "auto",
        batch_size: int | None = None,
        lr: float = 1e-3,
        patience: int | str | None = "auto",
        unroll_epochs: int = 0,
        output: str = "last",
        validation_fraction: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
        accelerator: str = "auto",
        store: str | Path | None = None,
        verbose: int = 0,
    ) -> None:
        self.layers = layers
        self.kind = kind
        self.corruption = corruption
        self.scaling = scaling
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.patience = patience
        self.unroll_epochs = unroll_epochs
        self.output = output
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.accelerator = accelerator
        self.store = store
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the layers on rows; `y` is not used."""
        rows = check_rows(self, check_given(X))
        self.model_, self.results_ = fit_model(self.get_params(deep=False), rows, None)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the codes in float64, (rows, features): of the last layer, or of all by `output="all"`."""
        check_is_fitted(self)
        table = isinstance(self.model_.preprocessing, TablePreprocessing)
        rows = check_new_rows(self, check_given(X), table=table)
        with as_value_errors():
            codes = self.model_.encode(rows, self._layer)
        return codes.reshape(len(codes), -1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return a name for each feature of `transform`; `input_features` are not used."""
        names: np.ndarray = super().get_feature_names_out(input_features)
        return names if self._layer is None else np.array(self.model_.code_names(self._layer), object)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode codes (rows, features) to rows, in the units of those that the stack learnt from.

        Of the codes of all layers those of the last are decoded.
        Of a table with other columns than numbers these are its features, `model_.preprocessing.names()`.
        """
        check_is_fitted(self)
        codes = check_array(check_given(X), dtype=np.float64)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X has {codes.shape[1]} features, but codes have {self._n_features_out}")
        last = codes[:, -int(np.prod(self.model_.code)) :]
        rows = self.model_.inverse_transform(last.reshape(len(codes), *self.model_.code))
        return rows.reshape(len(rows), -1)

    @property
    def _n_features_out(self) -> int:
        return len(self.model_.code_names(self._layer))

    @property
    def _layer(self) -> Literal["all"] | None:
        return "all" if self.output == "all" else None
