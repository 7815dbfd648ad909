"""Every configuration survives being written, and the schema describes every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stackae.config import Config
from stackae.config_file import dump_config, load_config, schema


def values(node: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a JSON schema of ours allows, so that new settings are covered without a word here."""
    if "$ref" in node:
        return values(defs[node["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in node or "oneOf" in node:
        return st.one_of([values(one, defs) for one in node.get("anyOf", node.get("oneOf"))])
    if "const" in node or "enum" in node:
        return st.sampled_from(node.get("enum") or [node.get("const")])
    low = node.get("minimum", node.get("exclusiveMinimum"))
    high = node.get("maximum", node.get("exclusiveMaximum"))
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
        case "string" if "maxLength" in node:
            return st.text(min_size=node["minLength"], max_size=node["maxLength"])
        case "string":
            tricky = st.sampled_from(
                ["yes", "null", "~", "1e3", "0x1", "2020-01-02", "=", "<<", "- a", "a: b", "# c"]
            )
            return tricky | st.text(
                st.characters(exclude_categories=["Cs"]), min_size=node.get("minLength", 0)
            )
        case "array" if "prefixItems" in node:
            return st.tuples(*(values(one, defs) for one in node["prefixItems"])).map(list)
        case "object" if "properties" not in node:
            return st.dictionaries(st.text(), values(node["additionalProperties"], defs), max_size=3)
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


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("configs") / "x.yaml"


RAW = values(schema(), schema()["$defs"])


@settings(max_examples=40, deadline=None)
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


MIX = {"type": "mix", "parts": [{"probability": 0.5, "corruption": {"type": "swap"}}] * 2}


@pytest.mark.parametrize(
    "layer",
    [
        {"kind": "sparse", "penalties": [{"type": "kl", "average": "running"}, {"type": "l1"}]},
        {"kind": "k_sparse", "k": 2},
        {"kind": "contractive", "penalties": [{"type": "contractive", "lambda": 0.5}]},
        {"kind": "variational", "penalties": [{"type": "gaussian_kl", "warmup": 1.5}], "connectivity": 0.5},
        {"kind": "rbm", "gibbs_steps": 3, "persistent": True},
        {
            "unit": "conv",
            "kernel": 5,
            "stride": 2,
            "padding": 0,
            "pool": 2,
            "corruption": MIX,
            "emphasis": {},
        },
    ],
    ids=lambda layer: layer.get("kind", "conv"),
)
def test_every_kind_of_layer_reads_back_equal(path: Path, layer: dict[str, Any]) -> None:
    # Layers that hold together are rare among random ones.
    config = Config.model_validate({"name": "x", "layers": [{"width": 5} | layer]})
    path.write_text(dump_config(config))
    assert load_config(path) == config
    for name, value in layer.items():
        assert f"{name}: " in path.read_text() or f"{name}:\n" in path.read_text(), (name, value)


def test_the_written_form_is_tidy() -> None:
    layer = {"width": 5, "lr": 1e-5, "corruption": {"type": "masking"}}
    text = dump_config(Config.model_validate({"name": "a", "layers": [layer], "finetune": None}))
    assert text.startswith("name: a\nseed: 0\nrepeat: 0\nrepeats: 1\ndata:\n  source: digits\n  test: null\n")
    assert "  - kind: denoising\n    unit: dense\n    width: 5\n" in text
    assert "    lr: 1.0e-05\n" in text
    assert "\nfinetune: null\n" in text
    layers = text[text.index("layers:") : text.index("pretrain:")]
    assert "null" not in layers
    assert "{" not in text.replace(" {}\n", "")


def test_the_schema_describes_a_file() -> None:
    found = schema()
    assert found["$schema"].startswith("https://json-schema.org/")
    assert found["title"] == "stackae configuration"
    assert found["required"] == ["layers"]
    assert found["additionalProperties"] is False
    assert "width" in found["$defs"]["LayerConfig"]["required"]
    json.dumps(found)
