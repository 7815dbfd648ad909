"""`stackae report`: a finished run's report, written again from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from stackae.config_file import load_config
from stackae.console import make_progress
from stackae.errors import ArtifactError


def report(run: Path, *, form: Literal["html", "md"], tsne: bool, store: Path) -> Path:
    """Write the report of a finished run anew, from the stages in the store, and return its path."""
    settings = load_config(run / "config.yaml")
    from stackae.data.read import read_source
    from stackae.plan import make_plan
    from stackae.report import write_report
    from stackae.stages.restore import restore
    from stackae.store import Store

    progress, plan = make_progress(quiet=False), make_plan(settings, read_source(settings.data))
    opened = Store(store, progress.warn)
    entries = {}
    for stage in [plan.data, *plan.stages]:
        entry = opened.open(stage.name, stage.key)
        if entry is None:
            raise ArtifactError(
                f"store '{store}': it does not have {stage.name} of this run; name the run's store, "
                f"or carry it out again: stackae run {run / 'config.yaml'} --out {run}"
            )
        entries[stage.name] = entry
    restore(plan.reported, plan, entries, opened, progress)
    return write_report(run, plan, entries, form=form, tsne=tsne)
