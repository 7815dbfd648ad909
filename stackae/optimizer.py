"""The optimiser of a fit and its schedule, as its config asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn

from stackae.config import FitConfig


def build_optimizer(
    fit: FitConfig, parts: Sequence[tuple[nn.Module, float]], steps: int
) -> OptimizerLRScheduler:
    """Build an optimiser and its schedule over so many steps for modules, each with its learning rate.

    They come in the form that Lightning takes. Biases are not decayed, and frozen parameters are left out.
    """
    # Parameters that are treated alike share a group: an optimiser's step costs so much for each.
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    seen = set[nn.Parameter]()
    for module, lr in parts:
        # A weight that is shared, as a tied one, is trained as a part of what has it first.
        own = [each for each in module.parameters() if each.requires_grad and each not in seen]
        seen.update(own)
        for parameter in own:
            decay = fit.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    given = [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in groups.items()]
    optimizer: torch.optim.Optimizer
    if fit.optimizer == "sgd":
        optimizer = torch.optim.SGD(given, momentum=fit.momentum, fused=True)
    else:
        optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[fit.optimizer](given, fused=True)
    schedule = _schedule(fit, optimizer, steps)
    if schedule is None:
        return optimizer
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _schedule(
    fit: FitConfig, optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler | None:
    schedulers = torch.optim.lr_scheduler
    peak_rates = [group["lr"] for group in optimizer.param_groups]
    if fit.schedule == "one_cycle":
        # By default it cycles the momentum too, over the configured one.
        return schedulers.OneCycleLR(optimizer, peak_rates, total_steps=steps, cycle_momentum=False)
    warmup = round(min(fit.warmup * steps / fit.epochs, steps - 1))
    rise = schedulers.LinearLR(optimizer, 1 / (warmup + 1), 1.0, total_iters=warmup) if warmup else None
    if fit.schedule == "constant":
        return rise
    fall = schedulers.CosineAnnealingLR(optimizer, T_max=steps - warmup)
    return schedulers.SequentialLR(optimizer, [rise, fall], milestones=[warmup]) if rise else fall
