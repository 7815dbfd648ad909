"""The words for what the schema of a setting allows."""

from __future__ import annotations

import difflib
import functools
import math
import re
from typing import Any, Final

from stackae.config import Config
from stackae.config_file.faults import quote

Schema = dict[str, Any]
"""A JSON schema, or a part of one."""

_NUMBER: Final = r"[-+]?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?"
_UNQUOTED: Final = {"boolean": "true|false", "integer": _NUMBER, "number": _NUMBER}
_BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def resolved(node: Schema) -> Schema:
    """Resolve a schema's references, and leave out the choice of null."""
    while True:
        choices = node.get("anyOf") or node.get("allOf") or []  # allOf: pydantic before 2.9, around one $ref
        choices = [choice for choice in choices if choice.get("type") != "null"]
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            node = _root() if name == "#" else _root()["$defs"][name]
        elif len(choices) == 1:
            node = choices[0]
        else:
            return {**node, "anyOf": choices} if choices else node


@functools.cache
def _root() -> Schema:
    return Config.model_json_schema()


def refusal(value: Any, shown: str, node: Schema) -> str:
    """Say why a value is refused, and what to write instead; `shown` is the value as the user wrote it."""
    inner = resolved(node)
    kind = inner.get("type")
    says = f"{shown} is not allowed"
    if isinstance(value, str):
        # at the usual 0.6, 'off' would be taken for 'offline'
        close = difflib.get_close_matches(value.lower(), map(str, inner.get("enum", ())), 1, 0.7)
        if close:
            return f"{says}; did you mean '{close[0]}'?"
        if kind in _UNQUOTED and re.fullmatch(_UNQUOTED[kind], value):
            return f"{shown} is a string; write {value} without quotes"
        if "pattern" in inner and re.fullmatch(inner["pattern"], slug(value)):
            return f"{says}; write '{slug(value)}', say: it must match {inner['pattern']}"
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if kind == "integer" and isinstance(value, float):
            if value.is_integer() and inner.get("minimum", value) <= value < 1e15:
                return f"{shown} is not a whole number; write {value:.0f}"
        elif kind == "string":
            return f"{shown} is a number; write it in quotes"
        elif kind in {"integer", "number"} and "anyOf" not in node:
            return f"{says}; it must be {_bounds(inner)}"
    return f"{says}; use {allowed(node)}"


def allowed(node: Schema) -> str:
    """Say what a schema allows: `'a' or 'b'`; `a whole number of at least 1, or null`."""
    options = _options(node)
    if len(options) == 2 and not any(" " in option for option in options):
        return " or ".join(options)
    return ", ".join([*options[:-1], f"or {options[-1]}" if len(options) > 1 else options[-1]])


def _options(node: Schema) -> list[str]:
    if "anyOf" in node:
        return [option for choice in node["anyOf"] for option in _options(choice)]
    inner = resolved(node)
    if "discriminator" in inner:
        return [f"{{{inner['discriminator']['propertyName']}: {tag}, …}}" for tag in tags(inner)]
    if "enum" in inner or "const" in inner:
        return [quote(value) for value in inner.get("enum", [inner.get("const")])]
    bounds = _bounds(inner)
    numeric = f" {bounds}" if bounds.startswith(("above", "below")) else f" of {bounds}" if bounds else ""
    match inner.get("type"):
        case "null":
            return ["null"]
        case "boolean":
            return ["true", "false"]
        case "integer":
            return [f"a whole number{numeric}"]
        case "number":
            share = (inner.get("exclusiveMinimum"), inner.get("exclusiveMaximum")) == (0, 1)
            return ["a share between 0 and 1" if share else f"a number{numeric}"]
        case "array" if "prefixItems" in inner:
            each = inner["prefixItems"]
            return [f"a list of {len(each)}, each {allowed(each[0])}"]
        case "array":
            item = allowed(inner["items"])
            if inner.get("minItems"):
                return [f"a list of at least one {item.removeprefix('a ')}"]
            return ["a list of strings" if item == "a string" else f"a list of {item}"]
        case "object":
            return [_mapping(inner) if "properties" in inner else _names(inner)]
        case _ if inner.get("maxLength") == 1:
            return ["one character"]
        case _:
            return ["a string that is not empty" if inner.get("minLength") else "a string"]


def _mapping(node: Schema) -> str:
    settings = node["properties"]
    needed = [
        f"{key}: {'n' if resolved(settings[key]).get('type') == 'integer' else '…'}"
        for key in node.get("required", ())
    ]
    keys = ", ".join(map(repr, [*settings][:4]))
    return f"{{{', '.join(needed)}}}" if needed else f"a mapping with keys such as {keys}"


def _names(node: Schema) -> str:
    return f"a mapping of names, each to {allowed(node['additionalProperties'])}"


def _bounds(node: Schema) -> str:
    return " and ".join(f"{word} {node[name]}" for name, word in _BOUNDS.items() if name in node)


def tags(union: Schema) -> list[str]:
    """Return the tags of a discriminated union, in the order of its members."""
    tag_of = {ref: tag for tag, ref in union["discriminator"]["mapping"].items()}
    return [tag_of[member["$ref"]] for member in union["oneOf"]]


def slug(text: str) -> str:
    """Turn a text into a run's name: what is not allowed becomes a dash; empty where nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")
