"""`stackae verify` and `stackae gc`: looking after a store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stackae.console import make_console
from stackae.errors import ConfigError
from stackae.machine.disk import readable
from stackae.repetitions import every_stage

if TYPE_CHECKING:
    from stackae.store.housekeeping import Checked, LeftAlone, Removal


def verify(store: Path) -> bool:
    """Check every file of a store, show the results, and return whether all that is finished is sound."""
    _check_store(store)
    from stackae.store import housekeeping

    return show_checked(store, housekeeping.check_stages(store))


def gc(store: Path, keep_runs: Sequence[Path] | None, *, dry_run: bool) -> None:
    """Remove features from a store, and with `keep_runs` the stages that none of these runs needs."""
    _check_store(store)
    from stackae.store import housekeeping

    keep = None
    if keep_runs is not None:
        keep = housekeeping.needed(store, {stage for run in keep_runs for stage in _stages_of(run)})
    show_collected(housekeeping.collect(store, keep, dry_run=dry_run), dry_run=dry_run)


def _check_store(store: Path) -> None:
    if not store.is_dir():
        raise ConfigError(f"store '{store}': there is no such folder; name one with --store")


def _stages_of(run: Path) -> list[tuple[str, str]]:
    """Return the names and keys of a finished run's stages."""
    try:
        stages = every_stage(json.loads((run / "results.json").read_text()))
        return [(stage["stage"], stage["key"]) for stage in stages]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"--keep-runs '{run}': no results of a run are there; name the folder of a finished run"
        ) from None


def show_checked(root: Path, stages: Iterable[Checked]) -> bool:
    """Print a line for each stage that was checked, and one for all; return whether all are sound."""
    console, counts, total = make_console(), dict.fromkeys(("ok", "damaged", "not finished"), 0), 0
    for stage in stages:
        verdict = "damaged" if stage.damage else "ok" if stage.finished else "not finished"
        counts[verdict], total = counts[verdict] + 1, total + stage.size
        detail = f"{verdict}: {stage.damage}" if stage.damage else verdict
        line = ", ".join(filter(None, (f"{stage.folder.name}: {detail}", readable(stage.size), stage.remark)))
        console.print(line, markup=False, soft_wrap=True)
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    remedy = "; a run that needs a damaged stage does it again" if counts["damaged"] else ""
    summary = f"{tally}, {readable(total)} in '{root}'{remedy}" if tally else f"no stages in '{root}'"
    console.print(summary, markup=False, soft_wrap=True)
    return not counts["damaged"]


def show_collected(steps: Iterable[Removal | LeftAlone], *, dry_run: bool) -> None:
    """Print a line for each removal, and for each stage that was left alone, and how much is freed."""
    from stackae.store.housekeeping import Removal

    console, freed = make_console(), 0
    for step in steps:
        if isinstance(step, Removal):
            freed += step.size
            done = "would remove" if dry_run else "removed"
            line = f"{done} {step.path}, {readable(step.size)}"
        else:
            line = f"left alone {step.folder}: {step.reason}"
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"{readable(freed)} {'would be freed' if dry_run else 'freed'}", markup=False)
