"""The hardware that the machine computes on, and the precision."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from stackae.config import TrainerConfig
from stackae.errors import ConfigError


@dataclass(frozen=True)
class Hardware:
    """The settings for Lightning's Trainer: `accelerator` cpu, gpu or mps, strategy and precision."""

    accelerator: str
    strategy: str
    precision: str
    threads: int | None = None
    """Threads on the CPU; None where each fit is to find out."""
    devices: int = 1
    """Devices on each machine, a process for each."""
    nodes: int = 1
    """Machines."""

    @property
    def device(self) -> torch.device:
        """The device of tensors that are computed on outside of Lightning."""
        return torch.device({"gpu": "cuda"}.get(self.accelerator, self.accelerator))


def resolve(config: TrainerConfig) -> Hardware:
    """Resolve the settings that are `auto`; raise ConfigError where others ask for what is not there."""
    available = {"cpu": True, "gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if config.accelerator == "auto":
        accelerator = next(name for name in ("gpu", "mps", "cpu") if available[name])
    elif available[config.accelerator]:
        accelerator = config.accelerator
    else:
        raise ConfigError(f"trainer.accelerator: no '{config.accelerator}' on this machine; use auto or cpu")
    precision = config.precision
    if precision == "auto":
        precision = "bf16-mixed" if multiplies_in_bf16(accelerator) else "32-true"
    if precision == "16-mixed" and accelerator == "cpu":
        raise ConfigError("trainer.precision: '16-mixed' needs a GPU; use auto, bf16-mixed or 32-true")
    here = {"gpu": torch.cuda.device_count(), "mps": 1}.get(accelerator, config.devices)
    if config.devices > max(1, here):
        raise ConfigError(
            f"trainer.devices: {config.devices} asked for, and this machine has {here} of '{accelerator}'; "
            "write so many, or trainer.accelerator=cpu"
        )
    threads = None if config.threads == "auto" else config.threads
    return Hardware(accelerator, config.strategy, precision, threads, config.devices, config.num_nodes)


def multiplies_in_bf16(accelerator: str) -> bool:
    """Tell whether the hardware has bfloat16 matrix products; elsewhere they are emulated and slow."""
    if accelerator == "gpu":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator == "cpu" and platform.system() == "Linux":
        flags = Path("/proc/cpuinfo").read_text(errors="replace")
        return "avx512_bf16" in flags or "amx_bf16" in flags
    return False
