"""The search of settings from the command line."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import optuna
import pytest
from conftest import Cli
from faults.forked import carry_out

from stackae.commands.tune import Pruning
from stackae.config_file import load_config
from stackae.progress import NoProgress

TINY = """\
data: {source: digits, labels: 200}
layers: [{width: 12}, {width: 8}]
pretrain: {epochs: 1}
finetune: {epochs: 2}
tracking: {wandb: disabled}
"""
SPACE = """\
layers.1.width: {low: 4, high: 24, log: true}
finetune.dropout: {low: 0.0, high: 0.6}
finetune.optimizer: [adam, sgd]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "space.yaml").write_text(SPACE)
    return tmp_path


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs/tiny-tune/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stages(folder: Path, name: str) -> int:
    return len([path for path in (folder / ".stackae").glob(f"{name}-*") if path.is_dir()])


def test_all_trials_share_what_the_space_does_not_touch(folder: Path, cli: Cli) -> None:
    done = cli(["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "4"], folder)

    assert done.returncode == 0, done.stderr
    assert stages(folder, "pretrain-1") == 1
    found = trials(folder)
    assert len(found) == 4
    assert stages(folder, "pretrain-2") == len({row["layers.1.width"] for row in found})
    assert stages(folder, "scratch") == stages(folder, "probe") == 0
    best = min(
        (row for row in found if row["state"] == "complete"), key=lambda row: float(row["validation_error"])
    )
    chosen = load_config(folder / "runs/tiny-tune/best.yaml")
    assert chosen.finetune is not None
    assert chosen.layers[1].width == int(best["layers.1.width"])
    assert chosen.finetune.dropout == float(best["finetune.dropout"])
    assert chosen.finetune.optimizer == best["finetune.optimizer"]
    assert chosen.compare.scratch
    assert chosen.name == "tiny"
    for row in found:
        results = folder / f"runs/tiny-tune/trial-{row['trial']}/results.json"
        if row["state"] == "complete":
            accuracy = json.loads(results.read_text())["classifier"]["val"]["accuracy"]
            assert float(row["validation_error"]) == pytest.approx(1 - accuracy)

    again = cli(["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "4"], folder)
    assert again.returncode == 0
    assert trials(folder) == found
    more = cli(["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "5", "--quiet"], folder)
    assert (more.returncode, more.stdout) == (0, "")
    assert trials(folder)[:4] == found
    assert len(trials(folder)) == 5
    assert len({tuple(row.values())[3:] for row in trials(folder)}) == 5


def test_a_trial_whose_training_breaks_is_given_up_and_the_search_goes_on(folder: Path, cli: Cli) -> None:
    (folder / "space.yaml").write_text("pretrain.lr: [1.0e+30, 0.001]\n")
    done = cli(["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "5"], folder)

    assert done.returncode == 0, done.stderr
    states = {row["pretrain.lr"]: row["state"] for row in trials(folder)}
    assert states == {"1e+30": "pruned", "0.001": "complete"}
    assert load_config(folder / "runs/tiny-tune/best.yaml").pretrain.lr == 0.001


def test_a_search_all_of_whose_trials_break_is_one_line(folder: Path, cli: Cli) -> None:
    (folder / "space.yaml").write_text("pretrain.lr: [1.0e+30, 1.0e+29]\n")
    done = cli(["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "2", "--quiet"], folder)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "space.yaml: none of 2 trials came to its end, see runs/tiny-tune/trials.csv; "
        "search other values, with another --out"
    )
    assert [row["state"] for row in trials(folder)] == ["pruned", "pruned"]


def test_a_search_proposes_the_same_again(folder: Path, cli: Cli) -> None:
    words = ["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "3", "--quiet"]
    assert cli(words, folder).returncode == 0
    found = trials(folder)
    assert cli([*words, "--out", "again"], folder).returncode == 0
    with (folder / "again/trials.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == found

    (folder / "other.yaml").write_text("finetune.dropout: {low: 0.0, high: 0.5}\n")
    for others in ([*words, "layers.0.width=9"], [*words, "--space", "other.yaml"]):
        done = cli(others, folder)
        assert done.returncode == 2
        assert done.stderr.startswith(
            "runs/tiny-tune/study.db: its study 'stackae' was begun with another config"
        )
    # What no error depends on may change.
    assert cli([*words, "trainer.autosave=5", "compare.scratch=false"], folder).returncode == 0
    assert trials(folder) == found


def test_where_nothing_validates_there_is_nothing_to_tune_for(folder: Path, cli: Cli) -> None:
    for word in ("finetune.validation=none", "data.labels={per_class: 1}"):
        done = cli(["tune", "tiny.yaml", word, "--space", "space.yaml"], folder)
        assert done.returncode == 2
        assert done.stderr == (
            "tiny.yaml: no labelled rows validate, so there is no validation error to tune for; "
            "set finetune.validation: {share: 0.2}\n"
        )
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("stage", ["length", "finetune"])
def test_a_hopeless_trial_is_pruned_by_the_first_fit_that_is_judged_on_the_way(stage: str) -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.5))
    watched = Pruning(NoProgress(), study.ask())
    with watched.stage(stage, 3) as line:
        line.advance(1, 0.0, {"train_loss": 9.0})  # as of folds
        line.advance(1, 0.5, {"val_accuracy": 0.4})  # within an epoch
        line.advance(2, 0.0, {"val_accuracy": 0.6})
        with pytest.raises(optuna.TrialPruned):
            line.advance(3, 0.0, {"val_accuracy": 0.4})
    with watched.stage("scratch", 3) as line:
        line.advance(1, 0.0, {"val_accuracy": 0.1})


def test_folds_are_judged_at_their_end(folder: Path, cli: Cli) -> None:
    (folder / "space.yaml").write_text("finetune.lr: {low: 1.0e-5, high: 0.05, log: true}\n")
    words = ["tune", "tiny.yaml", "finetune.epochs=8", "--space", "space.yaml", "--trials", "7", "--quiet"]
    assert cli(words, folder).returncode == 0
    assert {row["state"] for row in trials(folder)} == {"complete"}
    for row in trials(folder):
        results = json.loads((folder / f"runs/tiny-tune/trial-{row['trial']}/results.json").read_text())
        assert results["data"]["folds"] == 5
        assert float(row["validation_error"]) == pytest.approx(1 - results["classifier"]["val"]["accuracy"])


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("layers.7.width: [3, 4]", "layers has no entry '7'"),
        ("layers.0.widht: [3, 4]", "did you mean 'width'"),
        ("finetune.dropout: {low: 0.5, high: 1.5}", "finetune.dropout"),
        ("finetune.dropout: {low: 0.5, high: 0.1}", "low 0.5 and high 0.1"),
        ("finetune.lr: {low: 0, high: 0.1, log: true}", "above 0 with log"),
        ("finetune.dropout: {low: 0.5}", "or a list of choices"),
        ("finetune.dropout: 0.5", "or a list of choices"),
        ("finetune.dropout: []", "or a list of choices"),
        ("[1, 2]", "write keys"),
        ("a: [", "space.yaml:1"),
        ("a: !!python/object/apply:os.system ['touch owned']", "space.yaml"),
    ],
)
def test_a_space_that_is_none_is_one_line(folder: Path, cli: Cli, space: str, says: str) -> None:
    (folder / "space.yaml").write_text(space)
    done = cli(["tune", "tiny.yaml", "--space", "space.yaml"], folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr
    assert not (folder / "runs").exists()
    assert not (folder / "owned").exists()


def test_a_killed_search_goes_on_with_what_it_had(folder: Path, cli: Cli) -> None:
    dies = (
        "import os, signal, stackae.commands.tune as tuning\n"
        "run_config = tuning.run_config\n"
        "def last(*words, **more):\n"
        "    made = run_config(*words, **more)\n"
        "    if words[1].name == 'trial-2': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return made\n"
        "tuning.run_config = last\n"
        "from stackae.cli import main; main()\n"
    )
    words = ["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "4"]
    assert carry_out(words, folder, program=dies).returncode == -signal.SIGKILL
    done = cli(words, folder)
    assert done.returncode == 0, done.stderr
    ended = [row for row in trials(folder) if row["state"] in ("complete", "pruned")]
    assert len(ended) == 4
    assert [row["trial"] for row in ended[:2]] == ["0", "1"]


def test_trials_are_carried_out_side_by_side(folder: Path) -> None:
    words = ["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "3", "--jobs", "2"]
    done = carry_out(words, folder)

    assert done.returncode == 0, done.stderr
    assert stages(folder, "pretrain-1") == 1
    # Each that is under way when there are enough comes to its end.
    assert len(trials(folder)) in (3, 4)
    assert (folder / "runs/tiny-tune/best.yaml").exists()
