"""What the tests of configuration files share: they write a text to a file and read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackae.config import Config
from stackae.config_file import load_config
from stackae.errors import ConfigError

LAYERS = "layers: [{width: 5}, {width: 3}]\n"


def load(folder: Path, text: str | bytes, *overrides: str) -> Config:
    """The configuration in a file `x.yaml` that holds `text`."""
    path = folder / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path, overrides)


def faults(folder: Path, text: str | bytes, *overrides: str) -> list[str]:
    """The lines of the error that `text` gives, without the folder."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).split("\n")]
