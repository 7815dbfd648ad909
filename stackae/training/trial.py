"""Steps on trial, outside of a fit: what one costs, and whether it fits into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from stackae.data.batches import Batch
from stackae.stage_context import StageContext
from stackae.tasks import Task


def steps_on_trial(context: StageContext, task: Task, batch: Batch) -> Callable[[], None]:
    """Return what takes an optimiser step of a task on a batch, as a fit would; it changes the task."""
    device = context.hardware.device
    autocast_type = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(context.hardware.precision)
    moved = batch.to(device)
    configured = task.to(device).train().configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    assert isinstance(optimizer, torch.optim.Optimizer)

    def step() -> None:
        with torch.autocast(device.type, autocast_type, enabled=autocast_type is not None):
            loss = task.loss(moved)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step
