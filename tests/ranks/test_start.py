"""Who has started a process, and whether that goes with what the config asks for."""

from __future__ import annotations

import pytest

from stackae.config import TrainerConfig
from stackae.errors import ConfigError
from stackae.ranks.place import leads
from stackae.ranks.start import assemble
from stackae.ranks.team import ALONE


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch):
    """Makes the environment that of a process that somebody has started."""

    def make(**environment: str) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return make


def test_one_device_needs_nobody() -> None:
    assert assemble(TrainerConfig()) is ALONE
    assert (ALONE.leads, ALONE.tell({"a": 1}), ALONE.gather(2)) == (True, {"a": 1}, [2])


def test_as_many_as_torchrun_has_started_are_to_be_asked_for(started) -> None:
    started(TORCHELASTIC_RUN_ID="none", WORLD_SIZE="2")
    with pytest.raises(ConfigError, match=r"devices: 1 asks for 1 process, and torchrun has started 2"):
        assemble(TrainerConfig())


def test_as_many_as_srun_has_started_are_to_be_asked_for(started) -> None:
    started(SLURM_STEP_NUM_TASKS="4")
    # Each may be a run of its own.
    assert assemble(TrainerConfig()) is ALONE
    asked = r"trainer\.devices: 3 on trainer\.num_nodes: 2 asks for 6 processes, and srun has started 4"
    with pytest.raises(ConfigError, match=asked):
        assemble(TrainerConfig(accelerator="cpu", devices=3, num_nodes=2))


def test_a_session_without_a_script_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [""])
    with pytest.raises(ConfigError, match="running this script again, and there is none"):
        assemble(TrainerConfig(accelerator="cpu", devices=2))


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "0"}, False),
        ({"RANK": "3"}, True),
        ({"LOCAL_RANK": "1"}, False),
    ],
)
def test_the_environment_says_who_leads(started, environment: dict[str, str], first: bool) -> None:
    started(**environment)
    assert leads() is first
