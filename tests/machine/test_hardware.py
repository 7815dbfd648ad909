"""Hardware: `auto` is settled by what the machine has, and what it lacks is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stackae.config import TrainerConfig
from stackae.errors import ConfigError
from stackae.machine import hardware
from stackae.machine.hardware import Hardware, resolve


def trainer(**words: object) -> TrainerConfig:
    return TrainerConfig.model_validate(words)


@pytest.fixture
def has(monkeypatch: pytest.MonkeyPatch):
    """Makes the machine one with these accelerators, and with or without products in bfloat16."""

    def make(*accelerators: str, bf16: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "gpu" in accelerators)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in accelerators)
        monkeypatch.setattr(hardware.platform, "system", lambda: "Linux")
        flags = "flags : fpu avx512_bf16 sse" if bf16 else "flags : fpu avx512f sse"
        monkeypatch.setattr(Path, "read_text", lambda path, errors: flags)

    return make


@pytest.mark.parametrize(
    ("present", "expected"),
    [((), "cpu"), (("gpu",), "gpu"), (("mps",), "mps"), (("gpu", "mps"), "gpu")],
)
def test_auto_takes_an_accelerator_if_there_is_one(has, present: tuple[str, ...], expected: str) -> None:
    has(*present)
    assert resolve(trainer()).accelerator == expected
    assert resolve(trainer(accelerator="cpu")).accelerator == "cpu"


@pytest.mark.parametrize("absent", ["gpu", "mps"])
def test_an_accelerator_that_is_not_there_is_said(has, absent: str) -> None:
    has()
    with pytest.raises(ConfigError, match=rf"trainer\.accelerator: no '{absent}' .* use auto or cpu"):
        resolve(trainer(accelerator=absent))


@pytest.mark.parametrize("accelerator", ["cpu", "gpu"])
@pytest.mark.parametrize("bf16", [True, False])
def test_auto_precision_follows_the_hardware(has, accelerator: str, bf16: bool) -> None:
    has("gpu", bf16=bf16)
    settled = resolve(trainer(accelerator=accelerator))
    assert settled.precision == ("bf16-mixed" if bf16 else "32-true")
    asked = resolve(trainer(accelerator=accelerator, precision="32-true"))
    assert asked.precision == "32-true"


def test_half_precision_needs_a_gpu(has) -> None:
    has("gpu")
    assert resolve(trainer(accelerator="gpu", precision="16-mixed")).precision == "16-mixed"
    with pytest.raises(ConfigError, match=r"'16-mixed' needs a GPU; use auto, bf16-mixed or 32-true"):
        resolve(trainer(accelerator="cpu", precision="16-mixed"))


def test_more_devices_than_there_are_are_refused(has, monkeypatch: pytest.MonkeyPatch) -> None:
    has("gpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"trainer\.devices: 4 asked for, .* has 2 of 'gpu'; write so many"):
        resolve(trainer(devices=4))
    assert resolve(trainer(devices=2)).devices == 2


def test_on_a_cpu_there_are_as_many_devices_as_are_asked_for(has) -> None:
    has()
    hardware = resolve(trainer(devices=9, num_nodes=2))
    assert (hardware.accelerator, hardware.devices, hardware.nodes) == ("cpu", 9, 2)


def test_lightnings_names_become_torchs() -> None:
    devices = {name: Hardware(name, "auto", "32-true").device.type for name in ("cpu", "gpu", "mps")}
    assert devices == {"cpu": "cpu", "gpu": "cuda", "mps": "mps"}


def test_this_machine_is_settled_without_a_word() -> None:
    settled = resolve(trainer(accelerator="cpu"))
    assert settled.precision in {"32-true", "bf16-mixed"}
    assert settled.device == torch.device("cpu")
