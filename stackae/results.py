"""The results of a run: what `results.json` and the folder of a run hold, in stable formats."""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.special import softmax

from stackae.config_file import dump_config
from stackae.data.features import read_array
from stackae.data.label_use import NO_LABELS
from stackae.data.tables.columns import with_names
from stackae.machine.disk import write_atomically
from stackae.model import reading_of, save
from stackae.plan import Plan, stacked
from stackae.repetitions import figures
from stackae.report.card import card
from stackae.stages.calibration import calibrate
from stackae.stages.finished import load_classifier, load_units
from stackae.stages.judged import Outcome, Repetition, draw_verdict
from stackae.store import Entry
from stackae.tracking.predicted import Predicted

FORMAT = 1


@dataclass(frozen=True)
class Results:
    """The results of a run; the fields are those of `docs/results.md`."""

    name: str
    seed: int
    data: Mapping[str, int]
    stages: Sequence[Mapping[str, Any]]
    probe: Sequence[Mapping[str, Any]]
    classifier: Mapping[str, Any] | None
    scratch: Mapping[str, Any] | None
    labels_alone: Mapping[str, Any] | None
    baselines: Sequence[Mapping[str, Any]]
    baselines_left_out: Sequence[Mapping[str, Any]]
    blend: Mapping[str, Any] | None
    calibration: Mapping[str, Any] | None
    importance: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None
    reconstruction: Mapping[str, Any]
    environment: Mapping[str, str]
    remarks: Sequence[str] = ()
    repetitions: Sequence[Mapping[str, Any]] = ()
    format: int = field(default=FORMAT)

    @property
    def temperature(self) -> float:
        """By what the model divides its logits."""
        return 1.0 if self.calibration is None else float(self.calibration["temperature"])

    def write(self, path: Path) -> None:
        """Write the results as JSON, whole or not at all."""
        write_atomically(path, self.json())

    def json(self) -> str:
        """Return the content of `results.json`."""
        return json.dumps({"format": self.format} | asdict(self), indent=1, allow_nan=False) + "\n"


def assemble_results(repetitions: Sequence[Repetition]) -> Results:
    """Assemble the results from the finished stages' metrics, and draw the verdict.

    All figures but the verdict are those of the first repetition, whose model the run keeps.
    """
    plan, outcomes, entries = repetitions[0].plan, repetitions[0].outcomes, repetitions[0].entries
    deepest = entries[plan.top.name].metrics
    calibration = calibrate(plan, entries)
    return Results(
        name=plan.config.name,
        seed=plan.config.seed,
        data={
            "train": len(plan.split.train),
            **(plan.labels or NO_LABELS).counts,
            "val": len(plan.split.val),
            "test": len(plan.split.test),
            "features": int(np.prod(plan.layers[0].shape)),
            "classes": len(plan.classes),
        },
        stages=[_stage_result(outcome) for outcome in outcomes if outcome.stage != plan.data],
        probe=entries["probe"].metrics["depths"] if "probe" in entries else [],
        classifier=_split_metrics(entries.get("finetune")),
        scratch=_split_metrics(entries.get("scratch")),
        labels_alone=_split_metrics(entries.get("labels-alone")),
        baselines=_baselines(entries),
        baselines_left_out=[
            {"name": each.name, "on": each.on, "why": why} for each, why in plan.labelled.chosen.left_out
        ],
        blend=_blend(entries.get("blend")),
        calibration=None if calibration is None else asdict(calibration),
        importance=_importance(plan, entries.get("importance")),
        verdict=draw_verdict(repetitions),
        reconstruction={"test": {"mse": deepest["test_mse"], "sse_per_row": deepest["test_sse_per_row"]}},
        environment=_environment(plan),
        remarks=plan.remarks,
        repetitions=_repetitions(repetitions),
    )


def write_run(out: Path, plan: Plan, entries: dict[str, Entry], results: Results) -> None:
    """Write the run's folder: the resolved config, the model with its card, and last the results."""
    out.mkdir(parents=True, exist_ok=True)
    # What a run needs to read other rows must not lie in a file elsewhere.
    self_contained = plan.config.model_copy(update={"data": with_names(plan.config.data)})
    (out / "config.yaml").write_text(dump_config(self_contained))
    encoder, decoder = stacked(plan.layers, load_units(plan, entries))
    classifier = load_classifier(plan, entries) if plan.labelled.finetune else None
    save(
        out / "model",
        [layer.settled for layer in plan.layers],
        encoder,
        decoder,
        classifier,
        preprocessing=plan.preprocessing,
        classes=plan.classes,
        novelty=entries[plan.top.name].metrics["novelty"],
        reading=reading_of(self_contained.data, table=plan.source.columns is not None),
        temperature=results.temperature,
        untied=plan.unroll is not None and plan.config.unroll.untie,
    )
    model_config = json.loads((out / "model" / "config.json").read_text())
    model_card = card(plan.config, asdict(results), model_config, f"runs/{plan.config.name}")
    (out / "model" / "README.md").write_text(model_card, encoding="utf-8")
    write_evidence(out, plan, entries)
    results.write(out / "results.json")


