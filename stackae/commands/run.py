"""`stackae run`: from a config file to the main path, and its results on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from stackae.config import Config
from stackae.config_file import load_config
from stackae.console import make_console, make_progress, show_table
from stackae.errors import ConfigError
from stackae.machine.disk import check_folder
from stackae.machine.processes import count, prepare
from stackae.progress import NoProgress, Progress

if TYPE_CHECKING:
    from stackae.jobs import Crew
    from stackae.ranks.team import Team
    from stackae.results import Results

Jobs = int | Literal["auto"]
"""How many processes work side by side; `auto`: one per core."""

BASELINE_STAGES = {"baselines": "columns", "baselines-codes": "columns and codes"}
"""What the baselines of a stage are fitted to."""


def run(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    out: str | Path | None,
    store: str | Path,
    fresh: bool,
    quiet: bool,
    show: bool = True,
    jobs: Jobs = 1,
    callbacks: Sequence[Any] = (),
) -> Results:
    """Carry out a config file and show its results.

    `quiet` silences progress and results, `show=False` the results alone. Stages that do not need each other
    are carried out by so many `jobs` side by side. `callbacks` are Lightning's, and for one job. On several
    devices the same is carried out by a process for each, of which the leader alone shows anything.
    """
    settings = load_config(config, overrides)
    prepare(jobs)
    folder = run_folder(settings, out)
    with teamed(settings, jobs) as team:
        progress = make_progress(quiet=quiet) if team.leads else NoProgress(warns=False)
        with working(jobs, Path(store), progress, fresh=fresh) as crew:
            results = run_config(
                *(settings, folder, Path(store), progress),
                fresh=fresh,
                crew=crew,
                callbacks=callbacks,
                team=team,
            )
    if show and not quiet and team.leads:
        show_results(results, folder)
    return results


@contextmanager
def teamed(settings: Config, jobs: Jobs) -> Iterator[Team]:
    """Have a process for each device that a config asks for, which fail and are stopped together."""
    from stackae.ranks.start import assemble
    from stackae.ranks.watch import together

    if settings.trainer.devices * settings.trainer.num_nodes > 1 and jobs != 1:
        raise ConfigError(
            f"--jobs {jobs}: stages follow each other where each is trained on several devices "
            f"(trainer.devices: {settings.trainer.devices}); leave one of the two out"
        )
    team = assemble(settings.trainer)
    with together(team):
        yield team


def refuse_devices(settings: Config, command: str) -> None:
    """Refuse several devices to a command that computes on one: ConfigError."""
    if settings.trainer.devices * settings.trainer.num_nodes > 1:
        raise ConfigError(
            f"trainer.devices: {settings.trainer.devices} is for 'stackae run', and 'stackae {command}' "
            "computes on one: write trainer.devices=1, and --jobs to have several runs at once"
        )


def run_config(
    settings: Config,
    out: Path,
    store: Path,
    progress: Progress,
    *,
    fresh: bool = False,
    crew: Crew | None = None,
    callbacks: Sequence[Any] = (),
    team: Team | None = None,
) -> Results:
    """Carry out a config that was read, with the tracker it asks for; show nothing but progress."""
    check_folder("out", out)
    check_folder("store", store)
    from stackae import pipeline
    from stackae.stage_runner import assist
    from stackae.store import Store
    from stackae.tracking.tracker import open_tracker

    kept = Store(store, progress.warn)
    if team is not None and not team.leads:
        return assist(settings, kept, callbacks)
    tracker = open_tracker(settings.tracking, settings.name, out, progress.warn)
    results = pipeline.run(
        settings, kept, tracker, progress, out=out, fresh=fresh, crew=crew, callbacks=callbacks
    )
    if team is not None:
        team.tell({"results": asdict(results)})
    return results


@contextmanager
def working(jobs: Jobs, store: Path, progress: Progress, *, fresh: bool = False) -> Iterator[Crew | None]:
    """Have so many processes carry out stages while the context lasts; one job is nobody but this process."""
    from stackae.jobs import Crew

    check_folder("store", store)
    number = count(jobs)
    if number == 1:
        yield None
        return
    with Crew(number, store, progress, fresh=fresh) as crew:
        yield crew


def run_folder(settings: Config, out: str | Path | None) -> Path:
    """Return the folder of a run: the one asked for, else `runs/<name>`."""
    return Path(out) if out is not None else Path("runs") / settings.name


def show_results(results: Results, folder: Path) -> None:
    """Print the table of stages, the test figures, the verdict and where everything lies."""
    from stackae.report.left_out import left_out_line
    from stackae.report.repetitions import repetition_table

    console = make_console()
    table = Table("stage", "epochs", "seconds", "figures", box=None, pad_edge=False)
    for stage in results.stages:
        seconds = "reused" if stage["reused"] else f"{stage['seconds']:.1f}"
        table.add_row(
            stage["stage"], str(stage["epochs"] or ""), seconds, _stage_figures(stage["stage"], results)
        )
    console.print(table)
    if results.repetitions:
        repetitions = repetition_table(asdict(results))
        show_table(repetitions.columns, repetitions.rows)
    if results.classifier and (results.verdict is None or results.verdict["gain"] is None):
        console.print(f"Test error {results.classifier['test']['error']:.2%}.", style="bold")
    if results.verdict:
        console.print(results.verdict["text"], soft_wrap=True, style="bold")
    if left_out := left_out_line(results.baselines_left_out):
        console.print(left_out, soft_wrap=True)
    if results.importance is not None and (why := results.importance["left_out"]):
        console.print(f"What each column is worth was not measured: {why}.", soft_wrap=True)
    written = {"report": "report.html", "results": "results.json", "model": "model"}
    places = [f"{name} in {folder / path}" for name, path in written.items() if (folder / path).exists()]
    line = ", ".join(places)
    console.print(f"{line[0].upper()}{line[1:]}.", soft_wrap=True)


def _blend_figures(blend: Mapping[str, Any] | None) -> str:
    """What the mean gets on the test rows, and of whom it is: the network and those that count most."""
    if blend is None:
        return "no mean is better than the classifier"
    partners = sorted(blend["partners"], key=lambda each: -each["share"])
    shares = [("network", 1 - sum(each["share"] for each in partners))]
    named = len(partners) if len(partners) < 4 else 2
    for each in partners[:named]:
        on = "" if each["on"] == "columns" else f" on {each['on']}"
        shares.append((each["name"].replace("_", " ") + on, each["share"]))
    if rest := partners[named:]:
        shares.append((f"{len(rest)} others", sum(each["share"] for each in rest)))
    told = ", ".join(f"{share:.0%} {name}" for name, share in shares)
    return f"test {blend['test']['accuracy']:.2%}, the mean of {told}"


def _stage_figures(name: str, results: Results) -> str:
    parts = {"scratch": results.scratch, "labels-alone": results.labels_alone}
    part = parts.get(name.removesuffix("-length"), results.classifier)
    metrics = next(stage["metrics"] for stage in results.stages if stage["stage"] == name)
    if name == "length" or name.endswith("-length"):
        assert part is not None
        return f"best after {metrics['kept_epoch']} epochs, validation {part['val']['accuracy']:.2%}"
    if name in ("finetune", "scratch", "labels-alone"):
        assert part is not None
        test, folds = part["test"], results.data["folds"]
        judged = f"out of fold {part['val']['accuracy']:.2%}, " if folds else ""
        return f"{judged}test {test['accuracy']:.2%}, macro-F1 {test['macro_f1']:.2%}, NLL {test['nll']:.3f}"
    if name == "probe":
        accuracies = (f"{depth['test']['accuracy']:.2%}" for depth in results.probe)
        return "test by depth " + ", ".join(accuracies)
    if name == "importance":
        assert results.importance is not None
        worth = (f"{each['column']} {100 * each['mean']:.1f}" for each in results.importance["columns"][:3])
        return "points of accuracy: " + ", ".join(worth)
    if name in BASELINE_STAGES:
        return ", ".join(
            f"{each['name'].replace('_', ' ')} {each['test']['accuracy']:.2%}"
            for each in results.baselines
            if each["on"] == BASELINE_STAGES[name]
        )
    if name == "blend":
        return _blend_figures(results.blend)
    if "reconstruction_ratio" in metrics:
        ratio, rank = metrics["reconstruction_ratio"], metrics["effective_rank"]
        return f"error ratio {ratio:.3f}, effective rank {rank:.0f}"
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in metrics.items())
