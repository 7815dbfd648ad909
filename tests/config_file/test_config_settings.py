"""What the models promise of every setting, found by looking at all of them."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from stackae.config import Config
from stackae.config.section import Section


def below(section: type[Section]) -> set[type[Section]]:
    return {section}.union(*map(below, section.__subclasses__()))


# All of them are defined once the whole Config is; a model's description, which is none of them, may be too.
SECTIONS = sorted(
    (one for one in below(Section) - {Section} if one.__module__.startswith("stackae.config.")),
    key=lambda section: section.__name__,
)


def test_the_sections_of_the_file_are_among_them() -> None:
    assert Config in SECTIONS
    assert len(SECTIONS) > 15


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_is_described(section: type[Section]) -> None:
    assert [name for name, one in section.model_fields.items() if not one.description] == []


def kinds(node: dict[str, Any]) -> set[str]:
    if "anyOf" in node:
        return set().union(*map(kinds, node["anyOf"]))
    return {node.get("type", "object")}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_text_is_no_number_and_a_switch_is_no_number(section: type[Section]) -> None:
    for name, node in section.model_json_schema().get("properties", {}).items():
        wrong = [] if "string" in kinds(node) else ["1", "true", "0.5"]
        wrong += [True] if kinds(node) & {"integer", "number"} else [1] if "boolean" in kinds(node) else []
        for value in wrong:
            with pytest.raises(pydantic.ValidationError) as caught:
                section.model_validate({name: value})
            assert any(one["loc"][:1] == (name,) for one in caught.value.errors()), (name, value)
