"""A stage as it is planned: all that there is to know of it before it runs, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from stackae.store import chained_key


@dataclass(frozen=True)
class Stage:
    """A stage of a run: what carries it out, what its key covers, what it reads, and how much it writes."""

    name: str
    """What people call it, as `pretrain-2`."""
    kind: str
    """What carries it out, as `pretrain`: a name in `stages.WORK`."""
    key: str
    parent: str
    """The key of the stage that it starts from, empty for the data."""
    settings: Mapping[str, Any]
    """What its key covers beside the parent."""
    section: str
    """Where in the config its settings are, as `layers.1`."""
    reads: tuple[str, ...]
    """The stages whose features it reads, by name, the lowest first."""
    needs: tuple[str, ...]
    """The stages beside its parent whose results it takes, by name."""
    below: str | None
    """The stage from whose features its own are made; None where it has none, or they are the data."""
    epochs: int | None
    """How often it goes through its rows, at most; None where that means nothing."""
    size: Callable[[], int] = field(compare=False, repr=False)
    """About how many bytes its files will take; checkpoints, which go in the end, are not counted."""


def describe(
    name: str,
    parent: str,
    settings: Mapping[str, Any],
    *,
    kind: str | None = None,
    section: str | None = None,
    reads: tuple[str, ...] = (),
    needs: tuple[str, ...] = (),
    below: str | None = None,
    epochs: int | None = None,
    size: Callable[[], int] = lambda: 0,
) -> Stage:
    """Describe a stage; its key covers the parent's key, its name, and the settings.

    Kind and section are called like the stage where they are left out. Settings that have their defaults are
    not to be among `settings`, so that a new option moves no key: see `config.section.changed`.
    """
    key = chained_key(parent, {"stage": name} | dict(settings))
    return Stage(
        name, kind or name, key, parent, settings, section or name, reads, needs, below, epochs, size
    )


def weight_bytes(module: nn.Module) -> int:
    """Return the number of bytes that a module's tensors take in a file."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
