"""`stackae tune`: Optuna proposes, validation judges, the store shares what trials have in common."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackae.commands.run import Jobs, refuse_devices, run_config
from stackae.commands.shared_study import (
    Place,
    begin,
    database_faults,
    open_study,
    optuna_itself,
    place_of,
    quiet_optuna,
    what_is_searched,
)
from stackae.config import Config
from stackae.config_file import dump_config, load_config, read_plain
from stackae.console import make_progress, show_lines, show_table
from stackae.errors import ConfigError, TrainingError
from stackae.machine.disk import check_folder, write_atomically
from stackae.machine.processes import count, prepare
from stackae.progress import Progress, StageProgress
from stackae.seeds import derive

if TYPE_CHECKING:
    import optuna

FORM = "{low: 50, high: 500}, with 'log: true' if wanted, or a list of choices"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, whole ones where both are; on a logarithmic scale with `log`."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | Sequence[Any]]


def tune(
    config: Path,
    overrides: Sequence[str],
    space: Path,
    trials: int,
    *,
    out: Path | None,
    store: Path,
    quiet: bool,
    jobs: Jobs = 1,
    database: str | None = None,
) -> Path:
    """Search `space` for the least validation error until there were so many trials; return `best.yaml`.

    The study lies in `study.db` (SQLite), or under the config's name in a `database` by its URL: a second
    start goes on, and several processes can share it, by a database also those of several machines. Bad
    trials are pruned while they fine-tune, but for folds, which are judged at their end alone. Test rows are
    not looked at; controls are left out. So many `jobs` carry out trials side by side.
    """
    settings = load_config(config, overrides)
    refuse_devices(settings, "tune")
    if settings.finetune is None:
        raise ConfigError(
            f"{config}: finetune is null, so there is no validation error to tune for; set finetune"
        )
    searched = read_space(space)
    for end in (0, -1):
        load_config(config, [*overrides, *_corner(searched, end)])
    folder = out or Path("runs") / f"{settings.name}-tune"
    check_folder("out", folder)
    prepare(jobs)
    place = place_of(database, settings.name, folder)
    fingerprint = _checked_data(config, settings)
    folder.mkdir(parents=True, exist_ok=True)
    progress = make_progress(quiet=quiet)

    from stackae.jobs import Workers

    search = Search(config, tuple(overrides), space, trials, folder, store, place)
    study = begin(place, what_is_searched(settings, searched, fingerprint))
    number = count(jobs)
    if number == 1:
        carry_out(search, progress)
    else:
        with Workers(number, carry_out, progress) as workers:
            for _ in range(number):
                workers.give(search)
            for _ in range(number):
                workers.next()
    _write_trials(study, list(searched), folder / "trials.csv")
    if all(trial.state.name != "COMPLETE" for trial in study.trials):
        raise TrainingError(
            f"{space}: none of {len(study.trials)} trials came to its end, see {folder / 'trials.csv'}; "
            "search other values, with another --out"
        )
    best = folder / "best.yaml"
    words = [f"{key}={json.dumps(value)}" for key, value in study.best_params.items()]
    write_atomically(best, dump_config(load_config(config, [*overrides, *words])))
    if not quiet:
        show_table(["trial", "", "validation error", *searched], [_row(trial) for trial in study.trials])
        show_lines(f"Best: {' '.join(words)} ({100 * study.best_value:.2f} % validation error), in {best}.")
    return best


@dataclass(frozen=True)
class Search:
    """What is searched, and where it is kept."""

    config: Path
    overrides: tuple[str, ...]
    space: Path
    trials: int
    folder: Path
    store: Path
    place: Place


def carry_out(search: Search, progress: Progress) -> None:
    """Carry out trials until the study has so many, whoever else carries out some of them."""
    from optuna.study import MaxTrialsCallback
    from optuna.trial import TrialState

    library, searched = optuna_itself(), read_space(search.space)
    config, overrides = search.config, search.overrides

    def objective(trial: optuna.Trial) -> float:
        # By the trial's number, so that a search can be repeated, and no two processes propose the same.
        seed = load_config(config, overrides).seed
        trial.study.sampler = library.samplers.TPESampler(
            seed=derive(seed, "tune", trial.number) % 2**32, constant_liar=True
        )
        words = [f"{key}={_suggest(trial, key, values)}" for key, values in searched.items()]
        trial_config = load_config(config, [*overrides, *words])
        nothing = {"scratch": False, "probe": False, "importance": False, "baselines": "none"}
        bare = trial_config.compare.model_copy(update=nothing)
        name = f"{trial_config.name}-trial-{trial.number}"
        trial_config = trial_config.model_copy(
            update={"name": name, "compare": bare, "report": False, "repeats": 1}
        )
        out = search.folder / f"trial-{trial.number}"
        try:
            results = run_config(trial_config, out, search.store, Pruning(progress, trial))
        except TrainingError as fault:
            progress.warn(f"trial {trial.number}: {fault}")
            raise library.TrialPruned from None
        assert results.classifier is not None
        return 1.0 - float(results.classifier["val"]["accuracy"])

    study, ended = open_study(search.place), (TrialState.COMPLETE, TrialState.PRUNED)
    with database_faults(search.place), quiet_optuna():
        if len(study.get_trials(deepcopy=False, states=ended)) < search.trials:
            study.optimize(objective, callbacks=[MaxTrialsCallback(search.trials, states=ended)])


def _checked_data(path: Path, settings: Config) -> str:
    """Return the data's fingerprint; ConfigError where no rows of it validate."""
    from stackae.data.read import read_source
    from stackae.plan import make_plan

    source = read_source(settings.data)
    use = make_plan(settings, source).labels
    if use is not None and not use.folds and use.hold_out is None:
        raise ConfigError(
            f"{path}: no labelled rows validate, so there is no validation error to tune for; "
            "set finetune.validation: {share: 0.2}"
        )
    return source.fingerprint


