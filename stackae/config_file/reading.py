"""From YAML text to plain values that know where they were written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from stackae.config_file.faults import Fault, Mark, Place, UnreadableError, quote, shortened

_MOST_BYTES: Final = 1 << 20
_MOST_VALUES: Final = 20_000  # aliases can make a short file expand without end
_DEEPEST: Final = 30
_TOO_DEEP: Final = "nested too deeply; a configuration needs few levels"
_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = {"str", "timestamp", "value", "merge"}  # tags that plain text gets, but no Config knows
_SCALARS: Final = {"null", "bool", "int", "float"}


@dataclass(frozen=True)
class Origin:
    """Where a value was written: its position and its key's, in the file or else in an override."""

    value: Mark
    key: Mark
    word: str | None = None
    text: str | None = None
    """A number, switch or null as it was spelt."""


@dataclass
class Document:
    """Plain values, beside them where each was written, and what could not be read."""

    value: Any
    origins: dict[Place, Origin] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def forget(self, place: Place) -> None:
        """Drop the origins of a value and of all that is in it."""
        for old in [old for old in self.origins if old[: len(place)] == place]:
            del self.origins[old]

    def nearest(self, place: Place) -> Origin:
        """Return the origin of a place's value or, where none was written there, of what would hold it."""
        above = (place[:size] for size in range(len(place), -1, -1))
        return next(self.origins[part] for part in above if part in self.origins)


def read_text(path: str | Path) -> str:
    """Read the text of a file; raise `UnreadableError` where it cannot be read, or is too large."""
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableError("no such file; give the path of a YAML file") from None
    except IsADirectoryError:
        raise UnreadableError("this is a folder; give the path of a YAML file") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise UnreadableError(f"cannot be read ({cause}); give the path of a YAML file") from None
    if len(data) > _MOST_BYTES:
        raise UnreadableError("larger than 1 MiB, so not a configuration; give the path of a YAML file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        head = data[: error.start].decode("utf-8")
        says = f"byte 0x{data[error.start]:02x} is not UTF-8; save the configuration as UTF-8 text"
        raise UnreadableError(says, _mark_in(head, len(head))) from None


def parse(text: str, word: str | None = None) -> Document:
    """Parse a YAML text, which is that of a file or that of the override `word`.

    Raises `UnreadableError` where it is no YAML; values that cannot be read are null, and faults say so.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = _DEEPEST + 1  # ruamel.yaml would take seconds to fail on thousands of brackets
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        raise UnreadableError(_complaint(error), error.problem_mark and _mark(error.problem_mark)) from None
    except ReaderError as error:
        says = f"the character {chr(error.character)!r} is not allowed in YAML; remove it"
        raise UnreadableError(says, _mark_in(text, error.position)) from None
    except RecursionError:  # from ruamel.yaml before 0.19, which knows no max_depth
        raise UnreadableError(_TOO_DEEP) from None
    except (YAMLError, ValueError, AssertionError, AttributeError, IndexError, TypeError) as error:
        # ruamel.yaml lets a few of Python's own errors through on garbage
        says = f"not valid YAML ({type(error).__name__}); check its quotes and escapes"
        raise UnreadableError(says) from None
    if node is None:
        raise UnreadableError("empty; write at least 'layers: [{width: 100}]'")
    taker = _Taker(yaml.constructor, word)
    return Document(taker.take(node, ()), taker.origins, taker.faults)


def is_unicode(text: str) -> bool:
    """Tell whether a string can be encoded: escapes and undecodable arguments can bring half a character."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _complaint(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "unexpected text")
    if "maximum depth" in problem:
        return _TOO_DEEP
    if "another document" in problem:
        return "a second document begins; keep one per file, without '---' in between"
    if "\\t" in problem:
        return "a tab; indent with spaces"
    if "undefined alias" in problem:
        return f"{problem}; put text that begins with '*' in quotes"
    return f"not valid YAML: {problem}; check indentation, colons, brackets and quotes"


def _mark(mark: Any) -> Mark:
    return mark.line + 1, mark.column + 1


def _mark_in(text: str, index: int) -> Mark:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


class _Taker:
    """Takes plain values from nodes; notes their origins, and what is wrong with them, on the way."""

    def __init__(self, constructor: Any, word: str | None) -> None:
        self.constructor, self.word = constructor, word
        self.origins: dict[Place, Origin] = {}
        self.faults: list[Fault] = []

    def take(self, node: Node, place: Place, key: Mark | None = None) -> Any:
        mark = _mark(node.start_mark)
        if len(place) > _DEEPEST or len(self.origins) > _MOST_VALUES:
            raise UnreadableError("nested too deeply or too long; write it out, without aliases", mark)
        scalar = node.value if isinstance(node, ScalarNode) else ""
        tag = str(node.tag).removeprefix(_TAG)
        spelt = (shortened(scalar) or "null") if tag in _SCALARS else None
        self.origins[place] = Origin(mark, key or mark, self.word, spelt)
        match node:
            case MappingNode() if tag == "map":
                return self.take_mapping(node, place)
            case SequenceNode() if tag == "seq":
                return [self.take(item, (*place, index)) for index, item in enumerate(node.value)]
            case ScalarNode() if tag in _TEXT:
                if is_unicode(scalar):
                    return scalar
                says = f"{quote(scalar)} is not valid Unicode; write other text"
            case ScalarNode() if tag in _SCALARS:
                try:
                    return self.constructor.construct_object(node)
                except (ValueError, KeyError, IndexError):
                    says = f"{quote(scalar)} cannot be read as {tag}; correct it"
            case _:
                written = str(node.tag).replace(_TAG, "!!")
                says = f"the tag {quote(written)} is not allowed; write a plain value"
        self.object_to(place, says, mark)
        return None

    def take_mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            mark = _mark(key.start_mark)
            here = (*place, key.value if isinstance(key, ScalarNode) else "?")
            if not isinstance(key, ScalarNode) or not is_unicode(key.value):
                self.object_to(here, "a key must be plain text; use the name of a setting", mark)
            elif key.value in mapping:
                first = self.origins[here].key[0]
                self.object_to(here, f"written twice, first in line {first}; keep one", mark)
            else:
                mapping[key.value] = self.take(value, here, mark)
        return mapping

    def object_to(self, place: Place, says: str, mark: Mark) -> None:
        self.faults.append(Fault(place, says, mark, self.word))
