"""The classifier: a pretrained stack under a softmax head, fine-tuned on the rows that have labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from stackae.data.preprocessing.table import TablePreprocessing
from stackae.estimator.fit import fit_model
from stackae.estimator.messages import as_value_errors
from stackae.estimator.refusals import check_given, without_mask
from stackae.estimator.validation import check_new_rows, check_rows, number_labels
from stackae.estimator.weights import weigh


class StackedAutoencoderClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A stack of autoencoders, pretrained on all rows and fine-tuned on those with a label.

    As in `sklearn.semi_supervised` the label -1 stands for none; if classes are strings, so do '-1' and ''.
    In an array of objects, or in pandas, None and NaN do as well, and so does a masked label; in an array of
    numbers NaN is an error.
    Labels of which -1 and 1 are all there is are two classes.

    `finetune_epochs`, `finetune_lr`, `finetune_patience`, `batch_norm`, `noise`, `input_scale`, `shortcut`,
    `dropout`, `input_dropout`, `label_smoothing`, `balance`, `validation`, `encoder_lr_scale`,
    `freeze_encoder`, `semi_supervised` and `blend` are those of the fine-tuning; all other parameters, the
    rows and `model_` are as in `StackedAutoencoder`. `classes_` are the labels, sorted.

    All labels are learnt from. `results_.classifier["val"]` is of networks that had not learnt from the rows
    that they were judged by: those of each fold, or those that were held out first. It is None where no rows
    validate, and `test` is None, since no row is kept from the fit.
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
        finetune_epochs: int | str = "auto",
        finetune_lr: float = 2e-3,
        finetune_patience: int | str | None = "auto",
        batch_norm: bool = True,
        noise: float | str = "auto",
        input_scale: str = "auto",
        shortcut: bool | str = "auto",
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        balance: str = "none",
        validation: str | Mapping[str, Any] = "auto",
        encoder_lr_scale: float = 1.0,
        freeze_encoder: bool = False,
        semi_supervised: Mapping[str, Any] | None = None,
        blend: str = "none",
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
        self.finetune_epochs = finetune_epochs
        self.finetune_lr = finetune_lr
        self.finetune_patience = finetune_patience
        self.batch_norm = batch_norm
        self.noise = noise
        self.input_scale = input_scale
        self.shortcut = shortcut
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.label_smoothing = label_smoothing
        self.balance = balance
        self.validation = validation
        self.encoder_lr_scale = encoder_lr_scale
        self.freeze_encoder = freeze_encoder
        self.semi_supervised = semi_supervised
        self.blend = blend
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.accelerator = accelerator
        self.store = store
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows and their labels, (rows,).

        `sample_weight` (rows,) says how much each row counts in fine-tuning and in its validation, in
        proportion to the others; pretraining takes all rows alike. A row of weight 0 is one without a label.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        rows = check_rows(self, check_given(X))
        classes, codes = number_labels(without_mask(y))
        check_consistent_length(rows, codes)
        weighted = weigh(sample_weight, classes, codes)
        self.model_, self.results_ = fit_model(
            self.get_params(deep=False), rows, weighted.codes, weighted.weights
        )
        self.classes_ = weighted.classes
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities in float64, (rows, classes), in the order of `classes_`.

        Logits are divided by the temperature that `results_.calibration` tells of, fitted to rows that were
        not learnt from, where that makes such rows likelier.
        """
        check_is_fitted(self)
        table = isinstance(self.model_.preprocessing, TablePreprocessing)
        rows = check_new_rows(self, check_given(X), table=table)
        with as_value_errors():
            return self.model_.predict_proba(rows)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest class of each row, (rows,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        labels: np.ndarray = self.classes_[likeliest]
        return labels
