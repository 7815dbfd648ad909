"""What the processes of a fit find out about each other, at a batch that is the same for all."""

from __future__ import annotations

import time

from stackae.errors import TrainingError
from stackae.machine import signals
from stackae.ranks.team import Team

# They ask each other so often, in seconds, and once in so many batches at the least.
EVERY, MOST = 0.2, 1000


class Agreement:
    """Lets all processes of a team save, stop or fail after the same batch, whichever of them had cause to.

    Not at every batch, where they would wait for each other, but after so many as the leader says the time
    before. Alone it answers at once.
    """

    def __init__(self, team: Team, *, always: bool) -> None:
        self._team, self._always = team, always
        self._left, self._taken, self._since = 1, 0, time.monotonic()
        self._fault = ""
        self.signal = 0
        """The number of the signal that one of them got; 0: none."""

    def hold(self, fault: TrainingError) -> None:
        """Keep a fault that this process alone may have, until all hear of it; raise it where it is alone."""
        if self._team.size == 1:
            raise fault
        self._fault = self._fault or str(fault)

    def reached(self, *, due: bool, ends: bool = False) -> bool:
        """Return whether all are to save after this batch, or after the epoch that it `ends`.

        One is enough that is asked to stop, but `due` is for the leader to say. TrainingError where one of
        them has failed.
        """
        if self._team.size == 1:
            self.signal = signals.number_asked()
            return due or self.signal > 0
        if not ends:
            self._taken += 1
            self._left -= 1
            if self._left > 0:
                return False
        given = {"due": due, "signal": signals.number_asked(), "fault": self._fault, "left": self._next()}
        told = self._team.gather(given)
        self._left, self._taken, self._since = told[0]["left"], 0, time.monotonic()
        for each in told:
            if each["fault"]:
                raise TrainingError(each["fault"])
        self.signal = max(each["signal"] for each in told)
        return told[0]["due"] or self.signal > 0

    def stop(self) -> None:
        """Raise Stopped where one of them got a signal."""
        if self.signal:
            raise signals.Stopped(self.signal)
        if self._team.size == 1:
            signals.check()

    def _next(self) -> int:
        seconds = (time.monotonic() - self._since) / max(1, self._taken)
        return 1 if self._always else max(1, min(MOST, int(EVERY / max(seconds, 1e-9))))
