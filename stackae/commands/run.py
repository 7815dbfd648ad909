"""Starts a run: what a config file, a run folder and a store folder become before the main path."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from stackae.config import Config
from stackae.config_file import load_config
from stackae.console import make_progress, show_checked, show_collected, show_plan, show_results
from stackae.errors import ArtifactError, ConfigError, DataError

if TYPE_CHECKING:
    from stackae.data.rows import Raw
    from stackae.progress import Progress
    from stackae.results import Results

# Two busy processes on the same cores make idle OpenMP threads spin, ten times slower; OpenMP reads
# this when torch is first imported, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def launch(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None,
    store: str | Path,
    fresh: bool,
    quiet: bool,
    show: bool = True,
) -> Results:
    """Reads the config, opens store and tracker, carries the run out, and shows its results.

    `quiet` silences progress and results, `show=False` the results alone.
    """
    settings = load_config(config, overrides)
    folder = run_folder(settings, out)
    results = carry_out(settings, folder, Path(store), make_progress(quiet=quiet), fresh=fresh)
    if show and not quiet:
        show_results(results, folder)
    return results


def carry_out(
    settings: Config, out: Path, store: Path, progress: Progress, *, fresh: bool = False
) -> Results:
    """Carries out a config that was read, with the tracker it asks for; shows nothing but progress."""
    check_folder("out", out)
    check_folder("store", store)
    from stackae.pipeline import run
    from stackae.store import Store
    from stackae.tracking.tracker import make_tracker

    tracking = settings.tracking
    tracker = make_tracker(
        tracking.wandb,
        project=tracking.project,
        entity=tracking.entity,
        group=settings.name,
        folder=out,
        warn=progress.warn,
        tags=tracking.tags,
        notes=tracking.notes,
    )
    return run(settings, Store(store, progress.warn), tracker, progress, out=out, fresh=fresh)


def preview(config: str | Path, overrides: Sequence[str], *, store: str | Path) -> None:
    """Shows what a run would do and what it would find done."""
    settings = load_config(config, overrides)
    check_folder("store", Path(store))
    from stackae.data.read import read_source
    from stackae.plan import make_plan
    from stackae.store import Store

    plan = make_plan(settings, read_source(settings.data))
    show_plan(plan, Store(Path(store), make_progress(quiet=False).warn))


def verify(store: Path) -> bool:
    """Checks every file of a store and shows what was found; whether all that is finished is sound."""
    _check_store(store)
    from stackae.store import housekeeping

    return show_checked(store, housekeeping.verify(store))


def collect(store: Path, keep_runs: Sequence[Path] | None, *, dry_run: bool) -> None:
    """Removes features from a store, and with `keep_runs` the stages that none of these runs needs."""
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
    """The names and keys of a finished run's stages."""
    try:
        stages = json.loads((run / "results.json").read_text())["stages"]
        return [(stage["stage"], stage["key"]) for stage in stages]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"--keep-runs '{run}': no results of a run are there; name the folder of a finished run"
        ) from None


def report_again(run: Path, *, form: Literal["html", "md"], tsne: bool, store: Path) -> Path:
    """Writes the report of a finished run anew, from the stages in the store, and returns its path."""
    settings = load_config(run / "config.yaml")
    from stackae.data.read import read_source
    from stackae.plan import make_plan
    from stackae.report import write_report
    from stackae.stages.restore import REPORT, restore
    from stackae.store import Store

    source, progress = read_source(settings.data), make_progress(quiet=False)
    plan = make_plan(settings, source)
    opened = Store(store, progress.warn)
    entries = {}
    for planned in [plan.data, *plan.stages]:
        entry = opened.open(planned.name, planned.key)
        if entry is None:
            raise ArtifactError(
                f"store '{store}': it does not have {planned.name} of this run; name the run's store, "
                f"or carry it out again: stackae run {run / 'config.yaml'} --out {run}"
            )
        entries[planned.name] = entry
    restore(REPORT, plan, source, entries, opened, progress)
    return write_report(run, plan, entries, form=form, tsne=tsne)


def upload_logs(run: Path) -> int:
    """Uploads what a run logged offline, and returns how many W&B runs there were."""
    if not run.is_dir():
        raise ArtifactError(f"{run}: there is no such folder; name the folder of a run")
    from stackae.tracking.wandb import upload

    return upload(run / "wandb")


def generate(run: Path, out: Path, *, n: int, seed: int, between: tuple[int, int] | None) -> None:
    """Writes rows drawn from a run's prior, or decoded on the way from one test row's code to another's."""
    from stackae.model import load
    from stackae.outputs import check_examples, write_examples

    model = load(run)
    check_examples(out, model.shape)
    rows = model.sample(n, seed) if between is None else model.interpolate(_test_rows(run, between), n)
    write_examples(out, rows, scale=model.scale, columns=None if between is None else n)


def _test_rows(run: Path, numbers: Sequence[int]) -> Raw:
    """Rows of a run's test part, by their numbers from 0."""
    from stackae.data.read import read_source
    from stackae.data.splits import make_split

    config = load_config(run / "config.yaml")
    source = read_source(config.data)
    test = make_split(source, config.data, config.seed).test
    if not all(0 <= number < len(test) for number in numbers):
        raise DataError(f"--between {' '.join(map(str, numbers))}: the test rows are 0 to {len(test) - 1:,}")
    # Each by itself: two may be the same one, or the later one first.
    taken = [source.all.take(test[[number]]) for number in numbers]
    if isinstance(taken[0], np.ndarray):
        return np.concatenate(taken)
    import pandas as pd

    return pd.concat(taken)


def run_folder(settings: Config, out: str | Path | None) -> Path:
    """The folder of a run: the one asked for, else `runs/<name>`."""
    return Path(out) if out is not None else Path("runs") / settings.name


def check_folder(option: str, folder: Path) -> None:
    """ConfigError where `folder` is none, or neither is nor can be made writable; makes nothing.

    Checked at the start, so that no run trains for hours and then has nowhere to put its results.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))
    if not there.is_dir():
        raise ConfigError(f"{option} '{folder}': '{there}' is a file; name a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} '{folder}': '{there}' is not writable; name another folder")
