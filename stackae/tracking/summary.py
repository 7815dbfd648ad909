"""The figures of a run that line up in a table of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def headline(results: Mapping[str, Any]) -> dict[str, float]:
    """The figures of `results.json`, under names without levels."""
    found: dict[str, float] = {}
    for part, name in (("classifier", ""), ("scratch", "scratch_")):
        if results[part]:
            found[f"{name}val_error"] = 1.0 - results[part]["val"]["accuracy"]
            found |= {
                f"{name}test_{key}": results[part]["test"][key] for key in ("error", "macro_f1", "nll", "ece")
            }
    if results["verdict"]:
        low, high = results["verdict"]["ci95"]
        found |= {
            "gain": results["verdict"]["gain"],
            "gain_low": low,
            "gain_high": high,
            "p": results["verdict"]["p"],
        }
    found |= {f"probe_{at['depth']}_test_error": 1.0 - at["test"]["accuracy"] for at in results["probe"]}
    found["reconstruction_mse"] = results["reconstruction"]["test"]["mse"]
    found["labelled"] = results["data"]["labelled"]
    found["seconds"] = sum(stage["seconds"] or 0.0 for stage in results["stages"])
    found["stages_reused"] = sum(stage["reused"] for stage in results["stages"])
    return found
