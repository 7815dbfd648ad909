"""From a YAML file, and words that override it, to a Config: every fault at once, each on one line.

The file is composed into nodes and never constructed into objects: so each value keeps its position, and
no tag can name a class. The models in `stackae.config` judge the values; their schema says what is allowed.
"""

from __future__ import annotations

import copy
import difflib
import functools
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from stackae.config import Config
from stackae.errors import ConfigError

Place = tuple[str | int, ...]
"""Where a value stands in the configuration: `("layers", 0, "width")`."""
Mark = tuple[int, int]
"""Line and column, both from 1."""
_History = list[tuple[str | None, dict[str, Any]]]
"""The values as the file has them, then after each override word."""

_MOST_BYTES: Final = 1 << 20
_MOST_VALUES: Final = 20_000  # aliases can make a short file expand without end
_DEEPEST: Final = 30
_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = {"str", "timestamp", "value", "merge"}  # tags that plain text gets, but no Config knows
_ABSENT: Final = object()
_UNQUOTED: Final = {"boolean": "true|false"} | dict.fromkeys(
    ("integer", "number"), r"[-+]?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?"
)
_BOUNDS: Final = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration from a YAML 1.2 file and check it.

    `overrides` are words `key=value`, applied in turn before anything is checked: `layers.0.width=500`,
    `layers.*.corruption.rate=0.4`, `finetune=null`; their values are YAML too. Without `name` in the file,
    the run is named after the file. Raises `ConfigError` with one line per fault, `PATH:LINE:COLUMN: place:
    cause; remedy`, or `override 'WORD': …` where a word is at fault.
    """
    try:
        document = _parse(_text_of(path))
    except _UnreadableError as error:
        raise ConfigError(_Fault((), error.says, error.mark).line(str(path))) from None
    if not isinstance(document.value, dict):
        what = "a list" if isinstance(document.value, list) else f"only {_quote(document.value)}"
        says = f"the file holds {what}; write keys, as 'layers: [{{width: 100}}]'"
        raise ConfigError((document.faults or [_Fault((), says, (1, 1))])[0].line(str(path)))
    document.value.setdefault("name", _name_from(path))
    faults = list(document.faults)
    history: _History = [(None, copy.deepcopy(document.value))]
    for word in overrides:
        faults += _override(document, word)
        history.append((word, copy.deepcopy(document.value)))
    try:
        config = Config.model_validate(document.value)
    except ValidationError as error:
        faults += _placed(document, _verdicts(error, document), history)
    if faults:
        order = {None: -1} | {word: index for index, word in enumerate(overrides)}
        faults.sort(key=lambda fault: (order[fault.word], fault.mark or (0, 0)))
        raise ConfigError("\n".join(dict.fromkeys(fault.line(str(path)) for fault in faults)))
    return config


def dump_config(config: Config) -> str:
    """Write a resolved configuration as block YAML, in the models' order; reading it gives an equal one."""
    plain = config.model_dump(mode="json")
    plain["layers"] = [
        {key: value for key, value in layer.items() if value is not None} for layer in plain["layers"]
    ]
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = _MOST_BYTES
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(plain, stream)
    return stream.getvalue()


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, for editors; descriptions are the fields' docstrings."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "stackae configuration",
    }


class _Representer(SafeRepresenter):
    """Writes floats so that YAML 1.1 readers see numbers too, and quotes whatever does not print."""

    def represent_float(self, data: float) -> ScalarNode:
        text = repr(data)
        return self.represent_scalar(_TAG + "float", text if "." in text else text.replace("e", ".0e"))

    def represent_str(self, data: str) -> ScalarNode:
        return self.represent_scalar(_TAG + "str", data, style=None if data.isprintable() else '"')


_Representer.add_representer(float, _Representer.represent_float)
_Representer.add_representer(str, _Representer.represent_str)


# ---- reading, with positions


