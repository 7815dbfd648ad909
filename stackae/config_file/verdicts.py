"""From pydantic's errors to verdicts in our words, and from verdicts to faults with a position."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from stackae.config import Config
from stackae.config_file.faults import Fault, Place, quote
from stackae.config_file.reading import Document
from stackae.config_file.wording import Schema, allowed, refusal, resolved, tags

_ABSENT: Final = object()


@dataclass(frozen=True)
class Verdict:
    """An objection of the models to a place."""

    place: Place
    says: str
    unknown: bool = False
    suggests: Place | None = None
    refuses: bool = False


def verdicts_on(document: Document) -> list[Verdict]:
    """List all that the models object to, once each: no verdict that only follows from another."""
    try:
        Config.model_validate(document.value)
    except ValidationError as error:
        details = error.errors(include_url=False)
    else:
        return []
    by_place: dict[Place, Verdict] = {}
    for detail in details:
        verdict = _verdict(detail, document)
        by_place.setdefault(verdict.place, verdict)
    meant = {verdict.suggests for verdict in by_place.values()}

    def stems_from_another(verdict: Verdict) -> bool:
        size = len(verdict.place)
        below = (place for place in by_place if len(place) > size and place[:size] == verdict.place)
        return verdict.place in meant or (verdict.refuses and any(below))

    return [verdict for verdict in by_place.values() if not stems_from_another(verdict)]


def located(verdicts: list[Verdict], document: Document, since: Mapping[Place, str]) -> list[Fault]:
    """Turn verdicts into faults with position or override; leave out what an unreadable value entails.

    `since` names the override that brought the objection to a place: a contradiction between settings is
    its fault, wherever they were written.
    """
    broken = [fault.place for fault in document.faults]
    faults = []
    for verdict in verdicts:
        place = verdict.place
        origin = document.nearest(place)
        word = origin.word or since.get(place)
        if word is not None:
            faults.append(Fault(place, verdict.says, None, word))
        elif not any(place[: len(part)] == part for part in broken):
            faults.append(Fault(place, verdict.says, origin.key if verdict.unknown else origin.value))
    return faults


def _verdict(detail: ErrorDetails, document: Document) -> Verdict:
    place, node, holder = _trace(detail["loc"], document.value)
    kind = detail["type"]
    if kind == "extra_forbidden":
        keys = list(holder["properties"])
        close = difflib.get_close_matches(str(place[-1]).lower(), keys, 1)
        if close:
            return Verdict(place, f"unknown key; did you mean '{close[0]}'?", True, (*place[:-1], close[0]))
        return Verdict(place, f"unknown key; the known keys are {', '.join(map(repr, keys))}", True)
    if kind == "value_error":
        return Verdict(place, str(detail["ctx"]["error"]))
    if kind.startswith("union_tag"):
        union = resolved(node)
        place = (*place, union["discriminator"]["propertyName"])
        node = {"enum": tags(union)}
        if _at(document.value, place) is _ABSENT:
            return Verdict(place, f"missing; one of {', '.join(map(repr, node['enum']))}")
    elif kind == "missing":
        return Verdict(place, f"missing; give {allowed(node)}")
    value = _at(document.value, place)
    spelt = document.origins[place].text if place in document.origins else None
    return Verdict(place, refusal(value, spelt or quote(value), node), refuses=True)


def _trace(loc: Sequence[str | int], value: Any) -> tuple[Place, Schema, Schema]:
    """Trace an error to its place, without pydantic's labels of unions, its schema and its holder's."""
    place: Place = ()
    node: Schema = {"$ref": "#"}
    holder: Schema = {}
    for part in loc:
        inner = resolved(node)
        if "discriminator" in inner:
            node = {"$ref": inner["discriminator"]["mapping"][str(part)]}
        elif "anyOf" in inner:
            sections = [
                choice for choice in inner["anyOf"] if choice.get("$ref", "?").rpartition("/")[2] in str(part)
            ]
            if not sections or not isinstance(_at(value, place), dict):
                break
            node = sections[0]
        else:
            holder = inner
            node = _inside(inner, part)
            place = (*place, part)
    return place, node, holder


def _inside(node: Schema, part: str | int) -> Schema:
    """Return the schema of an entry of a list, or of a key of a mapping."""
    if isinstance(part, int):
        fixed = node.get("prefixItems", ())
        inside: Schema = fixed[part] if part < len(fixed) else node.get("items", {})
    else:
        inside = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
    return inside


def _at(value: Any, place: Place) -> Any:
    for part in place:
        if isinstance(value, dict):
            value = value.get(part, _ABSENT)
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return _ABSENT
    return value
