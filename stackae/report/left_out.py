"""Which baselines a run has left out, in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stackae.plan.baselines import ORDER, TOO_LONG


def left_out_line(left_out: Sequence[Mapping[str, Any]]) -> str:
    """Say which baselines were left out and why, those of one reason together; empty where there are none."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for each in left_out:
        name = each["name"].replace("_", " ")
        by_reason.setdefault(each["why"], {}).setdefault(each["on"], []).append(name)
    parts = [f"{_listed(places)} ({why})" for why, places in by_reason.items()]
    if not parts:
        return ""
    remedy = " Those that compare.baselines lists are fitted to the columns all the same."
    return f"Baselines left out: {'; '.join(parts)}." + remedy * ("columns" in by_reason.get(TOO_LONG, {}))


def _listed(places: Mapping[str, Sequence[str]]) -> str:
    # Labels spread on columns alone, and not in every run.
    supervised = {name.replace("_", " ") for name in ORDER if name != "label_spreading"}
    if len(places) == 2 and all(supervised <= set(names) for names in places.values()):
        return "all of them"
    return "; ".join(f"on the {on} {', '.join(names)}" for on, names in places.items())
