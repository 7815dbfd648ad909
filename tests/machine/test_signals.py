"""A signal is heeded where it is safe to stop, is never lost, and leaves the handlers as they were."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

import pytest

from stackae.machine import signals
from stackae.machine.signals import Stopped


def unused(number: int) -> str:
    raise AssertionError("nothing had to be ended by force")


class Finalised:
    """A signal comes while it is taken away."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def handlers() -> dict[int, object]:
    return {number: signal.getsignal(number) for number in signals.SIGNALS}


def press(number: int, deferred: bool = False) -> None:
    """Raises one of the signals, which is watched for, and reaches a safe point."""
    with signals.watched(unused):
        if deferred:
            with signals.deferred():
                signal.raise_signal(number)
                assert signals.asked()
                signals.check()
        else:
            signal.raise_signal(number)
    raise AssertionError("went on after a signal")


@pytest.mark.parametrize("deferred", [True, False])
@pytest.mark.parametrize("name", signals.NAMES)
def test_each_signal_stops_and_is_named(name: str, deferred: bool) -> None:
    before = handlers()
    with pytest.raises(Stopped) as stop:
        press(signal.Signals[name], deferred)
    assert stop.value.number == signal.Signals[name]
    assert handlers() == before
    signals.check()


def import_broken(*, interrupted: bool) -> None:
    with signals.watched(unused):
        if interrupted:
            with suppress(Stopped):
                signal.raise_signal(signal.SIGINT)
        raise ImportError("cannot load module more than once per process")


def test_what_comes_of_an_interrupted_import_is_the_signals_doing() -> None:
    with pytest.raises(Stopped):
        import_broken(interrupted=True)
    with pytest.raises(ImportError):
        import_broken(interrupted=False)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_inside_a_finaliser_is_remembered() -> None:
    with signals.watched(unused):
        signals.check()
        made = Finalised()
        del made
        with pytest.raises(Stopped):
            signals.check()


def test_a_signal_is_left_to_the_safe_point_and_a_second_one_is_not() -> None:
    def run() -> None:
        with signals.watched(unused), signals.deferred():
            signal.raise_signal(signal.SIGINT)
            reached.append("went on")
            signal.raise_signal(signal.SIGINT)
            reached.append("went on after the second")

    reached: list[str] = []
    with pytest.raises(Stopped):
        run()
    assert reached == ["went on"]


def test_whoever_finds_no_safe_point_is_interrupted_all_the_same() -> None:
    def run() -> None:
        with signals.watched(unused), signals.deferred():
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)

    started = time.monotonic()
    with pytest.raises(Stopped):
        run()
    assert time.monotonic() - started < 30


def test_a_signal_during_the_last_batch_stops_after_it() -> None:
    def run() -> None:
        with signals.watched(unused):
            with signals.deferred():
                signal.raise_signal(signal.SIGTERM)
            raise AssertionError("went on to the next thing")

    with pytest.raises(Stopped):
        run()


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.watched(unused):
            signal.raise_signal(signal.SIGHUP)
            signals.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_wakeup_pipe_of_others_comes_back() -> None:
    mine = signal.set_wakeup_fd(-1)
    with signals.watched(unused):
        pass
    assert signal.set_wakeup_fd(mine) == -1


def test_in_another_thread_nothing_is_changed() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with signals.watched(unused), signals.deferred():
            seen.append(handlers())
            signals.check()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_is_kept_is_told_in_words() -> None:
    with signals.watched(unused):
        assert signals.kept() == ""
        signals.keep("data")
        assert signals.kept() == "data"
        signals.keep("pretrain-1", "epoch 1, batch 2")
        signals.keep("pretrain-1", "the end of epoch 3")
        assert signals.kept() == "data, and pretrain-1 up to the end of epoch 3"
        signals.keep("pretrain-1")
        assert signals.kept() == "data, pretrain-1"
