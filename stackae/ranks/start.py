"""How the processes of a run are started, by Lightning, torchrun or SLURM, and find each other."""

from __future__ import annotations

import logging
import os
import sys
from datetime import timedelta
from typing import Any

import torch.distributed as dist

from stackae.config import TrainerConfig
from stackae.errors import ConfigError
from stackae.machine.hardware import Hardware, resolve
from stackae.ranks import place
from stackae.ranks.team import ALONE, Team

# While one of them works alone, as at baselines, the others wait.
LONG = timedelta(days=30)

_team: Team | None = None
children: list[Any] = []
"""The processes that this one has started."""


def assemble(settings: TrainerConfig) -> Team:
    """Start the processes that the settings ask for, unless they are started already, and join them.

    What is started carries out the same command anew, up to here. Once they have found each other they stay
    together until the process ends. ConfigError where the settings, or those who have started this process,
    ask for what cannot be.
    """
    global _team
    size = settings.devices * settings.num_nodes
    _check_started(settings, size)
    if size == 1:
        return ALONE
    hardware = resolve(settings)
    if _team is None:
        _team = _join(settings, hardware.accelerator, _environment(size))
        place.settle(_team.leads)
    if _team.size != size:
        raise ConfigError(
            f"trainer.devices: {size} processes asked for, and this script has run with {_team.size} before; "
            "start it anew for each number"
        )
    return _team


def team_of(hardware: Hardware) -> Team:
    """Return the team that computes on some hardware, which has been assembled where it is more than one."""
    if hardware.devices * hardware.nodes == 1:
        return ALONE
    assert _team is not None, "several devices are for those who have assembled a team"
    return _team


def _check_started(settings: TrainerConfig, size: int) -> None:
    asked = f"trainer.devices: {settings.devices}"
    if settings.num_nodes > 1:
        asked += f" on trainer.num_nodes: {settings.num_nodes}"
    started = {"torchrun": _of_torchrun(), "srun": _of_srun() if size > 1 else None}
    for who, number in started.items():
        if number is not None and number != size:
            raise ConfigError(
                f"{asked} asks for {size} process{'es' * (size > 1)}, and {who} has started {number}; "
                "make the numbers agree"
            )


def _of_torchrun() -> int | None:
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def _of_srun() -> int | None:
    # Not SLURM_NTASKS, which a whole job has, be it started by srun or not.
    number = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    return number if number > 1 else None


def _environment(size: int) -> Any:
    from pytorch_lightning.plugins import environments

    if _of_torchrun() is not None:
        return environments.TorchElasticEnvironment()  # type: ignore[attr-defined]
    if _of_srun() is not None:
        # It would otherwise take the signals for itself and queue the job anew.
        return environments.SLURMEnvironment(auto_requeue=False)  # type: ignore[attr-defined]
    if "LOCAL_RANK" not in os.environ and (hasattr(sys, "ps1") or not sys.argv[0]):
        raise ConfigError(
            f"trainer.devices: {size} processes are started by running this script again, and there is none "
            "(a notebook, an interactive session?); use 'stackae run', or a file"
        )
    return environments.LightningEnvironment()  # type: ignore[attr-defined]


def _join(settings: TrainerConfig, accelerator: str, environment: Any) -> Team:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    for name in ("lightning_fabric", "pytorch_lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    strategy = DDPStrategy()
    fabric = Fabric(
        accelerator=accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=strategy,
        plugins=[environment],
    )
    fabric.launch()
    started = getattr(strategy.launcher, "procs", [])
    children.extend(started)
    # Lightning kills this process wherever one of those ends by itself; `watch` does so with a line.
    started.clear()
    group = dist.new_group(backend="gloo", timeout=LONG)
    return Team(fabric.global_rank, fabric.world_size, group, environment)


def ddp() -> Any:
    """Make Lightning's strategy for a fit of a team."""
    from pytorch_lightning.strategies import DDPStrategy

    # What a buffer holds is the same everywhere already, and need not be sent at every step.
    return DDPStrategy(broadcast_buffers=False, gradient_as_bucket_view=True)
