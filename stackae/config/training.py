"""How something is trained: a layer, the unrolled stack, the classifier."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stackae.config.joint import SemiSupervisedConfig
from stackae.config.section import (
    EpochsOrNone,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
    Share,
    Switch,
)

OptimizerName = Literal["adam", "adamw", "sgd"]
ScheduleName = Literal["constant", "cosine", "one_cycle"]
BaselineName = Literal["extra_trees", "logistic_regression", "svm", "boosting", "label_spreading"]


class FitConfig(Section):
    """What pretraining and fine-tuning have in common."""

    batch_size: PositiveInt = 100
    """Rows per optimiser step, at most; an epoch's rows are divided into batches of nearly equal size."""
    optimizer: OptimizerName = "adam"
    """`adam`, `adamw` (decoupled weight decay) or `sgd` (with momentum)."""
    lr: PositiveFloat = 1e-3
    """Learning rate (the highest one, where a schedule is set)."""
    momentum: Fraction = 0.9
    """Momentum of `sgd`; the others ignore it."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; biases are never decayed."""
    schedule: ScheduleName = "constant"
    """`constant`, `cosine` (after `warmup` epochs, down to 0) or `one_cycle`."""
    warmup: NonNegativeFloat = 0.0
    """Epochs over which `constant` and `cosine` raise the learning rate from 0; may be a fraction."""
    epochs: PositiveInt = 20
    """How often the rows are gone through, at most."""
    patience: PositiveInt | None = None
    """Stop after so many epochs without a better validation and keep the best weights. Null never stops
    early."""


class PretrainConfig(FitConfig):
    """How a layer is pretrained; the plan replaces `auto` by numbers once the rows are counted."""

    batch_size: PositiveInt = 256
    """Rows per optimiser step, at most; an epoch's rows are divided into batches of nearly equal size."""
    # What is trained has been settled, and so has the number that FitConfig promises.
    epochs: EpochsOrNone | Literal["auto"] = "auto"  # type: ignore[assignment]
    """Epochs per layer, at most; 0 leaves the layers at their random weights, for `unroll` to train.
    `auto`: as many as make 1,500 steps, but from 20 to 500."""
    patience: PositiveInt | Literal["auto"] | None = "auto"  # type: ignore[assignment]
    """Stop a layer after so many epochs without a better validation reconstruction and keep its best weights.
    `auto`: a fifth of the epochs, at least 5, where `epochs` is `auto`, else null. Null never stops early."""
    batch_norm: Switch = True
    """Normalise a layer over the batch while it is pretrained; then it is folded into weights and biases."""