class _UnreadableError(Exception):
    """Nothing can be made of a text; `mark` says where, if that is known."""

    def __init__(self, says: str, mark: Mark | None = None) -> None:
        super().__init__(says)
        self.says, self.mark = says, mark


@dataclass(frozen=True)
class _Fault:
    place: Place
    says: str
    mark: Mark | None = None
    word: str | None = None

    def line(self, path: str) -> str:
        head = path if self.mark is None else f"{path}:{self.mark[0]}:{self.mark[1]}"
        if self.word is not None:
            head = f"override {self.word!r}"
        return ": ".join(part for part in (head, _show(self.place), " ".join(self.says.split())) if part)


@dataclass
class _Document:
    """Plain values, and beside them where each was written, how, and by which override."""

    value: Any = None
    values: dict[Place, Mark] = field(default_factory=dict)
    keys: dict[Place, Mark] = field(default_factory=dict)
    texts: dict[Place, str] = field(default_factory=dict)
    faults: list[_Fault] = field(default_factory=list)
    words: dict[Place, str] = field(default_factory=dict)

    def forget(self, place: Place) -> None:
        for known in (self.values, self.keys, self.texts, self.words):
            for old in [old for old in known if old[: len(place)] == place]:
                del known[old]

    def at(self, place: Place) -> Any:
        value = self.value
        for part in place:
            if isinstance(value, dict):
                value = value.get(part, _ABSENT)
            elif isinstance(value, list) and isinstance(part, int):
                value = value[part]
            else:
                return _ABSENT
        return value

    def take(self, node: Node, place: Place, scalars: Any) -> Any:
        """The plain value of a node; notes its position, and what is wrong with it, on the way."""
        mark = _mark(node.start_mark)
        if len(place) > _DEEPEST or len(self.values) > _MOST_VALUES:
            raise _UnreadableError("nested too deeply or too long; write it out, without aliases", mark)
        self.values[place] = mark
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._take_mapping(node, place, scalars)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.take(item, (*place, index), scalars) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and kind in _TEXT and _is_unicode(node.value):
            return node.value
        if isinstance(node, ScalarNode) and kind in {"null", "bool", "int", "float"}:
            self.texts[place] = _short(node.value) or "null"
            try:
                return scalars.construct_object(node)
            except (ValueError, KeyError, IndexError):
                says = f"{_quote(node.value)} cannot be read as {kind}; correct it"
        elif isinstance(node, ScalarNode) and kind in _TEXT:
            says = f"{_quote(node.value)} is not valid Unicode; write other text"
        else:
            says = f"the tag {_quote(str(node.tag).replace(_TAG, '!!'))} is not allowed; write a plain value"
        self.faults.append(_Fault(place, says, mark))
        return None

    def _take_mapping(self, node: MappingNode, place: Place, scalars: Any) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node.start_mark)
            here = (*place, key_node.value if isinstance(key_node, ScalarNode) else "?")
            if not isinstance(key_node, ScalarNode) or not _is_unicode(key_node.value):
                self.faults.append(_Fault(here, "a key must be plain text; use the name of a setting", mark))
                continue
            if here in self.keys:
                first = self.keys[here][0]
                self.faults.append(_Fault(here, f"written twice, first in line {first}; keep one", mark))
                continue
            self.keys[here] = mark
            mapping[key_node.value] = self.take(value_node, here, scalars)
        return mapping


