"""What a document has in it: its blocks by language, the commands among them, its tables, its headings."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Block:
    """What stands between two fences; `line` is the number of its first line."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Section:
    """A heading without its signs, and the text below it, up to the next heading."""

    title: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 2)


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each command of a shell's block, in the block's order."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def executed(page: Path) -> dict[str, Any]:
    """The names that a page's blocks of Python leave behind, carried out one after the other."""
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
    return names


def sections(page: Path) -> Iterator[Section]:
    # A comment in a block looks like a heading.
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for part in re.split(r"^#+ ", text, flags=re.MULTILINE)[1:]:
        title, _, below = part.partition("\n")
        yield Section(title, below)


def anchors(page: Path) -> set[str]:
    """What links to the page's headings end with: letters in lower case, with hyphens for spaces."""
    return {re.sub(r"[^\w -]", "", each.title.lower()).replace(" ", "-") for each in sections(page)}


def named(text: str) -> list[str]:
    """The names, in backticks, in the first cells of the tables in a text."""
    cells = re.findall(r"^\| (`[^|]*?) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def config_text(block: Block) -> str:
    """A block of YAML as a whole config: where it shows other parts, with a layer, which all need."""
    whole = re.search("^layers:", block.text, re.MULTILINE)
    return block.text if whole else f"{block.text}\nlayers: [{{width: 8}}]\n"
