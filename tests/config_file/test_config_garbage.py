"""Whatever is written in a file or an override gives a configuration, or lines that say what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stackae.config import Config
from stackae.config_file import dump_config, load_config
from stackae.errors import ConfigError

GOOD: dict[str, Any] = {
    "name": "good",
    "data": {"source": "mnist", "labels": {"per_class": 5}, "split": {"val": 0.2, "pool": True}},
    "layers": [
        {"kind": "denoising", "width": 9, "corruption": {"type": "gaussian", "sigma": 0.1}, "lr": 0.01},
        {"kind": "plain", "width": 4, "patience": 3},
    ],
    "finetune": {"epochs": 3, "dropout": 0.0},
    "tracking": {"wandb": "offline"},
}
WORDS = st.sampled_from(
    ["type", "masking", "width", "layers", "PerClass", "per_class", "all", "yes", "<<", "null"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs") / "x.yaml"


def holders(value: Any) -> Iterator[dict[str, Any] | list[Any]]:
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from holders(one)


def assert_config_or_lines(path: Path, data: bytes, *overrides: str) -> None:
    path.write_bytes(data)
    try:
        load_config(path, overrides)
    except ConfigError as error:
        for line in str(error).split("\n"):
            assert re.match(rf"({re.escape(str(path))}(:\d+:\d+)?|override ('.*'|\".*\")): .*\S", line)
            assert not re.search(r"literal\[|constrained|Value error|function-|Input should", line)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_mutation_gives_a_config_or_lines(path: Path, data: st.DataObject) -> None:
    raw = json.loads(json.dumps(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        holder = data.draw(st.sampled_from(list(holders(raw))))
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        assume(keys)
        key = data.draw(st.sampled_from(keys))
        old = holder.pop(key)  # type: ignore[arg-type]
        act = data.draw(st.sampled_from(["drop", "rename", "replace"]))
        if act != "drop":
            new = old if act == "rename" else data.draw(ANY)
            if isinstance(holder, dict):
                holder[data.draw(WORDS | st.text(max_size=8)) if act == "rename" else key] = new
            else:
                holder.insert(key, new)
    assert_config_or_lines(path, json.dumps(raw).encode())


@settings(max_examples=60, deadline=None)
@given(
    at=st.integers(0, 400),
    cut=st.integers(0, 9),
    junk=st.binary(max_size=12) | st.text("[]{}:,-&*!|>'\"%@# \t\n\\x0", max_size=8),
)
def test_any_bytes_give_a_config_or_lines(path: Path, at: int, cut: int, junk: bytes | str) -> None:
    text = dump_config(Config.model_validate(GOOD)).encode()
    junk = junk.encode() if isinstance(junk, str) else junk
    assert_config_or_lines(path, text[:at] + junk + text[at + cut :])
    assert_config_or_lines(path, junk)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(
        st.builds(
            "{}={}".format,
            st.lists(
                st.sampled_from(["layers", "0", "*", "1", "corruption", "rate", "data", "labels", "", "é"]),
                max_size=4,
            ).map(".".join),
            ANY.map(json.dumps) | st.text(max_size=8),
        )
        | st.text(max_size=8),
        max_size=3,
    )
)
def test_any_overrides_give_a_config_or_lines(path: Path, words: list[str]) -> None:
    assert_config_or_lines(path, json.dumps(GOOD).encode(), *words)