def _text_of(path: str | Path) -> str:
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise _UnreadableError("no such file; give the path of a YAML file") from None
    except IsADirectoryError:
        raise _UnreadableError("this is a folder; give the path of a YAML file") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise _UnreadableError(f"cannot be read ({cause}); give the path of a YAML file") from None
    if len(data) > _MOST_BYTES:
        raise _UnreadableError("larger than 1 MiB, so not a configuration; give the path of a YAML file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        head = data[: error.start].decode("utf-8")
        says = f"byte 0x{data[error.start]:02x} is not UTF-8; save the configuration as UTF-8 text"
        raise _UnreadableError(says, _mark_in(head, len(head))) from None


def _parse(text: str) -> _Document:
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        raise _UnreadableError(_complaint(error), error.problem_mark and _mark(error.problem_mark)) from None
    except ReaderError as error:
        says = f"the character {chr(error.character)!r} is not allowed in YAML; remove it"
        raise _UnreadableError(says, _mark_in(text, error.position)) from None
    except RecursionError:
        raise _UnreadableError("nested too deeply; a configuration needs few levels") from None
    except (YAMLError, ValueError, AssertionError, AttributeError, IndexError, TypeError) as error:
        # ruamel.yaml lets a few of Python's own errors through on garbage
        says = f"not valid YAML ({type(error).__name__}); check its quotes and escapes"
        raise _UnreadableError(says) from None
    if node is None:
        raise _UnreadableError("empty; write at least 'layers: [{width: 100}]'")
    document = _Document()
    document.value = document.take(node, (), yaml.constructor)
    return document


def _complaint(error: MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "unexpected text")
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


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _name_from(path: str | Path) -> str:
    return _slug(Path(path).stem) or "run"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).lstrip("._-")


# ---- overriding


def _override(document: _Document, word: str) -> list[_Fault]:
    """Apply one word; give the faults that keep it from being applied."""
    key, equals, text = word.partition("=")
    parts = key.strip().split(".")
    try:
        if not equals:
            raise _UnreadableError("no '='; write key=value, as layers.0.width=500")
        if "" in parts or not _is_unicode(key):
            raise _UnreadableError("a part of the key is empty or no text; write it as layers.0.width=500")
        if not text.strip():
            raise _UnreadableError("no value after '='; write null for none")
        new = _parse(text)
        if new.faults:
            return [_Fault(fault.place, fault.says, None, word) for fault in new.faults]
        _set(document, document.value, (), parts, new, word)
    except _UnreadableError as error:
        return [_Fault((), error.says, None, word)]
    return []


def _set(document: _Document, holder: Any, place: Place, parts: list[str], new: _Document, word: str) -> None:
    part, rest = parts[0], parts[1:]
    for key in _keys(holder, place, part):
        here = (*place, key)
        if not rest:
            document.forget(here)
            holder[key] = copy.deepcopy(new.value)
            document.words[here] = word
            document.texts |= {(*here, *below): text for below, text in new.texts.items()}
            continue
        if isinstance(key, str) and holder.get(key) is None:
            if _is_index(rest[0]):
                raise _UnreadableError(f"{_show(here)} is not set, so has no entries; set it as a whole")
            document.forget(here)
            holder[key] = {}
            document.words[here] = word
        _set(document, holder[key], here, rest, new, word)


def _keys(holder: Any, place: Place, part: str) -> Sequence[str | int]:
    where = _show(place) or "the file"
    if isinstance(holder, list):
        if part == "*":
            return range(len(holder))
        if _is_index(part) and int(part) < len(holder):
            return [int(part)]
        entries = f"{', '.join(map(str, range(len(holder))))} and *" if holder else "none"
        raise _UnreadableError(f"{where} has no entry {part!r}; its entries are {entries}")
    if part == "*":
        raise _UnreadableError(f"{where} is not a list, so '*' stands for nothing; name the key")
    if isinstance(holder, dict):
        return [part]
    raise _UnreadableError(f"{where} is {_quote(holder)}, which has no {part!r}; set {where} as a whole")


def _is_index(part: str) -> bool:
    return part == "*" or re.fullmatch("[0-9]{1,9}", part) is not None


# ---- from pydantic's errors to verdicts in our words


@dataclass(frozen=True)
class _Verdict:
    place: Place
    says: str
    unknown: bool = False
    suggests: Place | None = None
    refuses: bool = False


