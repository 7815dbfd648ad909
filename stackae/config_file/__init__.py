"""From a YAML file, and words that override it, to a Config: every fault at once, each on one line.

The file is composed into nodes and never constructed into objects: so each value keeps its position, and
no tag can name a class. The models in `stackae.config` judge the values; their schema says what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stackae.config import Config
from stackae.config_file.faults import Fault, Place, UnreadableError, quote
from stackae.config_file.overrides import override
from stackae.config_file.reading import parse, read_text
from stackae.config_file.verdicts import located, verdicts_on
from stackae.config_file.wording import slug
from stackae.config_file.writing import dump_config, schema
from stackae.errors import ConfigError

__all__ = ["dump_config", "load_config", "read_plain", "schema"]


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration from a YAML 1.2 file and check it.

    `overrides` are words `key=value`, applied in turn before anything is checked: `layers.0.width=500`,
    `layers.*.corruption.rate=0.4`, `finetune=null`; their values are YAML too. Without `name` in the file,
    the run is named after the file. Raises `ConfigError` with one line per fault, `PATH:LINE:COLUMN: place:
    cause; remedy`, or `override 'WORD': …` where a word is at fault.
    """
    try:
        document = parse(read_text(path))
    except UnreadableError as error:
        raise ConfigError(Fault((), error.says, error.mark).line(path)) from None
    if not isinstance(document.value, dict):
        content = "a list" if isinstance(document.value, list) else f"only {quote(document.value)}"
        says = f"the file holds {content}; write keys, as 'layers: [{{width: 100}}]'"
        raise ConfigError((document.faults or [Fault((), says, (1, 1))])[0].line(path))
    document.value.setdefault("name", slug(Path(path).stem) or "run")

    faults = list(document.faults)
    verdicts = verdicts_on(document)
    since: dict[Place, str] = {}
    for word in overrides:
        before = {verdict.place for verdict in verdicts}
        faults += override(document, word)
        verdicts = verdicts_on(document)
        since |= {verdict.place: word for verdict in verdicts if verdict.place not in before}
    faults += located(verdicts, document, since)
    if faults:
        order = {None: -1} | {word: index for index, word in enumerate(overrides)}
        faults.sort(key=lambda fault: (order[fault.word], fault.mark or (0, 0)))
        raise ConfigError("\n".join(dict.fromkeys(fault.line(path) for fault in faults)))
    return Config.model_validate(document.value)


def read_plain(path: str | Path) -> Any:
    """Read the plain values of a YAML 1.2 file, whatever it describes; ConfigError where it is unreadable."""
    try:
        document = parse(read_text(path))
    except UnreadableError as error:
        raise ConfigError(Fault((), error.says, error.mark).line(path)) from None
    if document.faults:
        raise ConfigError("\n".join(fault.line(path) for fault in document.faults))
    return document.value
