"""What every section of the file has in common, and the numbers it may hold."""

from __future__ import annotations

from typing import Annotated

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
