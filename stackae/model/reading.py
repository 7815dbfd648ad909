"""How the rows of a finished model are read from files, for those who have the model and not its run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from stackae.config import DataConfig
from stackae.config.data import TypeName
from stackae.config.section import PositiveInt, Section


class Reading(Section):
    """The settings of `data` that reading new rows needs, as the config has them, but no paths."""

    target: str | None = None
    group: str | None = None
    order: str | None = None
    drop: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    separator: str | None = Field(default=None, min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."
    thousands: Literal[","] | None = None
    comment: str | None = Field(default=None, min_length=1)
    missing: tuple[str, ...] = DataConfig.model_fields["missing"].default
    types: dict[str, TypeName] = Field(default={})
    classes: dict[str, str] = Field(default={})
    image_size: tuple[PositiveInt, PositiveInt] | None = None
    image_mode: Literal["grey", "rgb"] | None = None

    def config(self) -> DataConfig:
        """Return the section `data` of a config that reads rows so."""
        return DataConfig.model_validate(self.model_dump(mode="json", exclude_defaults=True))


def reading_of(config: DataConfig, *, table: bool) -> Reading:
    """Return what of a config reads new rows; `columns` are names already. A table's target is a column."""
    settings = config.model_dump(mode="json", include=set(Reading.model_fields))
    return Reading.model_validate(settings if table else settings | {"target": None})
