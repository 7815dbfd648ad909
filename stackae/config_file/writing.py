"""A configuration as YAML text, and its schema."""

from __future__ import annotations

import io
import sys
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from stackae.config import Config


def dump_config(config: Config) -> str:
    """Write a resolved configuration as block YAML, in the models' order; reading it gives an equal one."""
    plain = config.model_dump(mode="json", by_alias=True)
    plain["layers"] = [
        {key: value for key, value in layer.items() if value is not None} for layer in plain["layers"]
    ]
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = sys.maxsize
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = io.StringIO()
    yaml.dump(plain, stream)
    return stream.getvalue()


def schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, for editors, with the fields' docstrings."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Config.model_json_schema(),
        "title": "stackae configuration",
    }


class _Representer(SafeRepresenter):
    """Writes floats so that YAML 1.1 readers see numbers too, and quotes whatever does not print."""

    def represent_float(self, data: float) -> ScalarNode:
        text = repr(data)
        text = text if "." in text else text.replace("e", ".0e")
        return self.represent_scalar("tag:yaml.org,2002:float", text)

    def represent_str(self, data: str) -> ScalarNode:
        style = None if data.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(float, _Representer.represent_float)
_Representer.add_representer(str, _Representer.represent_str)