def write_evidence(folder: Path, plan: Plan, entries: Mapping[str, Entry]) -> None:
    """Write the files that runs are compared by: `metrics/<stage>.csv` and `test-predictions.csv`.

    The former has a row per epoch. The latter has a row per test row: its number in the source, from 0, its
    class, and the classes that the pretrained network, the one from scratch and the blend predict; what the
    run has not has no column.
    """
    (folder / "metrics").mkdir(exist_ok=True)
    for name, entry in entries.items():
        if "metrics.csv" in entry.manifest["files"]:
            (folder / "metrics" / f"{name}.csv").write_bytes(entry.file("metrics.csv").read_bytes())
    if plan.classes:
        names = np.array([*plan.classes, ""])
        columns = {
            "row": plan.split.test,
            "class": names[read_array(entries["data"].file("labels-test.npy"))],
        }
        for title, stage in (("pretrained", "finetune"), ("scratch", "scratch"), ("blended", "blend")):
            # A blend that is no better than the network alone has no files.
            if stage in entries and "logits-test.npy" in entries[stage].manifest["files"]:
                columns[title] = names[read_array(entries[stage].file("logits-test.npy")).argmax(1)]
        with (folder / "test-predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))


def predict_test_rows(plan: Plan, entries: Mapping[str, Entry], temperature: float) -> Predicted | None:
    """Return what the run's model predicts for the test rows; None where it trained no classifier.

    `temperature` is by what it divides its logits.
    """
    if "finetune" not in entries:
        return None
    blended = "blend" in entries and "logits-test.npy" in entries["blend"].manifest["files"]
    logits = read_array(entries["blend" if blended else "finetune"].file("logits-test.npy"))
    y = read_array(entries["data"].file("labels-test.npy"))
    return Predicted(
        plan.split.test, y, plan.classes, softmax(logits.astype(np.float64) / temperature, axis=1)
    )


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of Python and of the packages that a manifest and the results name."""
    from importlib.metadata import version

    packages = {name: version(name) for name in ("stackae", "torch", "pytorch-lightning", "numpy")}
    return MappingProxyType(packages | {"python": platform.python_version()})


def _repetitions(repetitions: Sequence[Repetition]) -> list[dict[str, Any]]:
    """Say of each of several repetitions what it gained by itself; nothing where there is one."""
    if len(repetitions) == 1:
        return []
    found = []
    for each in repetitions:
        entries, alone = each.entries, draw_verdict([each]) or {}
        blend = _blend(entries.get("blend"))
        found.append(
            {"repeat": each.plan.config.repeat}
            | {name: alone.get(name) for name in ("gain", "ci95", "p")}
            | {
                "classifier": figures(_split_metrics(entries.get("finetune"))),
                "scratch": figures(_split_metrics(entries.get("scratch"))),
                "labels_alone": figures(_split_metrics(entries.get("labels-alone"))),
                "blend": blend and {"with": blend["with"], **(figures(blend) or {})},
                "baselines": [
                    {"name": fitted["name"], "on": fitted["on"], **(figures(fitted) or {})}
                    for fitted in _baselines(entries)
                ],
                "probe": entries["probe"].metrics["depths"] if "probe" in entries else [],
                "stages": [
                    {name: value for name, value in _stage_result(outcome).items() if name != "metrics"}
                    for outcome in each.outcomes
                    if outcome.stage in each.plan.labelled.in_order
                ],
            }
        )
    return found


def _baselines(entries: Mapping[str, Entry]) -> list[dict[str, Any]]:
    stages = [entries[name] for name in ("baselines", "baselines-codes") if name in entries]
    return [each for stage in stages for each in stage.metrics["baselines"]]


def _stage_result(outcome: Outcome) -> dict[str, Any]:
    metrics = outcome.entry.metrics
    seconds, epochs = metrics.pop("seconds", None), metrics.pop("epochs", None)
    return {
        "stage": outcome.stage.name,
        "key": outcome.stage.key,
        "reused": outcome.reused,
        "seconds": seconds,
        "epochs": epochs,
        "metrics": {name: value for name, value in metrics.items() if isinstance(value, int | float)},
    }


def _blend(entry: Entry | None) -> dict[str, Any] | None:
    """Return what the model's classifier is averaged with, in which shares, and the figures of the mean."""
    if entry is None or entry.metrics["with"] is None:
        return None
    return {name: entry.metrics[name] for name in ("with", "partners", "val", "test")}


def _importance(plan: Plan, entry: Entry | None) -> dict[str, Any] | None:
    """Return what each column of a table is worth, or why it was not measured; None where nothing is."""
    if entry is not None:
        return {**entry.metrics["importance"], "left_out": None}
    why = plan.labelled.importance_left_out
    return None if why is None else {"rows": 0, "unseen": False, "columns": [], "left_out": why}


def _split_metrics(entry: Entry | None) -> dict[str, Any] | None:
    return None if entry is None else {split: entry.metrics.get(split) for split in ("val", "test")}


def _environment(plan: Plan) -> dict[str, str]:
    import torch

    device = torch.cuda.get_device_name() if plan.hardware.accelerator == "gpu" else platform.machine()
    return dict(versions()) | {
        "device": f"{plan.hardware.accelerator} ({device})",
        "precision": plan.hardware.precision,
        "threads": str(torch.get_num_threads()),
        "system": platform.system(),
    }
