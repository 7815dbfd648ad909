"""A Ctrl-C that cannot get lost.

Python drops an exception that is raised inside a finaliser, and with it a Ctrl-C that falls into one. So
the press is remembered, and the run asks for it wherever it is safe to stop.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_pressed = threading.Event()


@contextmanager
def remembered() -> Iterator[None]:
    """Remembers a Ctrl-C while the context lasts, besides raising KeyboardInterrupt at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _pressed.clear()
    before = signal.signal(signal.SIGINT, _press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _pressed.clear()


def check() -> None:
    """Raises KeyboardInterrupt if Ctrl-C was pressed and the interrupt did not get through."""
    if _pressed.is_set():
        raise KeyboardInterrupt


def _press(number: int, frame: FrameType | None) -> None:
    _pressed.set()
    raise KeyboardInterrupt
