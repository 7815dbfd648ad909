"""Labels as files have them become the numbers of classes."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stackae.errors import DataError

RawLabels = npt.NDArray[Any]
"""Labels of rows: whole numbers, where -1 is none, strings, where '' is, or objects, where None is."""
Labels = npt.NDArray[np.int64]
"""The number of each row's class, -1 where a row has no label."""

_FEW = 20  # classes, of which there may be nearly as many as rows in a small trial


@dataclass(frozen=True)
class LabelWording:
    """The names that errors give the labels' file, the labels, those of the test, a test row, and all."""

    file: str
    y: str = "y"
    y_test: str = "y_test"
    row: Callable[[int], str] = "row {:,}".format
    without: str = "leave y out"
    test: str = "y_test"


def number_labels(
    y: RawLabels, y_test: RawLabels | None, names: Mapping[str, str], wording: LabelWording
) -> tuple[Labels, Labels | None, tuple[str, ...]]:
    """Number the classes: of each row, of each test row, and the classes' names by number.

    Classes are the labels of `y`, sorted. `names` gives labels other names, `*` all those without one; labels
    of one name are one class. Raises `DataError` where there is no label, one class only, quantities instead
    of classes, or a test label that is none of them.
    """
    values, codes = distinct(y)
    test_values, test_codes = distinct(y_test) if y_test is not None else ([], None)
    if names:
        _check_names(names, {str(value) for value in [*values, *test_values]})
        values, test_values = (rename(labels, names) for labels in (values, test_values))
    if not values:
        raise DataError(f"{wording.file}: {wording.y} has no label in any row; {wording.without}")
    # Strings of an array are sorted as such, all others that are numbers as numbers.
    as_numbers = (names or y.dtype.kind == "O") and all(map(_is_number, values))
    classes = sorted(set(values), key=(lambda label: (float(label), label)) if as_numbers else None)
    if len(classes) == 1:
        raise DataError(
            f"{wording.file}: {wording.y} has one class only ({classes[0]}); at least two are needed, "
            f"or {wording.without}"
        )
    labelled = int((codes >= 0).sum())
    if len(classes) > _FEW and (
        len(classes) == labelled or (len(classes) > labelled // 2 and _are_quantities(classes))
    ):
        raise DataError(
            f"{wording.file}: {wording.y} has {len(classes):,} different values in {labelled:,} labelled "
            f"rows, as quantities have; classes are needed, or {wording.without}"
        )
    number = {label: n for n, label in enumerate(classes)}
    numbers = _look_up([number[label] for label in values], codes)
    class_names = tuple(map(str, classes))
    if test_codes is None:
        return numbers, None, class_names
    if not test_values:
        raise unlabelled_test(wording.test, "no row has one")
    unseen = np.array([*(label not in number for label in test_values), False])[test_codes]
    if unseen.any():
        row = int(np.argmax(unseen))
        raise DataError(
            f"{wording.file}: {wording.y_test} has the label '{test_values[test_codes[row]]}' "
            f"({wording.row(row)}), which never occurs in {wording.y}; "
            "leave such rows out, or rename it in data.classes"
        )
    return numbers, _look_up([number.get(label, -1) for label in test_values], test_codes), class_names


def unlabelled_test(test: str, why: str) -> DataError:
    """Return the error for rows called `test`, of which none has a label; `why` is a phrase."""
    return DataError(
        f"{test} has no labels ({why}), and nothing can be tested without; name it in data.unlabelled to "
        "pretrain on its rows, and give it to 'stackae predict' for their classes"
    )


def distinct(labels: RawLabels) -> tuple[list[Any], Labels]:
    """Return the labels that occur, and for each row which of them it has, -1 for none."""
    if labels.dtype.kind == "O":
        import pandas as pd

        codes, values = pd.factorize(labels)
        return list(values), codes.astype(np.int64)
    values, codes = np.unique(labels, return_inverse=True)
    none = values == "" if labels.dtype.kind == "U" else values < 0
    position = np.where(none, -1, np.cumsum(~none) - 1)
    return values[~none].tolist(), position[codes].astype(np.int64)


def as_strings(labels: RawLabels, names: Mapping[str, str]) -> npt.NDArray[Any]:
    """Return the labels as strings under their other names, as objects, None where a row has none."""
    values, codes = distinct(labels)
    named = np.array([*rename(values, names), None], object)
    strings: npt.NDArray[Any] = named[codes]
    return strings


def rename(labels: list[Any], names: Mapping[str, str]) -> list[str]:
    """Return the labels' other names, or themselves where they have none."""
    return [names.get(str(label), names.get("*", str(label))) for label in labels]


def _check_names(names: Mapping[str, str], labels: set[str]) -> None:
    for label in names:
        if label != "*" and label not in labels:
            near = difflib.get_close_matches(label, labels, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(labels)[:9])}"
            raise DataError(f"data.classes: no row has the label '{label}'; {hint}")


def _look_up(numbers: list[int], codes: Labels) -> Labels:
    return np.array([*numbers, -1], np.int64)[codes]


def _are_quantities(labels: list[Any]) -> bool:
    """Tell whether labels are numbers that do not count something: with fractions, or with wide gaps."""
    if not all(map(_is_number, labels)):
        return False
    values = [float(label) for label in labels]
    return any(value % 1 for value in values) or max(values) - min(values) > 2 * len(values)


def _is_number(label: Any) -> bool:
    try:
        return bool(np.isfinite(float(label)))
    except ValueError:
        return False
