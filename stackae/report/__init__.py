"""A run's report: figures, the page, the verdict. Drawing is imported late, as it takes its time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from stackae.machine.disk import write_atomically
from stackae.plan import Plan
from stackae.store import Entry
from stackae.version import VERSION

PAGE = "report.html"


def write_report(
    run: Path,
    plan: Plan,
    entries: Mapping[str, Entry],
    *,
    form: Literal["html", "md"] = "html",
    tsne: bool = False,
) -> Path:
    """Write a finished run's `report.html`, or `report.md` with figures beside it; return its path."""
    from stackae.model import load
    from stackae.report.page import build_report, to_html, to_markdown
    from stackae.report.report_data import gather

    results = json.loads((run / "results.json").read_text())
    facts = gather(plan, entries, load(run), results)
    report = build_report(facts, shows=_digest(results, entries), tsne=tsne)
    if form == "html":
        write_atomically(run / PAGE, to_html(report))
        return run / PAGE
    path = run / "report.md"
    write_atomically(path, to_markdown(report, run / "report"))
    return path


def is_drawn(run: Path, entries: Mapping[str, Entry]) -> bool:
    """Tell whether a run's folder, which has its results, has a page that shows these very stages."""
    page, results = run / PAGE, json.loads((run / "results.json").read_text())
    return page.is_file() and _digest(results, entries) in page.read_text(errors="replace")[:2000]


def _digest(results: Mapping[str, Any], entries: Mapping[str, Entry]) -> str:
    """Digest what a page shows, in the words of this version: the stages' keys, and what none covers."""
    others = (stage["key"] for each in results.get("repetitions", ()) for stage in each["stages"])
    keys = [
        VERSION,
        json.dumps(results.get("calibration")),
        *(entry.key for entry in entries.values()),
        *others,
    ]
    return hashlib.sha256(" ".join(keys).encode()).hexdigest()
