"""What to learn from, and how its rows are divided."""

from __future__ import annotations

from typing import Literal

from stackae.config.section import PositiveInt, Section, Share, Switch


class PerClass(Section):
    per_class: PositiveInt
    """How many labelled training rows to keep of each class."""


class SplitConfig(Section):
    pool: Switch = False
    """Put the published training and test rows together first and draw the parts anew."""
    train: PositiveInt | None = None
    """Training rows to keep (drawn, stratified by class); null keeps all that are left."""
    val: PositiveInt | Share = 0.1
    """Validation rows, taken from the training rows: a number, or a share of them between 0 and 1."""
    test: PositiveInt | Share | None = None
    """Test rows: a number or a share. Null takes the published test part, or 0.2 where there is none."""


class DataConfig(Section):
    source: str = "digits"
    """`digits`, `mnist`, `fashion_mnist`, or the path of an `.npz` file with the arrays `x`, `y`
    and, if wanted, `x_test`, `y_test`."""
    root: str | None = None
    """Folder of the IDX files; null takes the environment variable STACKAE_DATA, else the user's cache
    folder."""
    labels: Literal["all"] | PositiveInt | PerClass = "all"
    """Labels to keep: `all`, a number (stratified by class), or `{per_class: n}`. The other training rows
    become unlabelled."""
    split: SplitConfig = SplitConfig()
    """How rows are divided into training, validation and test."""
