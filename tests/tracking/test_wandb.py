import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import DataLoader
from wandb_server import Server, serving

from stackae.tracking import server as server_patience
from stackae.tracking import wandb as tracking
from stackae.tracking.tracker import Tracker, make_tracker

pytestmark = pytest.mark.usefixtures("own_wandb")

KEY = {"pretrain-1": "1" * 64, "pretrain-2": "2" * 64}


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "digits"


def tracker(mode: Any, folder: Path, warnings: list[str]) -> Tracker:
    return make_tracker(mode, project="p", entity=None, group="digits", folder=folder, warn=warnings.append)


def offline_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*/*.wandb"))


def read_back(file: Path) -> dict[str, list[Any]]:
    """The records of an offline run by type, as W&B's own reader gives them."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    env = {**os.environ, "WANDB_MODE": "offline"}
    lines = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    records: dict[str, list[Any]] = {}
    for record in map(json.loads, lines):
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: value for record in records for name, value in record["update"].items()}


class Tiny(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"epochs": "the module's, not the stage's"})
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: torch.Tensor) -> None:
        self.log("val_loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(logger: Any, epochs: int) -> None:
    rows = DataLoader(torch.ones(8, 2), batch_size=4)
    trainer = pl.Trainer(
        logger=logger,
        max_epochs=epochs,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    trainer.fit(Tiny(), rows, rows)


def test_each_stage_is_a_run_of_its_own(folder: Path, tmp_path: Path, warnings: list[str]) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "weights.safetensors").write_bytes(b"weights")
    tracked = tracker("offline", folder, warnings)

    with tracked.stage("pretrain-1", {"epochs": 3, "layer": {"width": 5}}, []) as log:
        fit(log.logger, epochs=3)
        log.finish({"key": KEY["pretrain-1"], "metrics": {"val_loss": 0.25}}, store)
    with tracked.stage("pretrain-2", {"epochs": 2}, [KEY["pretrain-1"]]) as log:
        fit(log.logger, epochs=2)
        log.finish({"key": KEY["pretrain-2"], "metrics": {"val_loss": 0.5}}, store)

    runs = {run["run"][0]["job_type"]: run for run in map(read_back, offline_runs(folder))}
    assert sorted(runs) == ["pretrain-1", "pretrain-2"]
    assert len({run["run"][0]["run_id"] for run in runs.values()}) == 2
    for (name, run), epochs, best in zip(sorted(runs.items()), [3, 2], [0.25, 0.5], strict=True):
        assert len(run["run"]) == 1
        assert run["run"][0]["run_group"] == "digits"
        assert run["run"][0]["project"] == "p"
        assert run["run"][0]["display_name"] == f"digits-{name}"
        config = run["run"][0]["config"]["update"]
        assert config["epochs"] == epochs
        assert merged(run["config"])["manifest"]["key"] == KEY[name]
        for metric in "train_loss", "val_loss":
            points = [row["item"]["epoch"] for row in run["history"] if metric in row["item"]]
            assert points == list(range(epochs))
        assert next(m for m in run["metric"] if m.get("glob_name") == "*")["step_metric"] == "epoch"
        assert merged(run["summary"])["val_loss"] == best
        assert run["exit"][0]["exit_code"] == 0
    assert runs["pretrain-1"]["run"][0]["config"]["update"]["layer"] == {"width": 5}
    (artifact,) = runs["pretrain-2"]["artifact"]
    assert artifact["name"] == f"stage-{KEY['pretrain-2']}"
    assert json.loads(artifact["metadata"]) == {
        "stage": "pretrain-2",
        "key": KEY["pretrain-2"],
        "parents": [KEY["pretrain-1"]],
    }
    (weights,) = artifact["manifest"]["contents"]
    assert weights["local_path"] == str(store / "weights.safetensors")
    assert warnings == []


@pytest.mark.parametrize("error", [ValueError("diverged"), KeyboardInterrupt()])
def test_an_exception_in_a_stage_passes_and_marks_the_run_as_failed(
    folder: Path, warnings: list[str], error: BaseException, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with tracker("offline", folder, warnings).stage("pretrain-1", {}, []) as log:
            log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    assert caught.value is error
    assert capfd.readouterr() == ("", "")  # W&B does not talk over the program
    (run,) = map(read_back, offline_runs(folder))
    assert run["exit"][0]["exit_code"] == 1
    assert run["history"][0]["item"]["val_loss"] == 1.0
    assert warnings == []


@pytest.mark.parametrize("mode", ["auto", "online", "offline"])
def test_a_folder_that_cannot_be_written_costs_one_warning(
    tmp_path: Path, warnings: list[str], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    (tmp_path / "file").write_text("in the way")
    tracked = tracker(mode, tmp_path / "file" / "run", warnings)
    for name in "pretrain-1", "pretrain-2":
        with tracked.stage(name, {}, []) as log:
            fit(log.logger, epochs=1)
            log.finish({"key": KEY[name]}, tmp_path)
    assert len(warnings) == 1
    assert str(tmp_path / "file") in warnings[0]
    assert "without W&B" in warnings[0]
    assert list(elsewhere.glob("**/*.wandb")) == []


