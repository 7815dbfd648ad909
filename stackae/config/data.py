"""The data to learn from, how columns are read, and how rows are divided."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stackae.config.section import PositiveInt, Section, Share, Switch

Paths = str | Annotated[tuple[str, ...], Field(min_length=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)] | str
TypeName = Literal["numeric", "standard", "minmax", "quantile", "time", "categorical"]


class PerClass(Section):
    per_class: PositiveInt
    """How many labelled training rows to keep of each class."""


class SplitConfig(Section):
    pool: Switch = False
    """Put the published training and test rows together first and draw the parts anew."""
    train: PositiveInt | None = None
    """Training rows to keep (drawn, stratified by class); null keeps all that are left."""
    val: PositiveInt | Share = 0.1
    """Validation rows, which judge the layers, taken from the training rows, labelled or not: a number, or a
    share of them between 0 and 1. `finetune.validation` says what their labels are used for."""
    test: PositiveInt | Share | None = None
    """Test rows: a number or a share. Null takes the published test part, or 0.2 where there is none."""


class DataConfig(Section):
    source: Paths = "digits"
    """`digits`, `mnist`, `fashion_mnist`, or a path: a table (`.csv`, `.tsv`, `.txt`, `.data`, `.dat`, JSON
    lines as `.jsonl` or `.ndjson`, these also compressed as `.gz`, `.bz2`, `.zst` or `.zip`; `.parquet`,
    `.feather`, `.arrow`) or a folder of tables, arrays (an `.npz` file with `x`, `y`, if wanted `x_test`,
    `y_test`; an `.npy` file), or a folder of images with one folder per class. A list of paths, or a glob as
    `sales/*.csv`, puts the rows of several files together. Environment variables in paths, as `$HOME`, are
    replaced by what they hold. A path with a scheme, as `s3://bucket/sales.csv`, is fetched into your cache
    folder (extra `remote`)."""
    test: Paths | None = None
    """The test rows, of the same form as the source; null draws them from the source."""
    unlabelled: Paths | None = None
    """More rows of the same form, without labels, for pretraining alone."""
    target: str | None = None
    """The label column of a table; for `.npy`, the path of an `.npy` file with the labels, first those of the
    source, then those of `test`; for images that of a `.csv` with a column of their files, found by its
    content, and one of their labels, the only other one or that called `label`."""
    group: str | None = None
    """A column of a table: rows that are alike in it stay together in one part."""
    order: str | None = None
    """A column of a table, a number or a time: the last rows are the test, those before them validate."""
    drop: tuple[str, ...] = ()
    """Columns of a table that are not used."""
    columns: Names | None = None
    """The columns' names where a table has no header: a list, or a file with a name in each line, in front of
    a comma if more follows; null: the first line is the header."""
    separator: str | None = Field(default=None, min_length=1, max_length=1)
    """The delimiter between a table's cells; null finds out whether it is a comma, semicolon, tab, bar or
    blanks. A blank stands for runs of blanks and tabs."""
    decimal: Literal[".", ","] = "."
    """The decimal mark of numbers in strings; with a comma, points between thousands are taken out."""
    thousands: Literal[","] | None = None
    """`,` where commas of numbers in strings stand between thousands. Null: a cell as `1,234` is refused, as
    its comma may be the decimal one; `1,234.5` and `1,234,567` are numbers all the same."""
    comment: str | None = Field(default=None, min_length=1)
    """Lines of a table that start with it are skipped."""
    missing: tuple[str, ...] = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
    """Cells of a table that stand for a missing value; an empty one always does."""
    types: dict[str, TypeName] = Field(default={})
    """Types of columns where they are not as found: `categorical`, `time` (numbers are seconds since 1970),
    `numeric` (times are one number, their seconds), or for a number that is scaled otherwise than the others
    `standard`, `minmax` or `quantile`."""
    scaling: Literal["standard", "minmax", "quantile", "none"] | None = None
    """How numbers are scaled, each feature on its own: to mean 0 and variance 1, to [0, 1], to a normal
    distribution by ranks, or not at all. Null: `standard` for tables, `none` for arrays and images."""
    rare: PositiveInt = 10
    """Categories with fewer training rows than this are merged into one."""
    classes: dict[str, str] = Field(default={})
    """Other names for labels; labels of one name are one class, and `"*"` stands for all others."""
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width to which images are resized; null: all must have the same."""
    image_mode: Literal["grey", "rgb"] | None = None
    """`grey` or `rgb`; null: `rgb` where any image of the source has colours."""
    root: str | None = None
    """Folder of the IDX files; null takes the environment variable STACKAE_DATA, else the user's cache
    folder."""
    labels: Literal["all"] | PositiveInt | PerClass = "all"
    """The labels there are to learn from: `all` but those of the test rows; or a number of those of the
    training rows (stratified by class), or `{per_class: n}` of them. All other rows become unlabelled."""
    labels_for_validation: Literal["all"] | Annotated[int, Field(ge=0, strict=True)] = 0
    """Labels of validation rows beside these, which are not learnt from but choose the best epoch of
    fine-tuning: `all`, or a number; with 0 `labels` are all that is used. For experiments that had them."""
    split: SplitConfig = SplitConfig()
    """How rows are divided into training, validation and test."""

    @model_validator(mode="after")
    def _one_meaning_of_a_comma(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError(
                "a comma is the decimal mark or stands between thousands, not both; remove one setting"
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_divide(self) -> Self:
        if self.group is not None and self.order is not None:
            raise ValueError("rows are divided by group or by order, not by both; remove one of them")
        return self
