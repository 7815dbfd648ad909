"""A run's model as a folder in the layout of the Hugging Face Hub, which `stackae.load` reads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from stackae.config_file import load_config
from stackae.data.preprocessing.sklearn_file import FITTED
from stackae.errors import ArtifactError, DataError
from stackae.model import TOGETHER, load
from stackae.report.card import card, front_matter
from stackae.weights import save_weights


def write_folder(run: Path, out: Path) -> None:
    """Writes weights, architecture, preprocessing and model card to a new folder, whole or not at all.

    Raises `DataError` where `out` is there already or cannot be made, `ArtifactError` where the run is
    not whole.
    """
    if out.exists():
        raise DataError(f"{out}: is there already; name a new folder, or remove it")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise DataError(f"{out}: there is no folder '{out.parent}' to write to; make it, or name another")
    if (run / TOGETHER).is_file():
        raise ArtifactError(f"{run}: was exported already; copy it, or name the folder of its run")
    loaded = load(run)
    networks: dict[str, nn.Module] = {"encoder.": loaded.encoder, "decoder.": loaded.decoder}
    if loaded.classifier is not None:
        networks["classifier."] = loaded.classifier
    model = run / "model"
    described, results = _read(model / "config.json"), _read(run / "results.json")
    config = load_config(run / "config.yaml")
    described["classifier"] = loaded.classifier is not None
    made = out.with_name(f"{out.name}.part")
    # What an export that was killed has left there.
    shutil.rmtree(made, ignore_errors=True)
    try:
        made.mkdir()
        save_weights(made / TOGETHER, networks, {"format": "pt"})
        (made / "config.json").write_text(json.dumps(described, indent=1) + "\n")
        if (model / FITTED).exists():
            shutil.copyfile(model / FITTED, made / FITTED)
        text = front_matter(config, results) + card(config, results, described, out.name)
        (made / "README.md").write_text(text, encoding="utf-8")
        made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as fault:
        raise ArtifactError(
            f"{path}: damaged or missing ({type(fault).__name__}); run the config again"
        ) from None
    return found
