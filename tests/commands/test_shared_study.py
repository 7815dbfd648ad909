"""One search by two machines: a PostgreSQL server of this machine's own, and what is refused."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import Cli
from faults.forked import forked

from stackae.commands.shared_study import what_is_searched
from stackae.config import Config

TINY = """\
data: {source: digits, labels: 200}
layers: [{width: 12}]
pretrain: {epochs: 1}
finetune: {epochs: 2}
tracking: {wandb: disabled}
"""
SPACE = "finetune.dropout: {low: 0.0, high: 0.6}\n"
WORDS = ["tune", "tiny.yaml", "--space", "space.yaml", "--trials", "4"]
MEET = """\
import os, sys, stackae.commands.tune as tuning
run_config, ways = tuning.run_config, os.environ["WAYS"].split()
def together(*words, **more):
    # Opening a pipe waits for whoever opens its other end.
    while ways:
        way = ways.pop(0)
        os.close(os.open(way[1:], os.O_WRONLY if way[0] == ">" else os.O_RDONLY))
    return run_config(*words, **more)
tuning.run_config = together
from stackae.cli import main; main()
"""
"""Carries out no trial before the other machine has one to carry out too."""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The URL of a database, on a server that only a socket in its own folder leads to."""
    pytest.importorskip("psycopg", reason="psycopg is not installed, so no database can be spoken to")
    if shutil.which("pg_ctl") is None:
        pytest.skip("pg_ctl is not in PATH, so there is no PostgreSQL server to start")
    # PostgreSQL refuses to be started by root, and nobody else may enter pytest's folders.
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)

        def control(*words: str) -> None:
            command = ["pg_ctl", "-D", f"{folder}/data", *words]
            subprocess.run(command, check=True, cwd=folder, user=user, stdout=subprocess.DEVNULL)

        control("initdb", "-o", "--auth=trust --username=stackae --no-sync")
        control("start", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses='' -c fsync=off")
        try:
            yield f"postgresql+psycopg://stackae@/postgres?host={folder}"
        finally:
            control("stop", "-m", "immediate")


def machine(folder: Path) -> Path:
    """A folder in which a machine works, which shares nothing with the others."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "space.yaml").write_text(SPACE)
    return folder


def trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs/tiny-tune/trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_machines_share_a_search(database: str, tmp_path: Path, cli: Cli) -> None:
    folders = [machine(tmp_path / name) for name in ("one", "two")]
    pipes = [str(tmp_path / name) for name in ("first", "second")]
    for pipe in pipes:
        os.mkfifo(pipe)
    words = [*WORDS, "--study", database]
    ways = [{"WAYS": f">{pipes[0]} <{pipes[1]}"}, {"WAYS": f"<{pipes[0]} >{pipes[1]}"}]
    with (
        forked(words, folders[0], ways[0], MEET) as one,
        forked(words, folders[1], ways[1], MEET) as two,
    ):
        for process in (one, two):
            assert process.wait() == 0, process.printed()

    done = [
        {int(path.name.removeprefix("trial-")) for path in (folder / "runs/tiny-tune").glob("trial-*")}
        for folder in folders
    ]
    assert all(done)
    assert not done[0] & done[1]
    # Each that is under way when there are enough comes to its end.
    assert done[0] | done[1] in ({0, 1, 2, 3}, {0, 1, 2, 3, 4})
    assert not list(tmp_path.rglob("study.db"))

    for folder in folders:
        assert cli(words, folder).returncode == 0
    assert trials(folders[0]) == trials(folders[1])
    assert {int(row["trial"]) for row in trials(folders[0])} == done[0] | done[1]
    assert {row["state"] for row in trials(folders[0])} <= {"complete", "pruned"}
    best = [(folder / "runs/tiny-tune/best.yaml").read_text() for folder in folders]
    assert best[0] == best[1]

    refused = cli([*words, "data.labels=100"], folders[0])
    assert refused.returncode == 2
    assert "its study 'tiny' was begun with another config" in refused.stderr
    other = cli([*words, "data.labels=100", "name=other", "--trials", "1", "--quiet"], folders[0])
    assert (other.returncode, other.stderr) == (0, "")


def test_a_search_is_known_by_what_errors_depend_on() -> None:
    def known(space: Sequence[int] = (1, 2), fingerprint: str = "content", **words: object) -> str:
        plain = {"data": {"source": "x.npy", "target": "y.npy"}, "layers": [{"width": 12}], **words}
        return what_is_searched(Config.model_validate(plain), {"seed": space}, fingerprint)

    elsewhere = {"source": "s3://b/x.npy", "target": "s3://b/y.npy"}
    assert known() == known(
        data=elsewhere, name="other", trainer={"threads": 1}, tracking={"wandb": "disabled"}
    )
    others = [
        known((1, 3)),
        known(fingerprint="others"),
        known(seed=1),
        known(layers=[{"width": 13}]),
        known(data=elsewhere | {"labels": 10}),
    ]
    assert len({known(), *others}) == 6


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("rubbish", 2, "--study: 'rubbish' is no database's URL; write postgresql://user@host/database"),
        ("nosuch://me:secret@host/x", 2, "--study 'nosuch://me:***@host/x': nosuch:// needs a package"),
        ("oracle+oracledb://me:secret@host/x", 2, "pip install 'oracledb'"),
        ("sqlite:////nowhere/at/all.db", 1, "(unable to open database file)"),
    ],
)
def test_a_database_that_is_none_is_one_line(
    url: str, code: int, says: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli([*WORDS, "--study", url], machine(tmp_path / "one"))
    assert done.returncode == code
    assert done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr
    assert "secret" not in done.stderr


def test_a_server_that_does_not_answer_is_one_line(database: str, cli: Cli, tmp_path: Path) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:9/x"
    done = cli([*WORDS, "--study", url], machine(tmp_path / "one"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("--study 'postgresql+psycopg://me:***@127.0.0.1:9/x': the database did not")
    assert "secret" not in done.stderr
