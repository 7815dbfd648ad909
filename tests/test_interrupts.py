"""A Ctrl-C is not lost where Python drops its exception."""

from __future__ import annotations

import signal

import pytest

from stackae import interrupts


class Finalised:
    """Ctrl-C is pressed while it is taken away."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_press_inside_a_finaliser_is_remembered() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts.remembered():
        interrupts.check()
        made = Finalised()
        del made
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_press_elsewhere_interrupts_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.remembered():
        signal.raise_signal(signal.SIGINT)
