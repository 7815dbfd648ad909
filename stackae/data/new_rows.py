"""Rows that a finished model is given, read as those that it learnt from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stackae.config import DataConfig
from stackae.data.files.paths import as_paths, quoted
from stackae.data.files.remote import remotes_named
from stackae.data.files.table_folder import table_files
from stackae.data.forms import FORMS, form_of
from stackae.data.forms.form import Form, NewRows
from stackae.data.preprocessing.load import Preprocessing
from stackae.errors import DataError

if TYPE_CHECKING:
    from stackae.data.tables.kept_columns import KeptColumns

__all__ = ["NewRows", "read_rows"]

_SETTING = re.compile(r"(?<=[ (])data\.(columns|drop|image_size|missing|separator|types)\b")
"""A setting that an error names as a remedy, which is that of a config unless it says of which."""


def read_rows(
    paths: str | Sequence[str],
    config: DataConfig,
    preprocessing: Preprocessing,
    keep: Sequence[str] = (),
) -> NewRows:
    """Read rows from files as `config` reads its source, for the model that was trained on that.

    A table needs all columns but the target; other rows have the shape that the preprocessing takes, or, as
    arrays, are flattened. `keep` names columns of a table that are to be written beside what is found.
    Raises `DataError` where a file is missing, damaged, or of another kind, or has no such column; reading
    the rows raises it where a number in an array is not finite.
    """
    try:
        with remotes_named():
            return _read(paths, config, preprocessing, keep)
    except DataError as fault:
        raise DataError(_SETTING.sub(r"\g<0> of the run's config.yaml", str(fault), count=1)) from None


def _read(
    paths: str | Sequence[str], config: DataConfig, preprocessing: Preprocessing, keep: Sequence[str]
) -> NewRows:
    form = form_of(paths, "data")
    if not form.learnt_by(preprocessing):
        kinds = ("arrays or images", "a table")
        trained_on, form_name = kinds if form is FORMS["table"] else kinds[::-1]
        raise DataError(
            f"{quoted(paths)}: {form_name} where this run was trained on {trained_on}; give it the like"
        )
    rows = form.read_new(paths, config, preprocessing)
    return replace(rows, kept=_kept(paths, config, keep, form)) if keep else rows


def _kept(paths: str | Sequence[str], config: DataConfig, keep: Sequence[str], form: Form) -> KeptColumns:
    if form is not FORMS["table"]:
        raise DataError(f"--keep: {quoted(paths)} is not a table, so it has no columns to keep; leave it out")
    from stackae.data.tables.kept_columns import KeptColumns

    return KeptColumns(table_files(as_paths(paths)), config, keep)