def _placed(document: _Document, verdicts: list[_Verdict], history: _History) -> list[_Fault]:
    """Verdicts with the word or position that is to blame; leaves out what an unreadable value entails."""
    broken = [fault.place for fault in document.faults]
    at_fault = [_places_at_fault(value) for _, value in history] if len(history) > 1 else [set()]
    faults = []
    for verdict in verdicts:
        place = verdict.place
        above = [place[:size] for size in range(len(place), -1, -1)]
        words = [document.words[part] for part in above if part in document.words]
        # a contradiction between settings: the word since which it has been there
        turns = zip(at_fault[:-1], history[1:], strict=True)
        words += [str(word) for before, (word, _) in reversed(list(turns)) if place not in before]
        marks = [document.keys[place]] if verdict.unknown and place in document.keys else []
        marks += [document.values[part] for part in above if part in document.values]
        if words:
            faults.append(_Fault(place, verdict.says, None, words[0]))
        elif not any(place[: len(part)] == part for part in broken):
            faults.append(_Fault(place, verdict.says, marks[0]))
    return faults


def _places_at_fault(value: dict[str, Any]) -> set[Place]:
    try:
        Config.model_validate(value)
    except ValidationError as error:
        return {verdict.place for verdict in _verdicts(error, _Document(value))}
    return set()


def _verdicts(error: ValidationError, document: _Document) -> list[_Verdict]:
    found: dict[Place, _Verdict] = {}
    for detail in error.errors(include_url=False):
        verdict = _verdict(detail, document)
        found.setdefault(verdict.place, verdict)
    meant = {verdict.suggests for verdict in found.values()}

    def stems_from_another(verdict: _Verdict) -> bool:
        size = len(verdict.place)
        below = (place for place in found if len(place) > size and place[:size] == verdict.place)
        return verdict.place in meant or (verdict.refuses and any(below))

    return [verdict for verdict in found.values() if not stems_from_another(verdict)]


def _verdict(detail: ErrorDetails, document: _Document) -> _Verdict:
    place, node, holder = _trace(detail["loc"], document)
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = list(holder.get("properties", {}))
        close = difflib.get_close_matches(str(place[-1]).lower(), known, 1)
        if close:
            return _Verdict(place, f"unknown key; did you mean '{close[0]}'?", True, (*place[:-1], close[0]))
        return _Verdict(place, f"unknown key; the known keys are {', '.join(map(repr, known))}", True)
    if kind == "value_error":
        return _Verdict(place, str(detail["ctx"]["error"]))
    if kind.startswith("union_tag"):
        inner = _inner(node)
        place = (*place, inner["discriminator"]["propertyName"])
        node = {"enum": _tags(inner)}
        if document.at(place) is _ABSENT:
            return _Verdict(place, f"missing; one of {', '.join(map(repr, node['enum']))}")
    elif kind == "missing":
        return _Verdict(place, f"missing; give {_allowed(node)}")
    value = document.at(place)
    return _Verdict(place, _refusal(value, document.texts.get(place) or _quote(value), node), refuses=True)


def _trace(loc: Sequence[str | int], document: _Document) -> tuple[Place, dict[str, Any], dict[str, Any]]:
    """The place of an error, without pydantic's labels of union members; its schema and its holder's."""
    place: Place = ()
    node: dict[str, Any] = {"$ref": "#"}
    holder: dict[str, Any] = {}
    for part in loc:
        inner = _inner(node)
        if "discriminator" in inner:
            node = {"$ref": inner["discriminator"]["mapping"][str(part)]}
        elif "anyOf" in inner:
            sections = [one for one in inner["anyOf"] if one.get("$ref", "?").rpartition("/")[2] in str(part)]
            if not sections or not isinstance(document.at(place), dict):
                break
            node = sections[0]
        else:
            holder = inner
            known = inner.get("properties", {})
            node = inner.get("items", {}) if isinstance(part, int) else known.get(part, {})
            place = (*place, part)
    return place, node, holder


@functools.cache
def _root() -> dict[str, Any]:
    return Config.model_json_schema()


