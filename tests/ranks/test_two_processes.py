"""A run on two devices of a CPU: started in each way, it ends as on one, and as if nobody had been killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from stackae.commands.run import run
from tests.faults.forked import COMMAND_LINE, Forked, forked
from tests.ranks.pairs import free_port

CONFIG = """
name: both
data: {source: digits, labels: 100, labels_for_validation: all}
layers:
  - {width: 12, activation: sigmoid, corruption: {type: swap, rate: 0.3}, penalties: [{type: kl}]}
pretrain: {epochs: 2, batch_size: 350, optimizer: sgd, lr: 0.01}
finetune: {epochs: 2, batch_size: 50, optimizer: sgd, lr: 0.1}
compare: {baselines: none, probe: false}
trainer: {accelerator: cpu, precision: 32-true, threads: 1, autosave: 0}
tracking: {wandb: disabled}
report: false
"""
# Ends itself, or asks itself to, at a step: one of the two processes alone.
DIES = """
import os, signal, torch
step, steps = torch.optim.SGD.step, 0

def counted(optimizer, *given, **words):
    global steps
    steps += 1
    if steps == int(os.environ["DIES_AT"]):
        os.kill(os.getpid(), int(os.environ["DIES_OF"]))
    return step(optimizer, *given, **words)

torch.optim.SGD.step = counted
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and exit codes are those of Linux")


def weights(store: Path) -> dict[str, np.ndarray]:
    """The weights and features of all stages of a store."""
    found = {}
    for folder in sorted(store.glob("*-*/")):
        for name in ("weights.safetensors", "features-train.npy", "features-test.npy"):
            if (path := folder / name).exists():
                arrays = {"": np.load(path)} if name.endswith("npy") else load_file(path)
                found |= {f"{folder.name} {name} {key}": value for key, value in arrays.items()}
    return found


def curves(store: Path) -> list[str]:
    """The figures of all epochs, but for the time that they took, which is the last."""
    lines = [path.read_text().splitlines() for path in sorted(store.glob("*-*/metrics.csv"))]
    return [line.rpartition(",")[0] for file in lines for line in file]


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "NO_COLOR": "1"}
    command = [sys.executable, *words, "trainer.devices=2"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("both")
    (made / "c.yaml").write_text(CONFIG)
    return made


@pytest.fixture(scope="module")
def by_lightning(folder: Path) -> Path:
    """The store of a run whose second process Lightning has started."""
    done = start(folder, "-m", "stackae", "run", "c.yaml", "--store", "by-lightning")
    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stderr.splitlines()]
    assert told == ["pretrain-1", "finetune", "scratch"]
    assert done.stdout.count("Results in ") == 1
    return folder / "by-lightning"


def test_two_processes_end_as_one_but_for_rounding(folder: Path, by_lightning: Path) -> None:
    run(folder / "c.yaml", out=folder / "one", store=folder / "alone", fresh=False, quiet=True)

    alone, both = weights(folder / "alone"), weights(by_lightning)

    assert alone.keys() == both.keys()
    for name, value in alone.items():
        np.testing.assert_allclose(both[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_torchrun_starts_them_too(folder: Path, by_lightning: Path) -> None:
    port = f"--master-port={free_port()}"
    words = ["-m", "torch.distributed.run", "--nproc-per-node=2", port, "-m", "stackae", "run", "c.yaml"]
    done = start(folder, *words, "--store", "by-torchrun")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Results in ") == 1
    theirs = weights(folder / "by-torchrun")
    for name, value in weights(by_lightning).items():
        np.testing.assert_array_equal(theirs[name], value, err_msg=name)


def both(folder: Path, second: Mapping[str, str] | None = None, *words: str) -> tuple[list[int], str]:
    """The exit codes of two processes as torchrun starts them, and what the first says.

    Where `second` is given, the second has it in its environment, and dies.
    """
    port = str(free_port())
    started = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none"}
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RESTART_COUNT": "0"}
    command = ["run", "c.yaml", "trainer.devices=2", "--out", "killed", *words]
    with ExitStack() as stack:
        processes: list[Forked] = []
        for rank in ("0", "1"):
            env = started | here | {"RANK": rank, "LOCAL_RANK": rank}
            program = COMMAND_LINE
            if rank == "1" and second is not None:
                env, program = env | second, DIES + COMMAND_LINE
            processes.append(stack.enter_context(forked(command, folder, env, program)))
        codes = [process.wait() for process in processes]
        assert processes[1].printed() == ("", "")
        return codes, processes[0].printed()[1]


def test_who_outlives_another_ends_with_a_line_and_goes_on_with_the_same_bits(
    folder: Path, by_lightning: Path
) -> None:
    store = ["--store", "killed-store"]

    codes, said = both(folder, {"DIES_AT": "3", "DIES_OF": str(int(signal.SIGKILL))}, *store)
    assert codes == [1, -signal.SIGKILL]
    assert said.splitlines()[-1].startswith("one of the processes of trainer.devices ended by itself")
    assert "Traceback" not in said

    codes, said = both(folder, {"DIES_AT": "5", "DIES_OF": str(int(signal.SIGTERM))}, *store)
    assert codes == [128 + signal.SIGTERM] * 2
    assert "pretrain-1: goes on from epoch 1, batch 2" in said
    assert "stopped by SIGTERM; kept: data, and pretrain-1 up to epoch 2, batch 3" in said.splitlines()[-1]

    codes, said = both(folder, None, *store)
    assert codes == [0, 0]
    there, here = weights(by_lightning), weights(folder / "killed-store")
    assert there.keys() == here.keys()
    for name, value in there.items():
        np.testing.assert_array_equal(here[name], value, err_msg=name)
    assert curves(folder / "killed-store") == curves(by_lightning)


def test_what_one_finds_wrong_is_said_once(folder: Path) -> None:
    codes, said = both(folder, None, "--store", "small", "finetune.batch_size=1")

    assert codes == [2, 2]
    assert said.splitlines()[-1] == (
        "finetune: batches of 1 rows cannot be divided over 2 processes; set trainer.devices lower, or "
        "finetune.batch_size higher"
    )
