"""The forms of data, one file each, and which of them a path is of."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from stackae.data.files.endings import WORKBOOKS, uncompressed_path
from stackae.data.files.paths import IMAGES, as_paths
from stackae.data.forms import arrays, images, tables
from stackae.data.forms import built_in as built_in_sets
from stackae.data.forms.form import Form
from stackae.errors import DataError

FORMS: Mapping[str, Form] = {
    "built_in": built_in_sets.FORM,
    "table": tables.FORM,
    "images": images.FORM,
    "arrays": arrays.FORM,
}
"""The forms by name, in the order in which a path is tried against them."""


def form_of(paths: str | Sequence[str], setting: str, *, built_in: bool = False) -> Form:
    """Find the form of the data at the paths that a setting names, by what is there and by their names.

    `built_in` allows the name of a built-in set. Raises `DataError` where nothing is there, or it is of no
    known form, or of several.
    """
    files = as_paths(paths)
    names = {_name_of(path, setting, built_in=built_in) for path in files}
    if len(names) > 1:
        raise DataError(f"{setting}: '{files[0]}' and others are of several forms; name files of one form")
    (name,) = names
    if name == "images" and len(files) > 1:
        raise DataError(f"{setting}: several folders; put their classes' folders into one, and name that")
    return FORMS[name]


def _name_of(path: Path, setting: str, *, built_in: bool) -> str:
    if built_in and FORMS["built_in"].belongs(path):
        return "built_in"
    if not path.exists():
        raise DataError(f"{setting}: {_absent(path, built_in=built_in)}")
    for name, form in FORMS.items():
        if name != "built_in" and form.belongs(path):
            return name
    if path.suffix.lower() in IMAGES:
        raise DataError(f"{setting}: '{path}' is one image; name the folder that it is in")
    if path.suffix.lower() in WORKBOOKS:
        raise DataError(
            f"{setting}: '{path}' is a workbook; save its sheet as CSV, in Excel by 'Save As' and "
            "'CSV UTF-8', and name that"
        )
    if uncompressed_path(path).suffix.lower() == ".json":
        raise DataError(
            f"{setting}: '{path}' is one JSON text; write an object per line to a .jsonl file, as "
            "pandas does with to_json(…, orient='records', lines=True)"
        )
    endings = ", ".join(ending for form in FORMS.values() for ending in form.endings)
    raise DataError(
        f"{setting}: '{path}' has none of the endings {endings}, compressed or not; "
        "rename it after what is in it"
    )


def _absent(path: Path, *, built_in: bool) -> str:
    if unset := re.search(r"\$\{?(\w+)", str(path)):
        return f"'{path}': the environment variable {unset[1]} is not set; set it, or write the path out"
    if path.suffix or len(path.parts) > 1 or not built_in:
        return f"there is no file '{path}'; paths start at the current folder"
    near = difflib.get_close_matches(str(path).lower().replace("-", "_"), built_in_sets.NAMES, n=1)
    hint = (
        f"did you mean '{near[0]}'?"
        if near
        else f"give a file's or folder's path, or one of {', '.join(built_in_sets.NAMES)}"
    )
    return f"unknown source '{path}'; {hint}"
