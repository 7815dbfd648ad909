"""Which labels fine-tuning learns from, and which rows tell how well and how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stackae.config import Config, FinetuneConfig
from stackae.data.source import Source
from stackae.data.splits import Mask, Split, draw, generator, take
from stackae.errors import ConfigError, DataError

FEW = 1000
"""Labelled rows below which folds validate: a tenth of them would tell an accuracy to some 3 points at best,
while the networks of all folds together cost no more than one that learns from some thousand rows."""
FOLDS = 5
"""Folds where there are as many rows of each class."""
HELD_OUT = 0.1
"""Share of the labelled rows that is held out where no labelled row is among those for validation."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelUse:
    """What is made of the labels of the training and the validation rows, one after the other.

    `learn` marks the rows to learn from. `fold` numbers the fold of each of them, -1 for all other rows; None
    where there are no folds. `hold_out` marks rows that choose the length of training; where `learn` marks
    some of them, a second fit learns from these too. None where the length is fixed.
    """

    learn: Mask
    fold: Ints | None = None
    hold_out: Mask | None = None

    @property
    def first(self) -> Mask:
        """The rows that the first fit learns from; of those of all folds each network leaves out some."""
        return self.learn & ~self.validates

    @property
    def folds(self) -> int:
        """How many folds there are; 0: none."""
        return 0 if self.fold is None else int(self.fold.max()) + 1

    @property
    def validates(self) -> Mask:
        """The rows that choose the length of training."""
        return np.zeros_like(self.learn) if self.hold_out is None else self.hold_out

    @property
    def refit(self) -> bool:
        """Whether such rows are learnt from in the end."""
        return bool((self.learn & self.validates).any())

    @property
    def counts(self) -> dict[str, int]:
        """What `results.json` says of it."""
        return {
            "labelled": int(self.learn.sum()),
            "folds": self.folds,
            "held_out": int((self.learn & self.validates).sum()),
            "labels_for_validation": int((self.validates & ~self.learn).sum()),
        }

    @property
    def labelled(self) -> Ints:
        """The numbers of all rows whose labels are used."""
        return np.flatnonzero(self.learn | self.validates)

    @property
    def judged(self) -> Ints:
        """The numbers of the rows that tell how well a fit does which has not seen them, if any do."""
        return np.flatnonzero(self.learn if self.folds else self.validates)

    def parts(self, rows: Ints) -> list[tuple[Mask, Mask]]:
        """Return masks of the rows to fit to and to judge by, for each fold or for those that are held out.

        `rows` are numbers of labelled rows; no fold without any of them is among the parts.
        """
        if self.fold is not None:
            fold = self.fold[rows]
            return [(fold != number, fold == number) for number in np.unique(fold)]
        if self.hold_out is not None:
            return [(self.first[rows], self.hold_out[rows])]
        return []


NO_LABELS = LabelUse(np.zeros(0, bool))


def in_words(counts: Mapping[str, int]) -> str:
    """Say what labels are used for, from the counts of a `LabelUse`; those of earlier versions are fewer."""
    clause = ""
    if folds := counts.get("folds"):
        clause = f", in {folds} folds"
    elif held_out := counts.get("held_out"):
        clause = f", {held_out:,} of them first held out"
    elif beside := counts.get("labels_for_validation"):
        clause = f", {beside:,} others validate"
    return f"{counts['labelled']:,} labels to learn from{clause}"


def use_labels(source: Source, split: Split, config: Config) -> LabelUse:
    """Decide what the labels are used for, as the config asks or, where it says `auto`, by their number.

    Depends on the seeds, the config, the split, and the labels, groups and order alone. Raises ConfigError or
    DataError where more folds or rows are asked for than the labelled rows allow.
    """
    use = _Use(source, split, config)
    if config.data.labels_for_validation:
        return use.beside(config.data.labels_for_validation)
    wanted = (config.finetune or FinetuneConfig()).validation
    if wanted == "auto":
        return use.by_number()
    if wanted == "none":
        return LabelUse(use.learn)
    if wanted.folds is not None:
        return use.in_folds(wanted.folds)
    assert wanted.share is not None
    return use.without(wanted.share)


