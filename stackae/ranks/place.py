"""Which of a run's processes this is, as far as the environment says; needs no library."""

from __future__ import annotations

import os

_leads: bool | None = None


def leads() -> bool:
    """Tell whether this process is the one of a run that writes, prints, and sets the exit code.

    What torchrun or Lightning say in the environment counts until the processes have found each other.
    """
    if _leads is not None:
        return _leads
    # NODE_RANK is what Lightning is told where it starts the processes of several machines.
    names = ("RANK", "LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


def settle(leader: bool) -> None:
    """Note, once the processes have found each other, whether this one leads."""
    global _leads
    _leads = leader
