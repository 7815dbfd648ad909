"""Words `key=value` that change a configuration, and what is said of those that cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from config_texts import LAYERS, faults, load

from stackae.config import Config, FinetuneConfig


@pytest.mark.parametrize(
    ("words", "picked", "expected"),
    [
        (["layers.0.width=500"], lambda c: [one.width for one in c.layers], [500, 3]),
        (["layers.*.width=500", "layers.1.width=7"], lambda c: [one.width for one in c.layers], [500, 7]),
        (["layers=[{width: 9}]"], lambda c: [one.width for one in c.layers], [9]),
        (["finetune.epochs=20"], lambda c: c.finetune.epochs, 20),
        (["finetune=null"], lambda c: c.finetune, None),
        (["finetune=null", "finetune.epochs=20"], lambda c: c.finetune.epochs, 20),
        (["data.labels={per_class: 5}"], lambda c: c.data.labels.per_class, 5),
        (["data.labels.per_class=5"], lambda c: c.data.labels.per_class, 5),
        (
            ["data.split.val=0.3", "data.source=a=b"],
            lambda c: (c.data.split.val, c.data.source),
            (0.3, "a=b"),
        ),
        (["pretrain.lr=1e-2"], lambda c: c.pretrain.lr, 0.01),
        (
            ["layers.*.corruption={type: masking}", "layers.0.corruption.rate=0.4"],
            lambda c: [one.corruption.rate for one in c.layers],
            [0.4, 0.25],
        ),
        (["layers.*.corruption.rate=0.4"], lambda c: [one.corruption.rate for one in c.layers], [0.4, 0.4]),
        (
            ["layers.0.corruption={type: swap}", "layers.*.corruption.rate=0.4"],
            lambda c: [(one.corruption.type, one.corruption.rate) for one in c.layers],
            [("swap", 0.4), ("masking", 0.4)],
        ),
    ],
)
def test_overrides_apply_in_turn(
    tmp_path: Path, words: list[str], picked: Callable[[Config], Any], expected: Any
) -> None:
    assert picked(load(tmp_path, LAYERS, *words)) == expected


def test_an_override_mends_what_the_file_has_wrong(tmp_path: Path) -> None:
    text = "layers: [{width: 0, corruption: {type: wrong}}]\nfinetune: null\nseed: x"
    config = load(tmp_path, text, "layers.0={width: 5}", "seed=1", "finetune.epochs=3")
    assert config.layers[0].width == 5
    assert config.finetune == FinetuneConfig(epochs=3)


@pytest.mark.parametrize(
    ("word", "rest"),
    [
        ("layers.7.width=3", "layers has no entry '7'; its entries are 0, 1 and *"),
        ("layers.-1.width=3", "layers has no entry '-1'; its entries are 0, 1 and *"),
        ("layers.width=3", "layers has no entry 'width'; its entries are 0, 1 and *"),
        ("seed.*=3", "seed is not set, so has no entries; set it as a whole"),
        ("*.epochs=3", "the file is not a list, so '*' stands for nothing; name the key"),
        ("layers.0.width.x=3", "layers[0].width is 5, which has no 'x'; set layers[0].width as a whole"),
        ("seed", "no '='; write key=value, as layers.0.width=500"),
        ("=3", "a part of the key is empty or not valid Unicode; write it as layers.0.width=500"),
        ("data..source=3", "a part of the key is empty or not valid Unicode; write it as layers.0.width=500"),
        ("seed=", "no value after '='; write null for none"),
        ("seed=# 3", "empty; write at least 'layers: [{width: 100}]'"),
        ("layers.0.width=0", "layers[0].width: 0 is not allowed; it must be at least 1"),
        ("layers.0.widht=9", "layers[0].widht: unknown key; did you mean 'width'?"),
        ("layers.0={tied: true}", "layers[0].width: missing; give a whole number of at least 1"),
        (
            "layers.0={width: 5, kind: sparse, corruption: {rate: 0.4}}",
            "layers[0].corruption.type: missing; one of 'masking', 'gaussian', 'salt_pepper', 'swap', 'mix'",
        ),
        ("pretrain.batch_size=1e2", "pretrain.batch_size: 1e2 is not a whole number; write 100"),
        (
            "name=!!python/name:os.system x",
            "the tag '!!python/name:os.system' is not allowed; write a plain value",
        ),
    ],
)
def test_a_faulty_override_is_named(tmp_path: Path, word: str, rest: str) -> None:
    assert faults(tmp_path, LAYERS, word, "finetune.epochs=3") == [f"override {word!r}: {rest}"]


def test_a_contradiction_is_blamed_on_the_override_that_brings_it(tmp_path: Path) -> None:
    text = "layers: [{width: 5, corruption: {type: masking}}, {width: 0}]"
    words = ["finetune.epochs=3", "layers.0.kind=plain", "layers.0.tied=true", "seed=x"]
    first, second, third = faults(tmp_path, text, *words)
    assert first.startswith("x.yaml:1:59: layers[1].width: ")
    assert third.startswith("override 'seed=x': seed: ")
    assert second.startswith("override 'layers.0.kind=plain': layers[0]: kind 'plain' has no corruption")


def test_a_contradiction_in_the_file_is_not_blamed_on_an_override(tmp_path: Path) -> None:
    text = "layers: [{width: 5, kind: plain, corruption: {type: masking}}]"
    (only,) = faults(tmp_path, text, "layers.0.width=6")
    assert only.startswith("x.yaml:1:10: layers[0]: kind 'plain'")