class _Use:
    """The rows of training and validation in turn: their numbers, classes, and which to learn from."""

    def __init__(self, source: Source, split: Split, config: Config) -> None:
        self.source, self.seed, self.repeat = source, config.seed, config.repeat
        self.rows: Ints = np.concatenate([split.train, split.val])
        self.y = source.labels[self.rows]
        self.validates: Mask = np.arange(len(self.rows)) >= len(split.train)
        # Where rows are so few that all of them train and validate, none counts twice.
        only = self.validates & ~np.isin(self.rows, split.train)
        own = only & (self.y >= 0) & (config.data.labels == "all")
        self.learn: Mask = np.concatenate([split.labelled, own[len(split.train) :]])

    def beside(self, count: int | str) -> LabelUse:
        """Validate on the labels of validation rows, which are not learnt from: all, or so many."""
        setting, validating = "data.labels_for_validation", self.rows[self.validates & (self.y >= 0)]
        if not len(validating):
            raise ConfigError(
                f"{setting}: {count} asked for, but no validation row has a label; leave it out"
            )
        held = validating
        if count != "all":
            held = draw(setting, validating, int(count), self.source.labels, self.seed, self.repeat)
        return LabelUse(self.learn & ~self.validates, hold_out=self.validates & np.isin(self.rows, held))

    def by_number(self) -> LabelUse:
        """Take folds for few labelled rows, and hold rows out of many; neither where that cannot be."""
        if self.learn.sum() < FEW:
            # Later rows must not tell how well earlier ones are predicted.
            most = FOLDS if self.source.order is None else 0
            folds = map(self._fold, range(min(most, self._smallest), 1, -1))
            return LabelUse(self.learn, fold=next((fold for fold in folds if fold is not None), None))
        own = self.learn & self.validates
        if own.any():
            return LabelUse(self.learn, hold_out=own)
        try:
            return self.without(HELD_OUT)
        except DataError:
            # All are of one group, or of one time.
            return LabelUse(self.learn)

    def in_folds(self, folds: int) -> LabelUse:
        """Divide the rows into folds, whole groups where there are groups."""
        if self.source.order is not None:
            raise ConfigError(
                "finetune.validation: folds asked for, but rows have an order, and earlier ones would be "
                "judged by what later ones taught; ask for {share: 0.1}, the last of them"
            )
        number = self._fold(folds) if folds <= self._smallest else None
        if number is None:
            most = f"a class has only {self._smallest:,}" + (
                "" if self.source.group is None else ", or too few groups"
            )
            raise ConfigError(
                f"finetune.validation: {folds} folds of labelled rows asked for, but {most}; ask for fewer, "
                "or set finetune.validation: none"
            )
        return LabelUse(self.learn, fold=number)

    def without(self, share: float) -> LabelUse:
        """Hold a share of the rows out: drawn, in whole groups, or the last ones."""
        setting, rows = "finetune.validation", np.sort(self.rows[self.learn])
        held = take(setting, rows, share, self.source, self.seed, leave=1, repeat=self.repeat)
        hold_out = self.learn & np.isin(self.rows, held)
        if not (self.learn & ~hold_out).any():
            raise ConfigError(
                f"finetune.validation: a share of {share} leaves none of {len(rows):,} labelled rows to "
                "learn from; ask for less, or set finetune.validation: none"
            )
        return LabelUse(self.learn, hold_out=hold_out)

    @property
    def _smallest(self) -> int:
        """Labelled rows of the class with the fewest or, where there are groups, groups with such rows."""
        learnt, y = self.rows[self.learn], self.y[self.learn]
        group = None if self.source.group is None else self.source.group[learnt]
        units = learnt if group is None else group
        return min(len(np.unique(units[y == number])) for number in range(len(self.source.classes)))

    def _fold(self, folds: int) -> Ints | None:
        """Number the rows' folds, -1 for those that are not learnt from; None if one left a class without."""
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        places = np.flatnonzero(self.learn)
        y, group = self.y[places], self.source.group
        state = int(generator("finetune.validation", self.seed, self.repeat).integers(2**31))
        if group is None:
            parts = StratifiedKFold(folds, shuffle=True, random_state=state).split(places, y)
        else:
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=state)
            parts = splitter.split(places, y, group[self.rows[places]])
        number = np.full(len(self.rows), -1, np.int64)
        for fold, (others, held) in enumerate(parts):
            if not len(held) or len(np.unique(y[others])) < len(self.source.classes):
                return None
            number[places[held]] = fold
        return number
