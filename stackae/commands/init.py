"""`stackae init`: a config that fits data which nobody has described."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackae.commands.inspect import open_described
from stackae.console import make_console
from stackae.errors import ConfigError

if TYPE_CHECKING:
    from stackae.data.forms.form import Guess
    from stackae.data.preprocessing.load import Preprocessing
    from stackae.data.source import Source

WIDTHS = (256, 256, 128)
"""The layers' widths, whatever the data: docs/recipe.md has what was tried."""
SWAP = "{type: swap, rate: 0.2}"
WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_./~][\w./~+ -]*(?<! )")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", "nan", "."}


def init(data: Sequence[str], target: str | None, out: Path | None) -> None:
    """Write a config that fits the data and runs as it is, and print how to run it."""
    out = out or Path(f"{_name(data[0])}.yaml")
    if out.exists():
        raise ConfigError(f"{out}: is there already; name another file with -o, or remove it")
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder '{out.parent}'; make it, or name another")
    from stackae.data.splits import make_split

    _, guess, source, fitted = open_described(data, target)
    make_split(source, guess.config(), seed=0)
    text = "\n".join(_lines(guess, source, fitted)) + "\n"
    with out.open("x") as file:
        file.write(text)
    make_console().print(f"{out} is written. To run it: stackae run {out}", markup=False, soft_wrap=True)


def _lines(guess: Guess, source: Source, fitted: Preprocessing) -> Iterator[str]:
    """Yield the config, line by line."""
    features, rows = math.prod(fitted.shape), len(source.rows)
    yield f"# {rows:,} rows, {features:,} features" + (
        f", {len(source.classes)} classes" if source.classes else ", no labels"
    )
    yield "data:"
    for name, value in guess.settings.items():
        why = guess.why.get(name)
        if why:
            yield f"  # {why}"
        if name == "types":
            yield "  types:"
            yield from (f"    {_yaml(column)}: {kind}" for column, kind in value.items())
            continue
        words = f"{name}: {json.dumps(value) if name == 'missing' else _yaml(value)}"
        # Strings in quotes hold no spaces, so that any space may become the end of a line.
        yield textwrap.fill(
            words,
            WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        if name == "source" and "target" not in guess.settings and source.columns is not None:
            yield f"  # target: {_yaml(guess.likely_target or 'COLUMN')}  # {_target_hint(guess)}"
    unused = {
        column.name: column.dropped
        for column in source.columns or ()
        if column.dropped and not column.asked  # those are in `drop` above
    }
    if unused:
        shown = "; ".join(f"{name}: {why}" for name, why in list(unused.items())[:10])
        yield f"  # not used: {shown}" + ("; …" if len(unused) > 10 else "")
    for remark in (*source.remarks, *fitted.remarks):
        yield f"  # {' '.join(remark.split())}"
    if "test" not in guess.settings and source.test is None:
        yield "  # test: PATH  # rows to test on; a fifth of the source's rows without it"
        yield "  split: {val: 0.1}  # share of the others that validates the layers; their labels count"
    yield ""
    yield "layers:  # from the input upwards"
    yield from (f"  - {{width: {width}, corruption: {SWAP}}}" for width in WIDTHS)
    yield ""
    if source.classes:
        yield "# averaged with classifiers of scikit-learn, in the shares that cross-validation makes likely"
        yield "finetune: {blend: auto}"
    else:
        yield "finetune: null  # no labels, no classifier" + (
            "; remove this line when data.target is set" if source.columns is not None else ""
        )


def _target_hint(guess: Guess) -> str:
    if guess.likely_target:
        return "is this the column with the labels? Then remove '# ' here, and 'finetune: null' below"
    return "the column with the labels, if there is one; remove 'finetune: null' below then"


def _yaml(value: Any) -> str:
    """Return a value on one line of YAML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _name(data: str) -> str:
    # Of a glob, the file's or folder's name that it begins with.
    path = Path(re.split(r"[^/]*[*?\[]", data)[0] or data)
    return (
        re.sub(r"\W+", "_", (path.resolve().name if path.is_dir() else path.name).split(".")[0]) or "config"
    )
