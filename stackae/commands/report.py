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
