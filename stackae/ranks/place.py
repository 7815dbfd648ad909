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
    # Others than torchrun may number processes that have nothing to do with each other.
    name = "RANK" if "TORCHELASTIC_RUN_ID" in os.environ else "LOCAL_RANK"
    return os.environ.get(name, "0") == "0"


def settle(leader: bool) -> None:
    """Note, once the processes have found each other, whether this one leads."""
    global _leads
    _leads = leader