@pytest.mark.parametrize("key_in", ["environment", "netrc"])
def test_a_dead_server_costs_one_warning_and_a_bounded_wait(
    folder: Path,
    tmp_path: Path,
    warnings: list[str],
    key_in: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", f"http://{host}")
    if key_in == "environment":
        monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    else:
        Path(os.environ["NETRC"]).write_text(f"machine {host}\n  login user\n  password {'k' * 40}\n")
    monkeypatch.setattr(tracking, "INIT_SECONDS", 1.0)
    tracked = tracker("auto", folder, warnings)
    start = time.monotonic()
    for name in "pretrain-1", "pretrain-2", "finetune":
        with tracked.stage(name, {}, ["0" * 64]) as log:
            log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
            log.finish({"key": "1" * 64}, tmp_path)
    # Once the limit, W&B's own start, and room for a busy machine; far below three times the server's 27 s.
    assert time.monotonic() - start < 15
    assert len(warnings) == 1
    assert host in warnings[0]
    assert "offline" in warnings[0]
    assert "\n" not in warnings[0]
    assert len(offline_runs(folder)) == 3
    assert capfd.readouterr() == ("", "")


def test_online_without_a_key_is_offline_with_one_warning(folder: Path, warnings: list[str]) -> None:
    tracked = tracker("online", folder, warnings)
    for name in "pretrain-1", "pretrain-2":
        with tracked.stage(name, {}, []):
            pass
    assert len(offline_runs(folder)) == 2
    assert len(warnings) == 1
    assert "wandb login" in warnings[0]


def test_auto_without_a_key_is_offline_without_a_word(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        with tracker("auto", folder, warnings).stage("pretrain-1", {}, []):
            pass
        wandb.teardown()
        with pytest.raises(BlockingIOError):
            server.accept()  # nobody called, not even with W&B's report of its own use
    assert len(offline_runs(folder)) == 1
    assert warnings == []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A W&B server for which a key is configured, and that is soon doubted where it does not answer."""
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setattr(tracking, "INIT_SECONDS", 2.0)
    monkeypatch.setattr(server_patience, "DOUBT_SECONDS", 1.0)
    monkeypatch.setattr(server_patience, "PROBE_SECONDS", 0.5)
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
        wandb.teardown()


def log_stage(tracked: Tracker, name: str, store: Path, parents: list[str]) -> None:
    with tracked.stage(name, {"epochs": 2}, parents) as log:
        for epoch in range(2):
            log.logger.log_metrics({"epoch": epoch, "val_loss": 1.0 - epoch})
        log.finish({"key": KEY[name], "metrics": {"val_loss": 0.25}}, store)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(b"weights")
    return folder


def test_an_online_stage_reaches_the_server(
    server: Server, folder: Path, store: Path, warnings: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    log_stage(tracker("auto", folder, warnings), "pretrain-1", store, [])

    opened = next(given for name, given in server.queries if name == "UpsertBucket")
    assert (opened["groupName"], opened["displayName"]) == ("digits", "digits-pretrain-1")
    lines = [
        json.loads(line)
        for chunk in server.streamed
        for line in chunk.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
    ]
    assert [(line["epoch"], line["val_loss"]) for line in lines] == [(0, 1.0), (1, 0.0)]
    assert (server.streamed[-1]["complete"], server.streamed[-1]["exitcode"]) == (True, 0)
    assert b"weights" in server.stored.values()
    assert "CommitArtifact" in server.operations()
    assert warnings == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds W&B's process through /proc")
@pytest.mark.parametrize("moment", ["before the result", "before the end"])
@pytest.mark.parametrize("fate", ["silent", "down"])
def test_a_server_that_is_lost_in_a_stage_costs_one_warning_and_a_bounded_wait(
    server: Server, folder: Path, store: Path, warnings: list[str], fate: str, moment: str
) -> None:
    def lose() -> None:
        if fate == "down":
            server.stop()
        else:
            server.state = "silent"

    tracked = tracker("auto", folder, warnings)
    started = time.monotonic()
    with tracked.stage("pretrain-1", {}, []) as log:
        log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
        if moment == "before the result":
            lose()
        log.finish({"key": KEY["pretrain-1"], "metrics": {"val_loss": 0.25}}, store)
        if moment == "before the end":
            lose()
    log_stage(tracked, "pretrain-2", store, [KEY["pretrain-1"]])

    # Left to itself W&B takes more than a minute, and two where the server is silent.
    assert time.monotonic() - started < 20
    assert len(warnings) == 1
    assert server.url in warnings[0]
    assert "offline" in warnings[0]
    # W&B's process for the lost server is gone: it would hold our output open. That of the next stage is not.
    assert len(service_processes()) == 1
    # Nothing is lost: `wandb sync` has all of it to upload.
    (lost,) = map(read_back, (folder / "wandb").glob("run-*/*.wandb"))
    assert [row["item"]["val_loss"] for row in lost["history"]] == [1.0]
    assert merged(lost["config"])["manifest"]["key"] == KEY["pretrain-1"]
    assert lost["exit"][0]["exit_code"] == 0
    (run,) = map(read_back, offline_runs(folder))
    assert merged(run["config"])["manifest"]["key"] == KEY["pretrain-2"]


def test_a_slow_server_that_answers_is_waited_for(
    server: Server, folder: Path, store: Path, warnings: list[str]
) -> None:
    server.state = "busy"

    log_stage(tracker("auto", folder, warnings), "pretrain-1", store, [])

    assert b"weights" in server.stored.values()
    assert (server.streamed[-1]["complete"], server.streamed[-1]["exitcode"]) == (True, 0)
    assert warnings == []


@pytest.mark.parametrize("moment", ["init", "finish"])
def test_ctrl_c_gets_through_while_the_server_is_waited_for(
    server: Server,
    folder: Path,
    store: Path,
    warnings: list[str],
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "INIT_SECONDS", 100.0)
    monkeypatch.setattr(server_patience, "DOUBT_SECONDS", 100.0)
    # One Ctrl-C, however many requests are left without an answer.
    presses = iter([signal.SIGINT])
    server.on_silence = lambda: [os.kill(os.getpid(), press) for press in presses]
    tracked = tracker("auto", folder, warnings)
    started = time.monotonic()

    def interrupted() -> None:
        if moment == "init":
            server.state = "silent"
        with tracked.stage("pretrain-1", {}, []) as log:
            log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
            log.finish({"key": KEY["pretrain-1"]}, store)
            server.state = "silent"

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    wandb.teardown()  # as at the process's end, which must not wait either
    assert time.monotonic() - started < 30
    assert warnings == []


@pytest.mark.parametrize(("mode", "runs"), [("offline", 1), ("disabled", 0)])
def test_auto_heeds_the_environments_mode(
    folder: Path, warnings: list[str], mode: str, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_MODE", mode)
    with tracker("auto", folder, warnings).stage("pretrain-1", {}, []) as log:
        log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
    assert len(offline_runs(folder)) == runs
    assert folder.exists() == bool(runs)
    assert warnings == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds W&B's process through /proc")
def test_a_stage_survives_the_death_of_wandbs_process(
    folder: Path, tmp_path: Path, warnings: list[str]
) -> None:
    tracked = tracker("offline", folder, warnings)
    with tracked.stage("pretrain-1", {}, []) as log:
        log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
        for pid in service_processes():
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        for epoch in range(1, 20):
            log.logger.log_metrics({"epoch": epoch, "val_loss": 1.0})
        log.finish({"key": "1" * 64}, tmp_path)
    with tracked.stage("pretrain-2", {}, []) as log:
        log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
    assert len(warnings) == 1
    assert "pretrain-1" in warnings[0]


def service_processes() -> list[int]:
    """W&B's processes among our own children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = stat.read_text().split(" (", 1)
        except OSError:
            continue
        name, fields = rest.rsplit(") ", 1)
        state, parent = fields.split()[:2]
        if name == "wandb-core" and int(parent) == os.getpid() and state != "Z":
            found.append(int(pid))
    assert found
    return found


def test_a_run_the_user_has_open_is_left_alone(folder: Path, tmp_path: Path, warnings: list[str]) -> None:
    with wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True)) as own:
        with tracker("offline", folder, warnings).stage("pretrain-1", {}, []) as log:
            log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
        assert wandb.run is own
        own.log({"mine": 1})
    (run,) = map(read_back, offline_runs(folder))
    assert run["run"][0]["run_id"] != own.id
    (theirs,) = map(read_back, tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert [set(row["item"]) & {"mine", "val_loss"} for row in theirs["history"]] == [{"mine"}]


def test_of_several_processes_only_the_first_logs(
    folder: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with tracker("offline", folder, warnings).stage("pretrain-1", {}, []) as log:
        log.logger.log_metrics({"epoch": 0, "val_loss": 1.0})
    assert not folder.exists()
