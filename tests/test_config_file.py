"""Reading, overriding, refusing and writing configurations."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stackae import config as models
from stackae.config import Config
from stackae.config_file import dump_config, load_config, schema
from stackae.errors import ConfigError

LAYERS = "layers: [{width: 5}, {width: 3}]\n"
SECTIONS = [
    model for _, model in inspect.getmembers(models, inspect.isclass) if issubclass(model, models.Section)
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs") / "x.yaml"


@pytest.fixture(scope="module")
def load(path: Path) -> Callable[..., Config]:
    def load(text: str | bytes, *overrides: str) -> Config:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, overrides)

    return load


@pytest.fixture(scope="module")
def faults(load: Callable[..., Config], path: Path) -> Callable[..., list[str]]:
    """The lines of the error that a text gives, without the folder."""

    def faults(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        return [line.replace(f"{path.parent}/", "") for line in str(caught.value).split("\n")]

    return faults


# ---- what is read


def test_a_file_of_layers_alone_takes_every_default_and_the_files_name(load: Callable[..., Config]) -> None:
    assert load(LAYERS) == Config(name="x", layers=({"width": 5}, {"width": 3}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stem", "name"),
    [("mnist", "mnist"), ("my run+1", "my-run-1"), (".-a", "a"), ("größe", "gr--e"), ("é", "run")],
)
def test_the_files_name_becomes_an_allowed_name(tmp_path: Path, stem: str, name: str) -> None:
    file = tmp_path / f"{stem}.yaml"
    file.write_text(LAYERS)
    assert load_config(file).name == name
    assert load_config(str(file), ["name=b"]).name == "b"


def test_values_follow_yaml_1_2(load: Callable[..., Config]) -> None:
    config = load(
        LAYERS + "pretrain: {lr: 1e-3, momentum: 0}\nseed: 0o17\nname: 2020-01-02\ndata: {source: no}"
    )
    assert config.pretrain.lr == 1e-3
    assert config.pretrain.momentum == 0
    assert config.seed == 15
    assert config.name == "2020-01-02"
    assert config.data.source == "no"


def test_a_byte_order_mark_and_plain_aliases_are_fine(load: Callable[..., Config]) -> None:
    config = load("\ufefflayers:\n- &one {width: 7, corruption: {type: masking}}\n- *one\n".encode())
    assert [layer.width for layer in config.layers] == [7, 7]


# ---- what is refused, and in which words


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 0\nlayers:\n  - widht: 5\n", "3:5: layers[0].widht: unknown key; did you mean 'width'?"),
        ("layers:\n  - tied: true\n", "2:5: layers[0].width: missing; give a whole number of at least 1"),
        ("layers: [{width: 0}]", "1:18: layers[0].width: 0 is not allowed; it must be at least 1"),
        ("layers: [{width: '10'}]", "1:18: layers[0].width: '10' is text; write 10 without quotes"),
        (
            "layers: [{width: true}]",
            "1:18: layers[0].width: true is not allowed; use a whole number of at least 1",
        ),
        ("layers: []", "1:9: layers: [] is not allowed; use a list of at least one {width: n}"),
        ("seed: 3", "1:1: layers: missing; give a list of at least one {width: n}"),
        ("layers: 3", "1:9: layers: 3 is not allowed; use a list of at least one {width: n}"),
        (
            "layers: [{width: 5, corruption: {type: masking, rate: 1.5}}]",
            "1:55: layers[0].corruption.rate: 1.5 is not allowed; it must be at least 0 and below 1",
        ),
        (
            "layers: [{width: 5, kind: denoisng}]",
            "1:27: layers[0].kind: 'denoisng' is not allowed; did you mean 'denoising'?",
        ),
        (
            "layers: [{width: 5, corruption: {rate: 0.1}}]",
            "1:33: layers[0].corruption.type: missing; one of 'masking', 'gaussian'",
        ),
        (
            "layers: [{width: 5, corruption: {}}]",
            "1:33: layers[0].corruption.type: missing; one of 'masking', 'gaussian'",
        ),
        (
            "layers: [{width: 5, corruption: {type: maskin}}]",
            "1:40: layers[0].corruption.type: 'maskin' is not allowed; did you mean 'masking'?",
        ),
        (
            "layers: [{width: 5, corruption: {type: null}}]",
            "1:40: layers[0].corruption.type: null is not allowed; use 'masking' or 'gaussian'",
        ),
        (
            "layers: [{width: 5, corruption: masking}]",
            "1:33: layers[0].corruption: 'masking' is not allowed; "
            "use {type: masking, …}, {type: gaussian, …}, or null",
        ),
        (
            "layers: [{width: 5, corruption: {type: masking, masking: 1}}]",
            "1:49: layers[0].corruption.masking: unknown key; the known keys are 'type', 'rate'",
        ),
        (
            "layers:\n  - width: 5\n    kind: plain\n    corruption: {type: masking}",
            "2:5: layers[0]: kind 'plain' has no corruption; use kind: denoising, or remove 'corruption'",
        ),
        (
            LAYERS + "data: {labels: x}",
            "2:16: data.labels: 'x' is not allowed; "
            "use 'all', a whole number of at least 1, or {per_class: n}",
        ),
        (
            LAYERS + "data: {labels: {per_class: 0}}",
            "2:28: data.labels.per_class: 0 is not allowed; it must be at least 1",
        ),
        (
            LAYERS + "data: {labels: {}}",
            "2:16: data.labels.per_class: missing; give a whole number of at least 1",
        ),
        (
            LAYERS + "data: {split: {val: 1.5}}",
            "2:21: data.split.val: 1.5 is not allowed; "
            "use a whole number of at least 1, or a share between 0 and 1",
        ),
        (
            LAYERS + "data: {split: {pool: 'yes'}}",
            "2:22: data.split.pool: 'yes' is not allowed; use true or false",
        ),
        (LAYERS + "pretrain: {epochs: 1e2}", "2:20: pretrain.epochs: 1e2 is not a whole number; write 100"),
        (LAYERS + "pretrain: {lr: '1e-3'}", "2:16: pretrain.lr: '1e-3' is text; write 1e-3 without quotes"),
        (LAYERS + "pretrain: {lr: .inf}", "2:16: pretrain.lr: .inf is not allowed; use a number above 0"),
        (LAYERS + "seed: -1", "2:7: seed: -1 is not allowed; it must be at least 0 and below 4294967296"),
        (
            LAYERS + "name: a b",
            "2:7: name: 'a b' is not allowed; write 'a-b', say: it must match ^[A-Za-z0-9][A-Za-z0-9._-]*$",
        ),
        (
            LAYERS + "tracking: {wandb: off}",
            "2:19: tracking.wandb: 'off' is not allowed; use 'auto', 'online', 'offline', or 'disabled'",
        ),
        (
            LAYERS + "compare: 1",
            "2:10: compare: 1 is not allowed; use a mapping with keys such as 'scratch', 'probe'",
        ),
        (LAYERS + "seed: 1\nseed: 2", "3:1: seed: written twice, first in line 2; keep one"),
        (
            LAYERS + "name: !!python/name:os.system x",
            "2:7: name: the tag '!!python/name:os.system' is not allowed; write a plain value",
        ),
        (
            "layers: !!python/object/apply:os.system [ls]",
            "1:9: layers: the tag '!!python/object/apply:os.system' is not allowed; write a plain value",
        ),
        (LAYERS + "seed: !!int zz", "2:7: seed: 'zz' cannot be read as int; correct it"),
        (LAYERS + "[1]: 2", "2:1: '?': a key must be plain text; use the name of a setting"),
        (LAYERS + 'name: "\\ud800"', "2:7: name: '\\ud800' is not valid Unicode; write other text"),
    ],
)
def test_one_fault_is_one_line(faults: Callable[..., list[str]], text: str, line: str) -> None:
    assert faults(text) == [f"x.yaml:{line}"]


def test_all_faults_come_at_once_in_the_files_order(faults: Callable[..., list[str]]) -> None:
    lines = faults(
        "zeed: 1\n"
        "layers:\n"
        "  - {width: 0, corruption: {type: gaussian, sigma: 0}}\n"
        "  - {widht: 3, lr: fast}\n"
        "data: {labels: 1.5}\n"
        "seed: 1\n"
        "seed: 2\n"
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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", r"x\.yaml: empty; write at least .*"),
        ("# nothing\n", r"x\.yaml: empty; .*"),
        ("- a\n", r"x\.yaml:1:1: the file holds a list; write keys.*"),
        ("digits", r"x\.yaml:1:1: the file holds only 'digits'; write keys.*"),
        ("!!map [a]", r"x\.yaml:1:1: the tag '!!map' is not allowed; .*"),
        (LAYERS + "---\n" + LAYERS, r"x\.yaml:2:1: a second document begins; keep one.*"),
        ("layers:\n  - width: [\n", r"x\.yaml:\d:\d+: not valid YAML: .*; check .*"),
        ("layers:\n\t- width: 3\n", r"x\.yaml:2:1: a tab; indent with spaces"),
        ("layers: *none\n", r"x\.yaml:1:9: found undefined alias 'none'; .*"),
        (b"seed: 1\nname: \xff\n", r"x\.yaml:2:7: byte 0xff is not UTF-8; save .*"),
        ("seed: 1".encode("utf-16"), r"x\.yaml:1:1: byte 0xff is not UTF-8; .*"),
        ("seed: 1\nname: \0\n", r"x\.yaml:2:7: the character '\\x00' is not allowed in YAML; remove it"),
        ('name: "\\U00110000"', r"x\.yaml: not valid YAML \(ValueError\); .*"),
        ("a: &a [*a]", r"x\.yaml:1:4: nested too deeply or too long; .*"),
        ("[" * 1000, r"x\.yaml: nested too deeply; .*"),
        (b" " * (1 << 20) + b"a", r"x\.yaml: larger than 1 MiB, .*"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(
                f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            r"x\.yaml:1:\d+: nested too deeply or too long; write it out, without aliases",
        ),
    ],
)
def test_what_is_no_configuration_gives_one_line(
    faults: Callable[..., list[str]], text: str | bytes, line: str
) -> None:
    (only,) = faults(text)
    assert re.fullmatch(line, only)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file; give the path of a YAML file$"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r": this is a folder; give the path of a YAML file$"):
        load_config(tmp_path)


# ---- overrides


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
    ],
)
def test_overrides_apply_in_turn(
    load: Callable[..., Config], words: list[str], picked: Callable[[Config], Any], expected: Any
) -> None:
    assert picked(load(LAYERS, *words)) == expected


def test_an_override_mends_what_the_file_has_wrong(load: Callable[..., Config]) -> None:
    text = "layers: [{width: 0, corruption: {type: wrong}}]\nfinetune: null\nseed: x"
    config = load(text, "layers.0={width: 5}", "seed=1", "finetune.epochs=3")
    assert config.layers[0].width == 5
    assert config.finetune == models.FinetuneConfig(epochs=3)


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
        ("=3", "a part of the key is empty or no text; write it as layers.0.width=500"),
        ("data..source=3", "a part of the key is empty or no text; write it as layers.0.width=500"),
        ("seed=", "no value after '='; write null for none"),
        ("seed=# 3", "empty; write at least 'layers: [{width: 100}]'"),
        ("layers.0.width=0", "layers[0].width: 0 is not allowed; it must be at least 1"),
        ("layers.0.widht=9", "layers[0].widht: unknown key; did you mean 'width'?"),
        ("layers.0={tied: true}", "layers[0].width: missing; give a whole number of at least 1"),
        ("layers.0.corruption.rate=0.4", "layers[0].corruption.type: missing; one of 'masking', 'gaussian'"),
        ("pretrain.epochs=1e2", "pretrain.epochs: 1e2 is not a whole number; write 100"),
        (
            "name=!!python/name:os.system x",
            "the tag '!!python/name:os.system' is not allowed; write a plain value",
        ),
    ],
)
def test_a_faulty_override_is_named(faults: Callable[..., list[str]], word: str, rest: str) -> None:
    assert faults(LAYERS, word, "finetune.epochs=3") == [f"override {word!r}: {rest}"]


def test_a_contradiction_is_blamed_on_the_override_that_brings_it(faults: Callable[..., list[str]]) -> None:
    text = "layers: [{width: 5, corruption: {type: masking}}, {width: 0}]"
    words = ["finetune.epochs=3", "layers.0.kind=plain", "layers.0.tied=true", "seed=x"]
    first, second, third = faults(text, *words)
    assert first.startswith("x.yaml:1:59: layers[1].width: ")
    assert third.startswith("override 'seed=x': seed: ")
    assert second.startswith("override 'layers.0.kind=plain': layers[0]: kind 'plain' has no corruption")


def test_a_contradiction_in_the_file_is_not_blamed_on_an_override(faults: Callable[..., list[str]]) -> None:
    text = "layers: [{width: 5, kind: plain, corruption: {type: masking}}]"
    (only,) = faults(text, "layers.0.width=6")
    assert only.startswith("x.yaml:1:10: layers[0]: kind 'plain'")


# ---- every configuration survives being written, every text gives a Config or lines


def values(node: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a JSON schema of ours allows, so that new settings are covered without a word here."""
    if "$ref" in node:
        return values(defs[node["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in node or "oneOf" in node:
        return st.one_of([values(one, defs) for one in node.get("anyOf", node.get("oneOf"))])
    if "const" in node or "enum" in node:
        return st.sampled_from(node.get("enum") or [node.get("const")])
    low, high = (
        node.get("minimum", node.get("exclusiveMinimum")),
        node.get("maximum", node.get("exclusiveMaximum")),
    )
    match node["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(low, None if high is None else high - 1)
        case "number":
            return st.floats(
                low,
                high,
                exclude_min="exclusiveMinimum" in node,
                exclude_max="exclusiveMaximum" in node,
                allow_nan=False,
                allow_infinity=False,
            )
        case "string" if "pattern" in node:
            return st.from_regex(node["pattern"], fullmatch=True)
        case "string":
            tricky = st.sampled_from(
                ["yes", "null", "~", "1e3", "0x1", "2020-01-02", "=", "<<", "- a", "a: b", "# c"]
            )
            return tricky | st.text(
                st.characters(exclude_categories=["Cs"]), min_size=node.get("minLength", 0)
            )
        case "array":
            return st.lists(values(node["items"], defs), min_size=node.get("minItems", 0), max_size=3)
    required = node.get("required", ())
    parts = {key: values(one, defs) for key, one in node["properties"].items()}
    if node["title"].endswith(("MaskingConfig", "GaussianConfig")):
        required = ["type", *required]
    return st.fixed_dictionaries(
        {key: part for key, part in parts.items() if key in required},
        optional={key: part for key, part in parts.items() if key not in required},
    )


RAW = values(schema(), schema()["$defs"])


@settings(max_examples=60, deadline=None)
@given(raw=RAW)
def test_a_written_configuration_reads_back_equal(path: Path, raw: dict[str, Any]) -> None:
    try:
        config = Config.model_validate(raw)
    except pydantic.ValidationError:
        assume(False)
    text = dump_config(config)
    path.write_text(text, encoding="utf-8", newline="")
    assert load_config(path) == config
    assert dump_config(load_config(path)) == text


def test_the_written_form_is_tidy() -> None:
    layer = {"width": 5, "lr": 1e-5, "corruption": {"type": "masking"}}
    text = dump_config(Config.model_validate({"name": "a", "layers": [layer], "finetune": None}))
    assert text.startswith("name: a\nseed: 0\ndata:\n  source: digits\n  root: null\n")
    assert "  - kind: denoising\n    unit: dense\n    width: 5\n" in text
    assert "    lr: 1.0e-05\n" in text
    assert "\nfinetune: null\n" in text
    layers = text[text.index("layers:") : text.index("pretrain:")]
    assert "null" not in layers
    assert "{" not in text


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


# ---- the schema, and what the models promise


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_setting_is_described(section: type[models.Section]) -> None:
    assert [name for name, one in section.model_fields.items() if not one.description] == []


def test_the_schema_describes_a_file() -> None:
    found = schema()
    assert found["$schema"].startswith("https://json-schema.org/")
    assert found["title"] == "stackae configuration"
    assert found["required"] == ["layers"]
    assert found["additionalProperties"] is False
    assert "width" in found["$defs"]["LayerConfig"]["required"]
    json.dumps(found)


def kinds(node: dict[str, Any]) -> set[str]:
    if "anyOf" in node:
        return set().union(*map(kinds, node["anyOf"]))
    return {node.get("type", "object")}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_text_is_no_number_and_a_switch_is_no_number(section: type[models.Section]) -> None:
    for name, node in section.model_json_schema().get("properties", {}).items():
        wrong = [] if "string" in kinds(node) else ["1", "true", "0.5"]
        wrong += [True] if kinds(node) & {"integer", "number"} else [1] if "boolean" in kinds(node) else []
        for value in wrong:
            with pytest.raises(pydantic.ValidationError) as caught:
                section.model_validate({name: value})
            assert any(one["loc"][:1] == (name,) for one in caught.value.errors()), (name, value)


def test_reading_a_file_needs_no_torch() -> None:
    heavy = "{'torch', 'wandb', 'pytorch_lightning'}"
    code = f"import sys, stackae.config_file; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
