"""In which words a setting is refused, and which position is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import LAYERS, faults


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 3", "1:1: layers: missing; give a list of at least one {width: n}"),
        ("layers: 3", "1:9: layers: 3 is not allowed; use a list of at least one {width: n}"),
        ("layers: []", "1:9: layers: [] is not allowed; use a list of at least one {width: n}"),
        ("seed: 0\nlayers:\n  - widht: 5\n", "3:5: layers[0].widht: unknown key; did you mean 'width'?"),
        ("layers:\n  - tied: true\n", "2:5: layers[0].width: missing; give a whole number of at least 1"),
        ("layers: [{width: 0}]", "1:18: layers[0].width: 0 is not allowed; it must be at least 1"),
        ("layers: [{width: '10'}]", "1:18: layers[0].width: '10' is a string; write 10 without quotes"),
        (
            "layers: [{width: true}]",
            "1:18: layers[0].width: true is not allowed; use a whole number of at least 1",
        ),
        (
            "layers: [{width: 5, kind: denoisng}]",
            "1:27: layers[0].kind: 'denoisng' is not allowed; did you mean 'denoising'?",
        ),
        (
            "layers:\n  - width: 5\n    kind: plain\n    corruption: {type: masking}",
            "2:5: layers[0]: kind 'plain' has no corruption; use kind: denoising, or remove 'corruption'",
        ),
        (
            "layers: !!python/object/apply:os.system [ls]",
            "1:9: layers: the tag '!!python/object/apply:os.system' is not allowed; write a plain value",
        ),
    ],
)
def test_a_fault_of_the_layers_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert faults(tmp_path, text) == [f"x.yaml:{line}"]


@pytest.mark.parametrize(
    ("corruption", "line"),
    [
        (
            "masking",
            "33: {}: 'masking' is not allowed; use {{type: masking, …}}, {{type: gaussian, …}}, "
            "{{type: salt_pepper, …}}, {{type: swap, …}}, {{type: mix, …}}, or null",
        ),
        ("{type: maskin}", "40: {}.type: 'maskin' is not allowed; did you mean 'masking'?"),
        (
            "{type: null}",
            "40: {}.type: null is not allowed; use 'masking', 'gaussian', 'salt_pepper', 'swap', or 'mix'",
        ),
        ("{type: masking, masking: 1}", "49: {}.masking: unknown key; the known keys are 'type', 'rate'"),
        (
            "{type: masking, rate: 1.5}",
            "55: {}.rate: 1.5 is not allowed; it must be at least 0 and below 1",
        ),
    ],
)
def test_a_fault_of_a_corruption_is_one_line(tmp_path: Path, corruption: str, line: str) -> None:
    text = f"layers: [{{width: 5, corruption: {corruption}}}]"
    assert faults(tmp_path, text) == ["x.yaml:1:" + line.format("layers[0].corruption")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "data: {labels: x}",
            "16: data.labels: 'x' is not allowed; use 'all', a whole number of at least 1, or {per_class: n}",
        ),
        (
            "data: {labels: {per_class: 0}}",
            "28: data.labels.per_class: 0 is not allowed; it must be at least 1",
        ),
        ("data: {target: 3}", "16: data.target: 3 is a number; write it in quotes"),
        ("data: {missing: ['?', -9]}", "23: data.missing[1]: -9 is a number; write it in quotes"),
        ("data: {drop: a}", "14: data.drop: 'a' is not allowed; use a list of strings"),
        ("data: {separator: ab}", "19: data.separator: 'ab' is not allowed; use one character, or null"),
        (
            "data: {types: {a: nummeric}}",
            "19: data.types.a: 'nummeric' is not allowed; did you mean 'numeric'?",
        ),
        (
            "data: {classes: [a]}",
            "17: data.classes: ['a'] is not allowed; use a mapping of names, each to a string",
        ),
        (
            "data: {image_size: 28}",
            "20: data.image_size: 28 is not allowed; use a list of 2, each a whole number of at least 1, "
            "or null",
        ),
        ("data: {image_size: [28, 0]}", "25: data.image_size[1]: 0 is not allowed; it must be at least 1"),
        (
            "data: {group: a, order: b}",
            "7: data: rows are divided by group or by order, not by both; remove one of them",
        ),
        ("data: {labels: {}}", "16: data.labels.per_class: missing; give a whole number of at least 1"),
        (
            "data: {split: {val: 1.5}}",
            "21: data.split.val: 1.5 is not allowed; "
            "use a whole number of at least 1, or a share between 0 and 1",
        ),
        ("data: {split: {pool: 'yes'}}", "22: data.split.pool: 'yes' is not allowed; use true or false"),
        ("pretrain: {batch_size: 1e2}", "24: pretrain.batch_size: 1e2 is not a whole number; write 100"),
        ("pretrain: {lr: '1e-3'}", "16: pretrain.lr: '1e-3' is a string; write 1e-3 without quotes"),
        ("pretrain: {lr: .inf}", "16: pretrain.lr: .inf is not allowed; use a number above 0"),
        ("seed: -1", "7: seed: -1 is not allowed; it must be at least 0 and below 4294967296"),
        ("seed: !!int zz", "7: seed: 'zz' cannot be read as int; correct it"),
        (
            "name: a b",
            "7: name: 'a b' is not allowed; write 'a-b', say: it must match ^[A-Za-z0-9][A-Za-z0-9._-]*$",
        ),
        ('name: "\\ud800"', "7: name: '\\ud800' is not valid Unicode; write other text"),
        (
            "name: !!python/name:os.system x",
            "7: name: the tag '!!python/name:os.system' is not allowed; write a plain value",
        ),
        (
            "tracking: {wandb: off}",
            "19: tracking.wandb: 'off' is not allowed; use 'auto', 'online', 'offline', or 'disabled'",
        ),
        (
            "compare: 1",
            "10: compare: 1 is not allowed; use a mapping with keys such as "
            "'scratch', 'probe', 'importance', 'baselines'",
        ),
        ("[1]: 2", "1: '?': a key must be plain text; use the name of a setting"),
    ],
)
def test_a_fault_beside_the_layers_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert faults(tmp_path, LAYERS + text) == [f"x.yaml:2:{line}"]


def test_a_key_that_is_written_twice_is_named_with_its_first_line(tmp_path: Path) -> None:
    lines = ["x.yaml:3:1: seed: written twice, first in line 2; keep one"]
    assert faults(tmp_path, LAYERS + "seed: 1\nseed: 2") == lines


def test_all_faults_come_at_once_in_the_files_order(tmp_path: Path) -> None:
    lines = faults(
        tmp_path,
        "zeed: 1\n"
        "layers:\n"
        "  - {width: 0, corruption: {type: gaussian, sigma: 0}}\n"
        "  - {widht: 3, lr: fast}\n"
        "data: {labels: 1.5}\n"
        "seed: 1\n"
        "seed: 2\n",
    )
    places = [": ".join(line.split(": ")[:2]) for line in lines]
    assert places == [
        "x.yaml:1:1: zeed",
        "x.yaml:3:13: layers[0].width",
        "x.yaml:3:52: layers[0].corruption.sigma",
        "x.yaml:4:6: layers[1].widht",
        "x.yaml:4:20: layers[1].lr",
        "x.yaml:5:16: data.labels",
        "x.yaml:7:1: seed",
    ]
