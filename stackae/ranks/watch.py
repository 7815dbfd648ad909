"""A thread in each process of a team that hears of the others' failures and signals, whatever they do.

A process that waits in an exchange hears of nothing: on a CPU its connection breaks where another one ends,
on a GPU not even that. What is said here goes through the store that the processes have found each other by.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from stackae import errors
from stackae.errors import StackaeError, TrainingError
from stackae.machine import signals
from stackae.machine.memory import ran_out
from stackae.ranks import start
from stackae.ranks.team import Team

# How often it looks, and how long whoever is to end may take to do so by himself, in seconds: the leader may
# have to wait until what it has logged is sent.
EVERY, GRACE, LEADERS_GRACE = 0.2, 3.0, 20.0
LOST = (
    "one of the processes of trainer.devices ended by itself, perhaps for want of memory; what was done is "
    "kept: start the run again"
)

_runs = itertools.count()


@contextmanager
def together(team: Team) -> Iterator[None]:
    """Have all of a team end, with the leader's line and exit code, where one of them fails in this context.

    A signal that one of them gets is heard by all. TrainingError where one ended without a word.
    """
    if team.size == 1:
        yield
        return
    watch = _Watch(team)
    try:
        with signals.relayed(watch.pass_on):
            yield
        watch.over.set()
        team.meet()
    except Exception as fault:
        watch.over.set()
        raise watch.answer(fault) from (None if isinstance(fault, StackaeError) else fault)
    finally:
        watch.over.set()


class _Watch:
    def __init__(self, team: Team) -> None:
        self._leads = team.leads
        # What an earlier start under torchrun has left there is not meant for this one.
        again, number = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), next(_runs)
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        server = TCPStore(address, port, is_master=False, wait_for_workers=False)
        self._store = PrefixStore(f"stackae/{again}/{number}", server)
        self.over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def pass_on(self, number: int) -> None:
        """Tell the others of a signal that this process got."""
        self._store.set("signal", str(number))

    def answer(self, fault: Exception) -> Exception:
        """Tell the others of a failure, and return what this process is to raise."""
        lost = _is_lost(fault)
        told = self._failure() if lost else None
        with suppress(Exception):
            if self._leads:
                self._store.set("ended", "")
            elif not lost:
                message = str(fault) if isinstance(fault, StackaeError) else traceback.format_exc()
                self._store.set("failed", json.dumps([type(fault).__name__, message]))
        return told or (TrainingError(LOST) if lost else fault)

    def _failure(self) -> Exception | None:
        """Return what another one said that it failed of."""
        with suppress(Exception):
            if self._store.check(["failed"]):
                name, message = json.loads(self._store.get("failed"))
                kind = getattr(errors, name, None)
                return kind(message) if kind is not None else RuntimeError(message)
        return None

    def _watch(self) -> None:
        heard = False
        while not self.over.wait(EVERY):
            try:
                if not heard and self._store.check(["signal"]):
                    heard = True
                    signals.ask(int(self._store.get("signal")))
                ended = self._store.check(["failed" if self._leads else "ended"])
            except Exception:  # whoever has the store is gone, and with him the leader
                ended = not self._leads
            if (ended or _orphaned()) and not self.over.wait(LEADERS_GRACE if self._leads else GRACE):
                self._end()

    def _end(self) -> None:
        """End a process that waits in vain."""
        line = str(self._failure() or LOST) if self._leads else ""
        with suppress(Exception):
            if self._leads:
                self._store.set("ended", "")
        signals.end_with(1, line)


def _orphaned() -> bool:
    """Tell whether a process that this one has started ended by itself."""
    return any(child.poll() not in (None, 0) for child in start.children)


def _is_lost(fault: Exception) -> bool:
    """Tell whether an error means that another process has gone."""
    if isinstance(fault, dist.DistError):
        return True
    signs = ("Connection closed by peer", "Connection reset", "Broken pipe", "gloo", "NCCL")
    return (
        isinstance(fault, RuntimeError) and not ran_out(fault) and any(each in str(fault) for each in signs)
    )
