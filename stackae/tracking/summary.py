"""The figures of a run that line up in a table of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stackae.repetitions import averaged, every_stage


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return a stage's metrics that are numbers, those of a part as `test_accuracy`."""
    figures: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, int | float):
            figures[name] = value
        elif isinstance(value, Mapping):
            figures |= {f"{name}_{key}": number for key, number in figures_of(value).items()}
    return figures


def headline(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of `results.json`, under names without levels; means over the repetitions."""
    stages = every_stage(results)
    results = averaged(results)
    figures: dict[str, float] = {}
    for part, name in (("classifier", ""), ("scratch", "scratch_"), ("labels_alone", "labels_alone_")):
        if results.get(part):
            if results[part]["val"]:
                figures[f"{name}val_error"] = 1.0 - results[part]["val"]["accuracy"]
            figures |= {
                f"{name}test_{key}": results[part]["test"][key] for key in ("error", "macro_f1", "nll", "ece")
            }
    if results["blend"]:
        figures["blend_test_error"] = results["blend"]["test"]["error"]
    for each in results["baselines"]:
        called = each["name"] + ("" if each["on"] == "columns" else "_codes")
        figures[f"{called}_test_error"] = each["test"]["error"]
        if each["val"]:
            figures[f"{called}_val_error"] = 1.0 - each["val"]["accuracy"]
    if results["verdict"] and results["verdict"]["baseline"]:
        best = results["verdict"]["baseline"]
        figures["baseline_val_error"] = 1.0 - best["val"]["baseline"]
        figures["baseline_test_error"] = 1.0 - best["test"]["baseline"]
    if results["verdict"] and results["verdict"]["gain"] is not None:
        low, high = results["verdict"]["ci95"]
        figures |= {
            "gain": results["verdict"]["gain"],
            "gain_low": low,
            "gain_high": high,
            "p": results["verdict"]["p"],
        }
    figures |= {
        f"probe_{depth['depth']}_test_error": 1.0 - depth["test"]["accuracy"] for depth in results["probe"]
    }
    figures["reconstruction_mse"] = results["reconstruction"]["test"]["mse"]
    figures["labelled"] = results["data"]["labelled"]
    figures["seconds"] = sum(stage["seconds"] or 0.0 for stage in stages)
    figures["stages_reused"] = sum(stage["reused"] for stage in stages)
    return figures
