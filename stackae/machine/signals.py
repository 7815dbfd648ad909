"""Signals that ask for an end: heeded at the next safe point, and within two seconds wherever they fall.

Ctrl-C, and what schedulers send before they kill. In a fit, the safe point is the end of a batch, where a
checkpoint is written first. A second signal raises at once. Python hears of a signal only once the C code
it is in returns, and drops an exception that is raised inside a finaliser; so a thread of its own hears of
it too, hurries a fit that finds no safe point, and in the end stops the process by force. That harms
nothing: what is on disk is valid at every moment.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
# So long may a safe point take to come, and so long everything together.
PATIENCE, LIMIT = 1.0, 1.8


class Stopped(BaseException):
    """A signal asked for an end; `number` is the signal's. No Exception, so that no `except` swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Watch:
    """The signals that have come while `watched` lasts, and whether they were heeded."""

    def __init__(
        self, last_words: Callable[[int], str], tell_kept: Callable[[str, str], object] | None
    ) -> None:
        self._last_words, self.tell_kept = last_words, tell_kept
        self.number: int | None = None
        self._heeded = False
        self._told = False
        self.over = threading.Event()
        self.deferring = False
        self.pass_on: Callable[[int], object] | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        # One that others have told of already may yet come itself, and is the same one.
        first, self._told = self.number is None or self._told, False
        if first:
            self.number = number
        if not (first and self.deferring):
            self.stop()

    def ask(self, number: int) -> None:
        if self.number is None:
            if self.deferring:
                self.number, self._told = number, True
            else:
                os.kill(os.getpid(), number)

    def asked(self) -> bool:
        self._heeded = self.number is not None
        return self._heeded

    def stop(self) -> NoReturn:
        assert self.number is not None
        self._heeded = True
        raise Stopped(self.number)

    def listen(self, pipe: int, main_thread: int) -> None:
        """Wait, in a thread of its own, for a byte with a signal's number, and then for its being heeded."""
        number = next((byte[0] for byte in iter(lambda: os.read(pipe, 1), b"") if byte[0] in SIGNALS), None)
        if number is not None and self.pass_on is not None:
            with suppress(Exception):  # of what it is passed on through
                self.pass_on(number)
        if number is None or self.over.wait(PATIENCE):
            return
        if not self._heeded:
            signal.pthread_kill(main_thread, number)
        if not self.over.wait(LIMIT - PATIENCE):
            cursor = "\x1b[?25h\n" if os.isatty(2) else ""  # a progress bar hides the cursor
            end(number, cursor + self._last_words(number))


_watch: _Watch | None = None
_kept: dict[str, str] = {}


@contextmanager
def watched(
    last_words: Callable[[int], str], tell_kept: Callable[[str, str], object] | None = None
) -> Iterator[None]:
    """Have signals raise Stopped while the context lasts; then whoever had them before has them again.

    `last_words` makes the line that is printed where the process has to be ended by force, from the
    signal's number. `tell_kept` is called with what `keep` is, for whoever prints such a line instead. What
    was ignored before, as SIGHUP by `nohup`, stays so, Ctrl-C aside. Where a signal broke a library's import,
    what comes of that is the signal's doing. Nothing is changed outside of the main thread, where Python
    allows no handlers, and where threads cannot be sent signals.
    """
    global _watch
    if not (_in_main_thread() and hasattr(signal, "pthread_kill")):
        yield
        return
    _kept.clear()
    _watch = watch = _Watch(last_words, tell_kept)
    reading_end, writing_end = os.pipe()
    os.set_blocking(writing_end, False)
    restore_handlers = save_handlers()
    listener = threading.Thread(target=watch.listen, args=(reading_end, threading.get_ident()), daemon=True)
    listener.start()
    wakeup_before = signal.set_wakeup_fd(writing_end, warn_on_full_buffer=False)
    try:
        for number in SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, watch.handle)
        yield
    except (ImportError, AttributeError, TypeError, NameError, SystemError):
        # A library that a signal fell upon while it was imported fails wherever it is used next.
        if watch.number is None:
            raise
        raise Stopped(watch.number) from None
    finally:
        restore_handlers()
        signal.set_wakeup_fd(wakeup_before)
        _watch = None
        watch.over.set()
        os.close(writing_end)
        listener.join()
        os.close(reading_end)


def save_handlers() -> Callable[[], None]:
    """Return a function that gives the signals back to those who handle them now."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        if _in_main_thread():
            for number, handler in handlers.items():
                if handler is not None:  # None: not Python's, and not to be had from here
                    signal.signal(number, handler)

    return restore


@contextmanager
def deferred() -> Iterator[None]:
    """Leave signals to the safe points for a while: `asked` and `check`, at least once a second."""
    if _watch is None:
        yield
        return
    _watch.deferring = True
    try:
        yield
    finally:
        if _watch is not None:
            _watch.deferring = False
    check()


@contextmanager
def relayed(pass_on: Callable[[int], object]) -> Iterator[None]:
    """Call `pass_on`, from another thread, with the number of a signal that comes while the context lasts."""
    if _watch is None:
        yield
        return
    _watch.pass_on = pass_on
    try:
        yield
    finally:
        if _watch is not None:
            _watch.pass_on = None


def ask(number: int) -> None:
    """Ask for an end as this signal would, for which another process got it; from any thread."""
    if _watch is None:
        os.kill(os.getpid(), number)
    else:
        _watch.ask(number)


def number_asked() -> int:
    """Return the number of the signal that has come, 0 for none; as `asked` does."""
    return (_watch.number or 0) if _watch is not None and _watch.asked() else 0


def asked() -> bool:
    """Tell whether a signal has come; whoever asks saves what is to be saved, and then calls `check`."""
    return _watch is not None and _watch.asked()


def check() -> None:
    """Raise Stopped if a signal has come that did not get through."""
    if _watch is not None and _watch.asked():
        _watch.stop()


def keep(stage: str, upto: str = "") -> None:
    """Note what a stop would leave of a stage: all of it, or what is done up to the place `upto`."""
    _kept[stage] = f"{stage} up to {upto}" if upto else stage
    if _watch is not None and _watch.tell_kept is not None:
        _watch.tell_kept(stage, upto)


def kept() -> str:
    """Describe what is kept, as `data, pretrain-1, and pretrain-2 up to epoch 7, batch 3`; or nothing."""
    *earlier, last = [*_kept.values()] or [""]
    return ", ".join([*earlier, f"and {last}" if earlier and " " in last else last])


def end(number: int, last_words: str) -> NoReturn:
    """End the process at once after a signal, by the shell's convention with 128 and the signal's number.

    What else happens at the end of a process takes seconds on a busy machine, and libraries wait there for
    servers; nothing of it is needed.
    """
    end_with(128 + number, last_words)


def end_with(code: int, last_words: str) -> NoReturn:
    """End the process at once with an exit code."""
    with suppress(OSError):
        if last_words:
            # Not through sys.stderr, which another thread may be in the middle of.
            os.write(2, f"{last_words}\n".encode())
    os._exit(code)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