def _row(trial: optuna.trial.FrozenTrial) -> list[str]:
    error = "" if trial.value is None else f"{100 * trial.value:.2f} %"
    return [str(trial.number), trial.state.name.lower(), error, *map(json.dumps, trial.params.values())]


def read_space(path: Path) -> Space:
    """Read a search space: a YAML file of keys as in overrides, each with a range or a list of choices."""
    plain = read_plain(path)
    if not isinstance(plain, dict) or not plain:
        raise ConfigError(f"{path}: write keys, as 'layers.1.width: {{low: 50, high: 500}}'")
    return {key: _values(path, key, value) for key, value in plain.items()}


def _values(path: Path, key: str, value: Any) -> Range | Sequence[Any]:
    match value:
        case [_, *_] if not any(isinstance(choice, dict | list) for choice in value):
            return list(value)
        case {"low": int() | float() as low, "high": int() | float() as high, **options}:
            log = options.pop("log", False)
            if options or not isinstance(log, bool):
                raise ConfigError(f"{path}: {key}: {value}; write {FORM}")
            if not low < high or (log and low <= 0):
                raise ConfigError(
                    f"{path}: {key}: low {low} and high {high}; low is below high, and above 0 with log"
                )
            return Range(low, high, log)
    raise ConfigError(f"{path}: {key}: {value!r}; write {FORM}")


def _corner(space: Space, end: int) -> list[str]:
    """Return the words of the space's first or last values, to see that the config takes them."""
    ends = {
        key: (values.low, values.high)[end] if isinstance(values, Range) else values[end]
        for key, values in space.items()
    }
    return [f"{key}={json.dumps(value)}" for key, value in ends.items()]


def _suggest(trial: optuna.Trial, key: str, values: Range | Sequence[Any]) -> str:
    if not isinstance(values, Range):
        return json.dumps(trial.suggest_categorical(key, values))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return json.dumps(trial.suggest_int(key, values.low, values.high, log=values.log))
    return json.dumps(trial.suggest_float(key, values.low, values.high, log=values.log))


def _write_trials(study: optuna.Study, keys: Sequence[str], path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", "validation_error", *keys])
        for trial in study.trials:
            values = [trial.params.get(key, "") for key in keys]
            writer.writerow([trial.number, trial.state.name.lower(), trial.value, *values])


class Pruning:
    """A run's progress that tells the study of each epoch's validation error, and ends a hopeless trial."""

    def __init__(self, progress: Progress, trial: optuna.Trial) -> None:
        self._progress, self._trial = progress, trial

    @contextmanager
    def _watched(self, lines: AbstractContextManager[StageProgress]) -> Iterator[StageProgress]:
        import optuna

        trial = self._trial
        with lines as line:

            class Watched:
                def advance(self, done: int, share: float, metrics: Mapping[str, float]) -> None:
                    line.advance(done, share, metrics)
                    if share == 0 and "val_accuracy" in metrics:
                        trial.report(1.0 - metrics["val_accuracy"], done)
                        if trial.should_prune():
                            raise optuna.TrialPruned

            yield Watched()

    def stage(
        self, name: str, steps: int, rows: int = 0, step: str = "epoch", threads: int = 0
    ) -> AbstractContextManager[StageProgress]:
        lines = self._progress.stage(name, steps, rows, step, threads)
        return self._watched(lines) if name in ("length", "finetune") else lines

    def reused(self, name: str) -> None:
        self._progress.reused(name)

    def warn(self, line: str) -> None:
        self._progress.warn(line)

    def restored(self, name: str) -> None:
        self._progress.restored(name)

    def resumed(self, name: str, place: str) -> None:
        self._progress.resumed(name, place)
