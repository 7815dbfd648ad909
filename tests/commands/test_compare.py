"""Runs side by side from the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from scipy.stats import binomtest

TINY = """\
data: {source: digits, labels: 200}
layers: [{width: 12}]
pretrain: {epochs: 1}
finetune: {epochs: 3}
compare: {probe: false}
report: false
tracking: {wandb: disabled}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """Runs `a` and `b` on the same test rows, `c` on others, `d` without a classifier, `e` with a blend."""
    made = tmp_path_factory.mktemp("compared")
    (made / "tiny.yaml").write_text(TINY)
    changes = {"a": "repeat=0", "b": "finetune.epochs=9", "c": "seed=1", "d": "finetune=null"}
    changes["e"] = "finetune.blend=svm"
    for name, change in changes.items():
        done = cli(["run", "tiny.yaml", change, "--out", f"runs/{name}"], made)
        assert done.returncode == 0, done.stderr
    return made


def right(folder: Path, name: str, column: str = "pretrained") -> np.ndarray:
    rows = np.genfromtxt(folder / f"runs/{name}/test-predictions.csv", delimiter=",", names=True, dtype=int)
    return rows["class"] == rows[column]


def test_runs_on_the_same_rows_are_tested_in_pairs(folder: Path, cli: Cli) -> None:
    done = cli(["compare", "runs/a", "runs/b"], folder)

    assert done.returncode == 0, done.stderr
    _, a, b, sentence, _ = done.stdout.splitlines()
    assert (a.split()[0], b.split()[0]) == ("a", "b")
    one, other = right(folder, "a"), right(folder, "b")
    assert f"{100 * (1 - one.mean()):.2f} %" in a
    assert f"{100 * (1 - other.mean()):.2f} %" in b
    won, lost = (one & ~other).sum(), (~one & other).sum()
    p = binomtest(won, won + lost).pvalue
    assert f"McNemar p = {p:.2g}" in sentence
    assert f"gain {100 * (won - lost) / len(one):+.2f} points" in sentence
    assert "b is better" in sentence if p < 0.05 else "no clear difference" in sentence
    page = (folder / "comparison.html").read_text()
    assert page.count("<img") == 3
    assert sentence.partition(" (")[0] in page


def test_of_a_blended_run_the_mean_is_tested(folder: Path, cli: Cli) -> None:
    done = cli(["compare", "runs/a", "runs/e"], folder)

    assert done.returncode == 0, done.stderr
    _, a, e, sentence, _ = done.stdout.splitlines()
    alone, blended = right(folder, "a"), right(folder, "e", "blended")
    assert np.array_equal(alone, right(folder, "e"))
    assert blended.sum() != alone.sum()
    assert f"{100 * (1 - blended.mean()):.2f} % svm" in e
    assert "svm" not in a
    assert f"gain {100 * (alone.mean() - blended.mean()):+.2f} points" in sentence


def test_runs_on_other_rows_are_shown_but_not_tested(folder: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli(["compare", "runs/a", "runs/c", "runs/d", "-o", tmp_path / "page.html"], folder)

    assert done.returncode == 0, done.stderr
    assert "a and c: not tested, since their test rows differ." in done.stdout
    assert "a and d: not compared, since one of them trained no classifier." in done.stdout
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["runs/a"], "name at least two run folders"),
        (["runs/a", "runs/none"], "runs/none: no results in this folder"),
        (["runs/a", "runs/b", "-o", "nowhere/page.html"], "there is no folder"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folder: Path, cli: Cli, words: list[str], says: str) -> None:
    done = cli(["compare", *words], folder)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_damaged_results_are_one_line(folder: Path, cli: Cli, tmp_path: Path) -> None:
    for number, text in enumerate(("{", "{}", "[]", '{"classifier": 3}')):
        damaged = Path(shutil.copytree(folder / "runs/a", tmp_path / f"damaged{number}"))
        (damaged / "results.json").write_text(text)
        done = cli(["compare", "runs/b", damaged], folder)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "damaged" in done.stderr