def _inner(node: Mapping[str, Any]) -> dict[str, Any]:
    """What a schema node stands for, without references and without the choice of null."""
    while True:
        some = [one for one in node.get("anyOf", node.get("allOf", ())) if one.get("type") != "null"]
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            node = _root() if name == "#" else _root()["$defs"][name]
        elif len(some) == 1:
            node = some[0]
        else:
            return {**node, "anyOf": some} if some else dict(node)


def _refusal(value: Any, shown: str, node: dict[str, Any]) -> str:
    inner = _inner(node)
    kind = inner.get("type")
    says = f"{shown} is not allowed"
    if isinstance(value, str):
        # at the usual 0.6, 'off' would be taken for 'offline'
        close = difflib.get_close_matches(value.lower(), map(str, inner.get("enum", ())), 1, 0.7)
        if close:
            return f"{says}; did you mean '{close[0]}'?"
        if kind in _UNQUOTED and re.fullmatch(_UNQUOTED[kind], value):
            return f"{shown} is text; write {value} without quotes"
        if "pattern" in inner and re.fullmatch(inner["pattern"], _slug(value)):
            return f"{says}; write '{_slug(value)}', say: it must match {inner['pattern']}"
    elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        if kind == "integer" and isinstance(value, float):
            if value.is_integer() and inner.get("minimum", value) <= value < 1e15:
                return f"{shown} is not a whole number; write {value:.0f}"
        elif kind in {"integer", "number"} and "anyOf" not in node:
            return f"{says}; it must be {_bounds(inner)}"
    return f"{says}; use {_allowed(node)}"


def _allowed(node: dict[str, Any]) -> str:
    options = _options(node)
    if len(options) == 2 and not any(" " in option for option in options):
        return " or ".join(options)
    return ", ".join([*options[:-1], f"or {options[-1]}" if len(options) > 1 else options[-1]])


def _options(node: dict[str, Any]) -> list[str]:
    choices = node.get("anyOf")
    if choices:
        return [option for choice in choices for option in _options(choice)]
    inner = _inner(node)
    if "discriminator" in inner:
        return [f"{{{inner['discriminator']['propertyName']}: {tag}, …}}" for tag in _tags(inner)]
    if "enum" in inner or "const" in inner:
        return [_quote(one) for one in inner.get("enum", [inner.get("const")])]
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
        case "array":
            return [f"a list of {'at least one ' if inner.get('minItems') else ''}{_allowed(inner['items'])}"]
        case "object":
            needed = [
                f"{key}: {'n' if _inner(inner['properties'][key]).get('type') == 'integer' else '…'}"
                for key in inner.get("required", ())
            ]
            known = ", ".join(map(repr, [*inner["properties"]][:4]))
            return [f"{{{', '.join(needed)}}}" if needed else f"a mapping with keys such as {known}"]
        case _:
            return ["text that is not empty" if inner.get("minLength") else "text"]


def _tags(union: dict[str, Any]) -> list[str]:
    tag_of = {ref: tag for tag, ref in union["discriminator"]["mapping"].items()}
    return [tag_of[one["$ref"]] for one in union["oneOf"]]


def _bounds(node: dict[str, Any]) -> str:
    return " and ".join(f"{word} {node[name]}" for name, word in _BOUNDS.items() if name in node)


# ---- showing the user's own input


def _show(place: Place) -> str:
    """A place as users write it: `layers[0].width`."""
    parts = (
        f"[{part}]" if isinstance(part, int) else "." + (part if part.isidentifier() else _quote(part))
        for part in place
    )
    return "".join(parts).removeprefix(".")


def _quote(value: Any) -> str:
    """A value in YAML's words, on one line, cut where it is long."""
    if isinstance(value, dict):
        return _short("{" + ", ".join(f"{key}: {_quote(one)}" for key, one in value.items()) + "}")
    if isinstance(value, list):
        return _short("[" + ", ".join(map(_quote, value)) + "]")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
