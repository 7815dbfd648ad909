"""`stackae curve`: the same pretraining fine-tuned with more and more labels, beside its controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from stackae.commands.run import Jobs, refuse_devices, run_config, working
from stackae.config import Config
from stackae.config_file import load_config
from stackae.console import make_progress, show_lines, show_table
from stackae.errors import ConfigError
from stackae.machine.disk import check_folder, write_atomically
from stackae.machine.processes import prepare
from stackae.progress import Progress
from stackae.report.label_curve import (
    CODES,
    LabelCurve,
    Point,
    baseline_headings,
    baseline_table,
    chart,
    headings,
    mean_errors,
    table,
    worth,
    write_csv,
)
from stackae.tracking.tracker import open_tracker

if TYPE_CHECKING:
    from stackae.jobs import Crew


def curve(
    config: Path,
    overrides: Sequence[str],
    labels: str,
    repeats: int,
    *,
    out: Path | None,
    store: Path,
    quiet: bool,
    jobs: Jobs = 1,
) -> LabelCurve:
    """Carry out a config per number of labels and repetition; write and show curve.csv and curve.svg.

    All share the rows and the pretraining through the store, and what is done is not done again. What need
    not wait for each other is carried out by so many `jobs` side by side. `labels` are
    numbers, separated by commas. ConfigError where it holds none, or the config leaves out what is compared.
    """
    settings = load_config(config, overrides)
    refuse_devices(settings, "curve")
    counts = _counts(labels)
    if settings.finetune is None or not (settings.compare.scratch and settings.compare.probe):
        raise ConfigError(
            f"{config}: a curve compares the fine-tuned network with scratch and a linear probe; "
            "set finetune, compare.scratch: true and compare.probe: true"
        )
    prepare(jobs)
    folder = out or Path("runs") / f"{settings.name}-curve"
    check_folder("out", folder)
    progress = make_progress(quiet=quiet)
    configs = [_config(settings, count, repeat) for count, repeat in product(counts, range(repeats))]
    with working(jobs, store, progress) as crew:
        if crew is not None:
            _expect(crew, configs, folder)
        measured = LabelCurve([_point(config, folder, store, progress, crew) for config in configs])
    written = folder / "curve.csv"
    before = written.read_bytes() if written.exists() else None
    write_csv(measured, written)
    write_atomically(folder / "curve.svg", chart(measured, settings.name).svg)
    if written.read_bytes() != before:
        tracker = open_tracker(settings.tracking, f"{settings.name}-curve", folder, progress.warn)
        tracker.curve(settings.model_dump(mode="json", by_alias=True), mean_errors(measured))
    if not quiet:
        show_table(headings(measured), table(measured))
        if measured.baselines:
            show_table(baseline_headings(measured), baseline_table(measured))
        show_lines(worth(measured), f"Chart in {folder / 'curve.svg'}, figures in {written}.")
    return measured


def _config(settings: Config, count: int, repeat: int) -> Config:
    name = f"{settings.name}-{count}-labels-{repeat}"
    data = settings.data.model_copy(update={"labels": count})
    alone = {"repeat": repeat, "repeats": 1}
    return settings.model_copy(update={"name": name, **alone, "data": data, "report": False})


def _expect(crew: Crew, configs: Sequence[Config], out: Path) -> None:
    from stackae.data.read import read_source
    from stackae.plan import make_plans

    source = read_source(configs[0].data)
    for config in configs:
        crew.expect(make_plans(config, source), out / config.name)


def _point(config: Config, out: Path, store: Path, progress: Progress, crew: Crew | None) -> Point:
    results = run_config(config, out / config.name, store, progress, crew=crew)
    assert isinstance(config.data.labels, int)
    assert results.classifier is not None
    assert results.scratch is not None
    best = results.verdict and results.verdict["baseline"]
    return Point(
        config.data.labels,
        config.repeat,
        results.classifier["test"]["error"],
        results.scratch["test"]["error"],
        1.0 - results.probe[0]["test"]["accuracy"],
        1.0 - best["test"]["baseline"] if best else math.nan,
        {
            each["name"] + ("" if each["on"] == "columns" else CODES): each["test"]["error"]
            for each in results.baselines
        },
    )


def _counts(labels: str) -> list[int]:
    """Read the numbers of a string such as `50,100,300`: ascending, each once."""
    words = [word.strip() for word in labels.split(",")]
    if invalid := [word for word in words if not (word.isdecimal() and int(word) > 0)]:
        raise ConfigError(
            f"--labels {labels!r}: '{invalid[0]}' is no number of labels; write them as 50,100,300"
        )
    return sorted(set(map(int, words)))
