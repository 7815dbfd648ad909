"""Writes the fields of a config into docs/config.md: `python scripts/config_reference.py`.

They are those of the JSON schema that `stackae schema` prints, and stand between two markers; what is around
them is written by hand and stays. With `--check` nothing is written, and the exit code is 1 where the
document does not say what the schema says.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from stackae.config_file import schema

FIRST, LAST = "<!-- fields -->", "<!-- /fields -->"
WHOLE = "The whole file"
HEADER = ("| field | values | default | what it is |", "|---|---|---|---|")
NOTHING = object()

Schema = Mapping[str, Any]

app = typer.Typer(add_completion=False)


@app.command()
def config_reference(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if it is stale.")] = False,
    docs: Annotated[Path, typer.Option(help="Folder of config.md.")] = Path("docs"),
) -> None:
    """Writes the fields of a config into docs/config.md; run it in the repository's root."""
    path = docs / "config.md"
    old = path.read_text(encoding="utf-8")
    new = with_fields(old, fields(schema()))
    if new is None:
        sys.exit(f"{path}: lacks the markers {FIRST} and {LAST}; put them where the fields belong")
    if check and new != old:
        sys.exit(f"{path}: does not say what the schema says; run: python scripts/config_reference.py")
    if new != old:
        path.write_text(new, encoding="utf-8")


def with_fields(document: str, text: str) -> str | None:
    """The document with a text between its markers; None where it has none."""
    before, first, rest = document.partition(FIRST)
    _, last, after = rest.partition(LAST)
    return f"{before}{FIRST}\n{text}\n{LAST}{after}" if first and last else None


def fields(whole: Schema) -> str:
    """A heading and a table of fields for each section of the schema, in the file's order."""
    sections = list(_sections(whole))
    titles = {name: title for name, (title, _) in sections}
    parts = []
    for _, (title, section) in sections:
        # What lies within a section of the file is a level below it.
        level = "####" if "." in title.replace(".*", "") else "###"
        parts += [f"{level} {title}", "\n".join([*HEADER, *_rows(section, titles)])]
    return "\n\n".join(parts)


def anchor(title: str) -> str:
    """What a link to a heading ends with: its letters in lower case, with hyphens for spaces."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _sections(whole: Schema) -> Iterator[tuple[str, tuple[str, Schema]]]:
    """Each section by its name in the schema, with its title, once, in the place where it first occurs."""
    known = {""}
    yield "", (WHOLE, whole)

    def below(section: Schema, place: str) -> Iterator[tuple[str, tuple[str, Schema]]]:
        for field, described in section["properties"].items():
            for name, here in _named(described, f"{place}{field}"):
                if name in known:
                    continue
                known.add(name)
                found = whole["$defs"][name]
                kind = found["properties"].get("type", {}).get("const")
                yield name, (f"`{here}`" + (f" with `type: {kind}`" if kind else ""), found)
                yield from below(found, f"{here}.")

    yield from below(whole, "")


def _named(described: Schema, place: str) -> Iterator[tuple[str, str]]:
    """The sections that a field's value may be, by name, each with its place; entries of a list are `*`."""
    if "$ref" in described:
        yield _name(described), place
    for each in (*described.get("anyOf", ()), *described.get("oneOf", ())):
        yield from _named(each, place)
    if "items" in described:
        yield from _named(described["items"], f"{place}.*")


def _name(described: Schema) -> str:
    return str(described["$ref"]).rpartition("/")[2]


def _rows(section: Schema, titles: Mapping[str, str]) -> Iterator[str]:
    required = section.get("required", ())
    for field, described in section["properties"].items():
        default = "required" if field in required else _default(described.get("default", NOTHING))
        cells = (f"`{field}`", _values(described, titles), default, described["description"])
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _default(value: object) -> str:
    if value is NOTHING or (isinstance(value, dict) and value):
        return "its own defaults"
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def _values(described: Schema, titles: Mapping[str, str]) -> str:
    """What a field may hold, in words."""
    *others, last = _choices(described, titles)
    return f"{', '.join(others)} or {last}" if others else last


def _choices(described: Schema, titles: Mapping[str, str]) -> list[str]:
    match described:
        case {"anyOf": parts} | {"oneOf": parts}:
            return [choice for part in parts for choice in _choices(part, titles)]
        case {"enum": values}:
            return [_default(value) for value in values]
        case {"const": value}:
            return [_default(value)]
        case {"type": "boolean"}:
            return ["`true`", "`false`"]
        case {"$ref": _}:
            title = titles[_name(described)]
            # Of several types of a section the type alone says which is meant.
            shown = re.sub(r".* with `type: (\w+)`", r"`\1`", title)
            return [f"[{shown}](#{anchor(title)})"]
    return [_form(described, titles)]


def _form(described: Schema, titles: Mapping[str, str]) -> str:
    match described:
        case {"type": "null"}:
            return "`null`"
        case {"type": "integer"}:
            return "a whole number" + _bounds(described)
        case {"type": "number"}:
            return "a number" + _bounds(described)
        case {"type": "string", "maxLength": 1}:
            return "a character"
        case {"type": "string"}:
            return "a string"
        case {"type": "array", "prefixItems": [first, *_] as each}:
            return f"a list of {len(each)}, each {_values(first, titles)},"
        case {"type": "array", "items": {"type": "string"}}:
            return "a list of strings"
        case {"type": "array", "items": each}:
            return f"a list, each entry {_values(each, titles)}"
        case {"type": "object", "additionalProperties": each}:
            return f"keys, each with {_values(each, titles)}"
    raise AssertionError(f"no words for {described}")


def _bounds(described: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {described[name]}" for name, sign in signs.items() if name in described]
    return f" {' and '.join(found)}" if found else ""


if __name__ == "__main__":
    app()
