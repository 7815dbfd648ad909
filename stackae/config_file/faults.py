"""One fault of a configuration as one line, in the user's own words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = tuple[str | int, ...]
"""Where a value stands in the configuration: `("layers", 0, "width")`."""
Mark = tuple[int, int]
"""Line and column, both from 1."""


class UnreadableError(Exception):
    """Nothing can be made of a text; `mark` says where, if that is known."""

    def __init__(self, says: str, mark: Mark | None = None) -> None:
        super().__init__(says)
        self.says, self.mark = says, mark


@dataclass(frozen=True)
class Fault:
    """What is wrong at a place, and how to mend it; `word` is the override that is to blame, if one is."""

    place: Place
    says: str
    mark: Mark | None = None
    word: str | None = None

    def line(self, path: str | Path) -> str:
        """Return the fault with its position in the file at `path`, or with its override."""
        head = str(path) if self.mark is None else f"{path}:{self.mark[0]}:{self.mark[1]}"
        if self.word is not None:
            head = f"override {self.word!r}"
        return ": ".join(part for part in (head, show(self.place), " ".join(self.says.split())) if part)


def show(place: Place) -> str:
    """Return a place as users write it: `layers[0].width`."""
    parts = (
        f"[{part}]" if isinstance(part, int) else "." + (part if part.isidentifier() else quote(part))
        for part in place
    )
    return "".join(parts).removeprefix(".")


def quote(value: Any) -> str:
    """Return a value in YAML's words, on one line, cut where it is long."""
    if isinstance(value, dict):
        return shortened("{" + ", ".join(f"{key}: {quote(item)}" for key, item in value.items()) + "}")
    if isinstance(value, list):
        return shortened("[" + ", ".join(map(quote, value)) + "]")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return shortened(repr(value))


def shortened(text: str) -> str:
    """Return at most 60 characters of a text."""
    return text if len(text) <= 60 else f"{text[:59]}…"
