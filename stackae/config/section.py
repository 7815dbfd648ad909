"""What every section of the file has in common, and the numbers it may hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Switch = Annotated[bool, Field(strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
PositiveInt = Annotated[int, Field(ge=1, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
EpochsOrNone = Annotated[int, Field(ge=0, strict=True)]
Share = Annotated[float, Field(gt=0, lt=1, strict=True)]


class Section(BaseModel):
    """What every section of the file has in common: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def changed(
    section: Section, *, include: set[str] | None = None, exclude: set[str] | None = None
) -> dict[str, Any]:
    """Return the settings of a section that do not have their defaults, as plain data for a stage's key.

    So a new option, at its default, moves no key. A default that changes is another matter: then what is
    stored under the same key would be something else, and `store.FORMAT` has to be raised.
    """
    return section.model_dump(mode="json", exclude_defaults=True, include=include, exclude=exclude)
