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
from stackae.model import EXPORTED_WEIGHTS, load
from stackae.report.card import card, front_matter
from stackae.weights import save_weights


def write_folder(run: Path, out: Path) -> None:
    """Write weights, architecture, preprocessing and model card to a new folder, whole or not at all.

    Raises `DataError` where `out` is there already or cannot be made, `ArtifactError` where the run is
    not whole.
    """
    if out.exists():
        raise DataError(f"{out}: is there already; name a new folder, or remove it")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK | os.X_OK):
        raise DataError(f"{out}: there is no folder '{out.parent}' to write to; make it, or name another")
    if (run / EXPORTED_WEIGHTS).is_file():
        raise ArtifactError(f"{run}: was exported already; copy it, or name the folder of its run")
    model = load(run)
    networks: dict[str, nn.Module] = {"encoder.": model.encoder, "decoder.": model.decoder}
    if model.classifier is not None:
        networks["classifier."] = model.classifier
    folder = run / "model"
    description, results = _read(folder / "config.json"), _read(run / "results.json")
    config = load_config(run / "config.yaml")
    description["classifier"] = model.classifier is not None
    part = out.with_name(f"{out.name}.part")
    # What an export that was killed has left there.
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        save_weights(part / EXPORTED_WEIGHTS, networks, {"format": "pt"})
        (part / "config.json").write_text(json.dumps(description, indent=1) + "\n")
        if (folder / FITTED).exists():
            shutil.copyfile(folder / FITTED, part / FITTED)
        text = front_matter(config, results) + card(config, results, description, out.name)
        (part / "README.md").write_text(text, encoding="utf-8")
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as fault:
        raise ArtifactError(
            f"{path}: damaged or missing ({type(fault).__name__}); run the config again"
        ) from None
    return fields
