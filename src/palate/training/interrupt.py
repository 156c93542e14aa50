"""Ctrl-C between two steps, never inside one: half a step would be lost or, worse, saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

RELAYED = 1.0  # seconds within which a launcher of several processes passes a signal on that they had already


@contextmanager
def deferred_interrupt(relayed: float = 0.0) -> Iterator[Callable[[], bool]]:
    """Holds back the first SIGINT or SIGTERM; the function that it gives says whether one came. A second one strikes.

    Outside the main thread, where signals cannot be caught, nothing is held back.

    Args:
        relayed: seconds after the first within which others are the same one again: Ctrl-C reaches every process of a
            terminal, and then their launcher sends it to them once more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    first: float | None = None

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is not None and now - first >= relayed:
            raise KeyboardInterrupt
        first = first or now

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: first is not None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