class ValidationConfig(Section):
    """Which of the labelled rows validate: one of the two."""

    folds: Annotated[int, Field(ge=2, le=100, strict=True)] | None = None
    """How many parts the labelled rows are divided into; as many networks each leave out another one."""
    share: Share | None = None
    """Share of the labelled rows that chooses the length of training; then all of them are learnt from."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.folds is None) == (self.share is None):
            raise ValueError("give folds or share, one of the two")
        return self


class FinetuneConfig(FitConfig):
    """How the classifier is trained; the plan replaces `auto` by numbers once the labels are counted."""

    batch_size: PositiveInt | Literal["auto"] = "auto"  # type: ignore[assignment]
    """Rows per optimiser step, at most; an epoch's rows are divided into batches of nearly equal size.
    `auto`: 128, from 5,000 labelled rows on 256."""
    lr: PositiveFloat = 2e-3
    """Learning rate (the highest one, where a schedule is set)."""
    optimizer: OptimizerName = "adamw"
    """`adam`, `adamw` (decoupled weight decay) or `sgd` (with momentum)."""
    schedule: ScheduleName = "cosine"
    """`constant`, `cosine` (after `warmup` epochs, down to 0) or `one_cycle`."""
    # What is trained has been resolved, and so has the number that FitConfig promises.
    epochs: PositiveInt | Literal["auto"] = "auto"  # type: ignore[assignment]
    """Epochs over the labelled rows, at most; `auto`: 30, or as many as make 1,500 steps, or 200 in
    folds of up to 600 labels under three layers or more of at least 128 units. With `semi_supervised` epochs
    go over all training rows; `auto`: as many as make 1,500 steps."""
    patience: PositiveInt | Literal["auto"] | None = "auto"  # type: ignore[assignment]
    """Stop after so many epochs without a better validation accuracy; the best weights are kept either way.
    `auto`: two fifths of the epochs, at least 20. Null never stops early."""
    validation: Literal["auto", "none"] | ValidationConfig = "auto"
    """Which labelled rows tell how well the classifier does. `{folds: k}`: each in turn; k networks are
    trained for a fixed length, each without one k-th of them, and their probabilities are averaged. `{share:
    s}`: those that are held out (whole groups, or the last ones, where `data` has groups or an order); they
    choose the length, and a second fit learns from all. `none`: none; one network learns from all for a fixed
    length. `auto`: below 1,000 labelled rows 5 folds (fewer where a class has fewer rows or groups; `none`
    where it has one, or rows have an order), else the labelled rows of `data.split.val` are held out, or a
    tenth. Where `data.labels_for_validation` is set, those rows alone choose the best weights, and are not
    learnt from."""
    semi_supervised: SemiSupervisedConfig | None = None
    """Learn from rows without labels in the same steps: `ladder`, `consistency` or `reconstruction`. The
    control from scratch does so, too; another one, `labels-alone`, does not."""
    blend: Literal["none", "auto"] | BaselineName = "none"
    """Average the classifier's probabilities with those of a baseline on the columns, which the model then
    holds: `extra_trees`, `logistic_regression`, `svm`, `boosting`, `label_spreading`. `auto`: with all that
    the run fits, to the columns or to these and the codes of all layers, in the shares that make the rows
    that validate likely; those with less than a twentieth are left out, all of them where too few rows
    validate."""
    batch_norm: Switch = True
    """Normalise every layer over the batch while training; then it is folded into weights and biases."""
    noise: NonNegativeFloat | Literal["auto"] = "auto"
    """Standard deviation of Gaussian noise in training, with `batch_norm` behind every normalisation, and on
    the input. `auto`: 0.3, or 0.2 where a layer has fewer than 64 units; 0 without `batch_norm`."""
    input_noise: NonNegativeFloat | Literal["auto"] = "auto"
    """Standard deviation of the noise on the input, in units of the inputs' own; `auto`: that of `noise`."""
    input_scale: Literal["auto", "none", "importance"] = "auto"
    """`importance`: multiply each input by its importance to extra trees that are fitted to
    the labelled rows, over the mean importance, at most 5. `auto`: that in a table where folds validate, and
    `none` elsewhere."""
    shortcut: Switch | Literal["auto"] = "auto"
    """Add a linear map of the input to the logits, so that narrow layers need not carry it. `auto`: where a
    layer has fewer than 64 units."""
    temperature: Literal["auto", "none"] = "auto"
    """`auto`: the model divides its logits by a number that is fitted to the rows that validate, where that
    lowers the NLL of such rows (Guo et al. 2017); no prediction changes by it, and nothing is trained. With
    `blend` it is the mean that it is fitted to and applied to. Where no rows validate there is none."""
    dropout: Fraction = 0.0
    """Share of each hidden layer's outputs that is dropped in training."""
    input_dropout: Fraction = 0.0
    """Share of the inputs that is dropped in training."""
    label_smoothing: Fraction = 0.0
    """Share of each label's probability that is spread over all classes; helps where labels are few."""
    balance: Literal["none", "weights", "sampling"] = "none"
    """Against classes of unequal size: `weights` lets errors on rare classes count for more, `sampling` draws
    rows of all classes equally often, so those of rare ones repeatedly."""
    encoder_lr_scale: PositiveFloat = 1.0
    """The pretrained layers' learning rate, as a multiple of `lr`; the scratch control always uses 1."""
    freeze_encoder: Switch = False
    """Train the softmax head only, without `batch_norm`, `noise`, `input_scale` and `shortcut`. The scratch
    control is trained as a whole all the same, and with these."""


class UnrollConfig(FitConfig):
    epochs: EpochsOrNone = 0
    """Epochs of training the whole stack, mirrored into a deep autoencoder, to reconstruct its input; 0:
    none."""
    untie: Switch = False
    """Give tied layers decoders of their own first, which start as the encoders' transposes."""
