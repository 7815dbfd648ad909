"""Which texts are configurations, and what is said of those that are none."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from config_texts import LAYERS, faults, load

from stackae.config import Config
from stackae.config_file import load_config
from stackae.errors import ConfigError


def test_a_file_of_layers_alone_takes_every_default_and_the_files_name(tmp_path: Path) -> None:
    expected = Config.model_validate({"name": "x", "layers": [{"width": 5}, {"width": 3}]})
    assert load(tmp_path, LAYERS) == expected


@pytest.mark.parametrize(
    ("stem", "name"),
    [("mnist", "mnist"), ("my run+1", "my-run-1"), (".-a", "a"), ("größe", "gr--e"), ("é", "run")],
)
def test_the_files_name_becomes_an_allowed_name(tmp_path: Path, stem: str, name: str) -> None:
    file = tmp_path / f"{stem}.yaml"
    file.write_text(LAYERS)
    assert load_config(file).name == name
    assert load_config(str(file), ["name=b"]).name == "b"


def test_values_follow_yaml_1_2(tmp_path: Path) -> None:
    text = "pretrain: {lr: 1e-3, momentum: 0}\nseed: 0o17\nname: 2020-01-02\ndata: {source: no}"
    config = load(tmp_path, LAYERS + text)
    assert config.pretrain.lr == 1e-3
    assert config.pretrain.momentum == 0
    assert config.seed == 15
    assert config.name == "2020-01-02"
    assert config.data.source == "no"


def test_a_byte_order_mark_and_plain_aliases_are_fine(tmp_path: Path) -> None:
    text = "\ufefflayers:\n- &one {width: 7, corruption: {type: masking}}\n- *one\n"
    assert [layer.width for layer in load(tmp_path, text).layers] == [7, 7]


EXPANDING = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", r": empty; write at least .*"),
        ("# nothing\n", r": empty; .*"),
        ("- a\n", r":1:1: the file holds a list; write keys.*"),
        ("digits", r":1:1: the file holds only 'digits'; write keys.*"),
        ("!!map [a]", r":1:1: the tag '!!map' is not allowed; .*"),
        (LAYERS + "---\n" + LAYERS, r":2:1: a second document begins; keep one.*"),
        ("layers:\n  - width: [\n", r":\d:\d+: not valid YAML: .*; check .*"),
        ("layers:\n\t- width: 3\n", r":2:1: a tab; indent with spaces"),
        ("layers: *none\n", r":1:9: found undefined alias 'none'; .*"),
        (b"seed: 1\nname: \xff\n", r":2:7: byte 0xff is not UTF-8; save .*"),
        ("seed: 1".encode("utf-16"), r":1:1: byte 0xff is not UTF-8; .*"),
        ("seed: 1\nname: \0\n", r":2:7: the character '\\x00' is not allowed in YAML; remove it"),
        ('name: "\\U00110000"', r": not valid YAML \(ValueError\); .*"),
        ("a: &a [*a]", r":1:4: nested too deeply or too long; .*"),
        ("[" * 5000, r"(:1:32)?: nested too deeply; .*"),
        ("- " * 5000, r"(:1:63)?: nested too deeply; .*"),
        (EXPANDING, r":1:\d+: nested too deeply or too long; write it out, without aliases"),
        (b" " * (1 << 20) + b"a", r": larger than 1 MiB, .*"),
    ],
    ids=lambda text: text[:12] if len(text) > 500 else None,
)
def test_what_is_no_configuration_gives_one_line(tmp_path: Path, text: str | bytes, line: str) -> None:
    (only,) = faults(tmp_path, text)
    assert re.fullmatch(rf"x\.yaml{line}", only)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file; give the path of a YAML file$"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r": this is a folder; give the path of a YAML file$"):
        load_config(tmp_path)


def test_reading_a_file_needs_no_torch() -> None:
    heavy = "{'torch', 'wandb', 'pytorch_lightning', 'lightning'}"
    code = f"import sys, stackae.config_file; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
