"""Words `key=value` that replace parts of a document."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import Any

from stackae.config_file.faults import Fault, Place, UnreadableError, quote, show
from stackae.config_file.reading import Document, is_unicode, parse


def override(document: Document, word: str) -> list[Fault]:
    """Apply one word to a document; return the faults that keep it from being applied."""
    key, equals, text = word.partition("=")
    parts = key.strip().split(".")
    try:
        if not equals:
            raise UnreadableError("no '='; write key=value, as layers.0.width=500")
        if "" in parts or not is_unicode(key):
            raise UnreadableError(
                "a part of the key is empty or not valid Unicode; write it as layers.0.width=500"
            )
        if not text.strip():
            raise UnreadableError("no value after '='; write null for none")
        new = parse(text, word)
        if not new.faults:
            _set(document, document.value, (), parts, new)
    except UnreadableError as error:
        return [Fault((), error.says, None, word)]
    return new.faults


def _set(document: Document, holder: Any, place: Place, parts: list[str], new: Document) -> None:
    part, *rest = parts
    for key in _keys(holder, place, part):
        here = (*place, key)
        if not rest:
            _put(document, holder, here, new)
            continue
        if isinstance(key, str) and holder.get(key) is None:
            if _is_index(rest[0]):
                raise UnreadableError(f"{show(here)} is not set, so has no entries; set it as a whole")
            _put(document, holder, here, Document({}, {(): new.origins[()]}))
        _set(document, holder[key], here, rest, new)


def _put(document: Document, holder: Any, place: Place, new: Document) -> None:
    document.forget(place)
    document.origins |= {(*place, *below): origin for below, origin in new.origins.items()}
    holder[place[-1]] = copy.deepcopy(new.value)


def _keys(holder: Any, place: Place, part: str) -> Sequence[str | int]:
    """Return the keys, or the entries, of a value that a part of a word stands for."""
    where = show(place) or "the file"
    if isinstance(holder, list):
        if part == "*":
            return range(len(holder))
        if _is_index(part) and int(part) < len(holder):
            return [int(part)]
        entries = f"{', '.join(map(str, range(len(holder))))} and *" if holder else "none"
        raise UnreadableError(f"{where} has no entry {part!r}; its entries are {entries}")
    if part == "*":
        raise UnreadableError(f"{where} is not a list, so '*' stands for nothing; name the key")
    if isinstance(holder, dict):
        return [part]
    raise UnreadableError(f"{where} is {quote(holder)}, which has no {part!r}; set {where} as a whole")


def _is_index(part: str) -> bool:
    return part == "*" or re.fullmatch("[0-9]{1,9}", part) is not None
