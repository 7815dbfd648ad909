"""What the results of a run say over all its repetitions; one repetition is told as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]
"""The content of `results.json`, or a part of it."""


def every_stage(results: Results) -> list[Results]:
    """List the stages of a run, those of all its repetitions, each once."""
    # The first repetition's are the run's own.
    others = results.get("repetitions", ())[1:]
    return [*results["stages"], *(stage for each in others for stage in each["stages"])]


def averaged(results: Results) -> Results:
    """Return results whose figures of networks, blend and baselines are means over the repetitions.

    Of a repetition without a blend, what its network alone predicts counts. A baseline that not all
    repetitions have has no mean.
    """
    repetitions = results.get("repetitions", ())
    if not repetitions:
        return results
    return {
        **results,
        "classifier": _mean([each["classifier"] for each in repetitions]),
        "scratch": _mean([each["scratch"] for each in repetitions]),
        # Results of earlier versions have none.
        "labels_alone": _mean([each.get("labels_alone") for each in repetitions]),
        "blend": _blend(repetitions),
        "baselines": list(_baselines(results["baselines"], repetitions)),
    }


def figures(part: Results | None) -> dict[str, Any] | None:
    """Return the plain numbers of what was judged on validation and test rows."""
    if part is None:
        return None
    return {split: _plain(part[split]) for split in ("val", "test")}


def _plain(found: Results | None) -> dict[str, float] | None:
    if found is None:
        return None
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _mean(parts: Sequence[Results | None]) -> dict[str, Any] | None:
    there = [part for part in parts if part is not None]
    if len(there) < len(parts):
        return None
    return {split: _mean_figures([part[split] for part in there]) for split in ("val", "test")}


def _mean_figures(parts: Sequence[Results | None]) -> dict[str, float] | None:
    there = [part for part in parts if part is not None]
    if len(there) < len(parts):
        return None
    return {name: sum(part[name] for part in there) / len(there) for name in there[0]}


def _blend(repetitions: Sequence[Results]) -> dict[str, Any] | None:
    names = sorted({each["blend"]["with"] for each in repetitions if each["blend"]})
    if not names:
        return None
    mean = _mean([each["blend"] or each["classifier"] for each in repetitions])
    return {"with": " or ".join(names), "partners": [], **(mean or {})}


def _baselines(first: Sequence[Results], repetitions: Sequence[Results]) -> Iterator[dict[str, Any]]:
    for one in first:
        same = [of_baseline(each, one["name"], one["on"]) for each in repetitions]
        if mean := _mean(same):
            yield {"name": one["name"], "on": one["on"], "strength": {}, **mean}


def of_baseline(repetition: Results, name: str, on: str) -> Results | None:
    """Find a baseline among those of a repetition."""
    return next((each for each in repetition["baselines"] if (each["name"], each["on"]) == (name, on)), None)
