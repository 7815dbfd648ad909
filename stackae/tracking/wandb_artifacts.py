"""What W&B keeps of a run beside its figures: data sets and models as artifacts, and tables and plots."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stackae.errors import ArtifactError, in_a_line
from stackae.tracking.predicted import Predicted

if TYPE_CHECKING:
    import wandb

TABLE_ROWS = 10_000
"""The most rows of a table of predictions; of more a sample is logged."""
BINS = 10
# More classes than that are more cells than W&B's own plot is good for.
MOST_CLASSES = 100
API_SECONDS = 10


def dataset_artifact(name: str, manifest: Mapping[str, Any]) -> wandb.Artifact:
    """Make the artifact of a data stage: its fingerprints, numbers of rows and schema, and no row."""
    import wandb

    metrics = dict(manifest.get("metrics", {}))
    content = {
        **{key: value for key, value in manifest.get("config", {}).items() if key in ("fingerprint", "seed")},
        "split": manifest.get("config", {}).get("rows"),
        "schema": metrics.pop("schema", None),
        "rows": {part: metrics[part] for part in ("train", "val", "test") if part in metrics},
        "key": manifest["key"],
    }
    artifact = wandb.Artifact(name, type="dataset", metadata={k: content[k] for k in ("rows", "key")})
    with artifact.new_file("manifest.json") as file:
        file.write(json.dumps(content, indent=1))
    return artifact


def model_artifact(
    name: str, folder: Path, figures: Mapping[str, float], parent: str | None
) -> wandb.Artifact:
    """Make the artifact of a finished model: weights, preprocessing and card, and its figures as metadata."""
    import wandb

    artifact = wandb.Artifact(name, type="model", metadata={**figures, "parent": parent})
    artifact.add_dir(str(folder), policy="mutable", skip_cache=True)
    return artifact


def is_best(run: wandb.Run, name: str, error: float | None) -> bool:
    """Tell whether no model of this name in the run's project validates better, as the server says."""
    import wandb

    if error is None:
        return False
    try:
        api = wandb.Api(timeout=API_SECONDS)
        best = api.artifact(f"{run.entity}/{run.project}/{name}:best", type="model").metadata
    except Exception as fault:
        # W&B has no error of its own for it. Where it is not known whether there is one, nothing is claimed.
        return "not found" in str(fault)
    return not error > best.get("val_error", np.inf)


def evidence(predicted: Predicted) -> dict[str, Any]:
    """Make the table of test predictions, and W&B's plots of confusion and calibration."""
    import wandb

    rows = np.arange(len(predicted.y))
    if len(rows) > TABLE_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(rows, TABLE_ROWS, replace=False))
    classes, confidence = predicted.classes, predicted.probabilities.max(1)
    guessed = predicted.probabilities.argmax(1)
    table = wandb.Table(
        columns=["row", "class", "predicted", "confidence", "right"],
        data=[
            [
                int(predicted.rows[row]),
                classes[predicted.y[row]],
                classes[guessed[row]],
                round(float(confidence[row]), 6),
                bool(guessed[row] == predicted.y[row]),
            ]
            for row in rows
        ],
    )
    found: dict[str, Any] = {"test_predictions": table}
    if len(classes) <= MOST_CLASSES:
        found["confusion"] = wandb.plot.confusion_matrix(
            y_true=predicted.y.tolist(),
            preds=guessed.tolist(),
            class_names=list(classes),
            title="Test rows by class and predicted class",
        )
    bins = wandb.Table(columns=["confidence", "accuracy", "rows"], data=calibration(predicted))
    found["calibration"] = wandb.plot.line(bins, "confidence", "accuracy", title="Accuracy by confidence")
    return found


def importance_plot(importance: Mapping[str, Any]) -> Any:
    """Make W&B's plot of what each column of a table is worth, the greatest first."""
    import wandb

    rows = [[each["column"], each["mean"], each["std"]] for each in importance["columns"]]
    table = wandb.Table(columns=["column", "fall of accuracy", "deviation"], data=rows)
    return wandb.plot.bar(table, "column", "fall of accuracy", title="What a column is worth")


def label_curve(errors: Mapping[str, Mapping[int, float]]) -> Any:
    """Make W&B's plot of each line's test error by number of labels."""
    import wandb

    return wandb.plot.line_series(
        xs=[[*line] for line in errors.values()],
        ys=[[*line.values()] for line in errors.values()],
        keys=[*errors],
        title="Test error by number of labels",
        xname="labels",
    )


def calibration(predicted: Predicted) -> list[list[float]]:
    """Return mean confidence, accuracy and number of the test rows in each of ten bins of confidence."""
    confidence = predicted.probabilities.max(1)
    right = predicted.probabilities.argmax(1) == predicted.y
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        [float(confidence[here].mean()), float(right[here].mean()), int(here.sum())]
        for here in (places == number for number in range(BINS))
        if here.any()
    ]


def download(name: str) -> Path:
    """Fetch a model that a run logged, `ENTITY/PROJECT/NAME:ALIAS`, into the cache; return its folder.

    ArtifactError where W&B does not give it.
    """
    import wandb
    from platformdirs import user_cache_path

    wandb.setup(wandb.Settings(silent=True))
    try:
        artifact = wandb.Api(timeout=API_SECONDS).artifact(name, type="model")
        short = hashlib.sha256(f"{artifact.qualified_name} {artifact.digest}".encode()).hexdigest()[:16]
        folder = user_cache_path("stackae") / "wandb" / short
        # W&B's files are checked by their digests, and those that are there already are not fetched again.
        artifact.download(root=str(folder), skip_cache=True)
    except Exception as fault:  # whatever of many kinds: no key, no such name, the network's
        raise ArtifactError(
            f"wandb:{name}: W&B did not give this model ({in_a_line(fault).rstrip('.')}); name it as "
            "wandb:ENTITY/PROJECT/NAME:ALIAS, and log in with 'wandb login'"
        ) from None
    return folder
