"""Handles Ctrl-C between two steps, never inside one, so that no half-finished step is lost or saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

ASK_SECONDS = 1.0
"""Seconds of work after which processes ask each other again: a launcher kills them 30 seconds after Ctrl-C."""


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Defers the first SIGINT or SIGTERM; yields a function that says whether one has arrived.

    A second signal raises KeyboardInterrupt at once. Outside the main thread, where signals cannot be caught, nothing
    is deferred.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class JointStop:
    """Makes all processes of a run stop at the same step, whichever of them were interrupted.

    The processes ask each other at steps that all of them know, about `ASK_SECONDS` of work apart, estimated from the
    duration of earlier steps. Asking waits for the device. A single process does not ask.

    Args:
        accelerator: the processes.
        done: number of steps that are done.
    """

    def __init__(self, accelerator: Accelerator, done: int) -> None:
        self._accelerator, self._asked, self._next, self._time = accelerator, done, done + 1, time.monotonic()

    def stop(self, interrupted: bool, done: int) -> bool:
        """Whether to stop after step `done`.

        Args:
            interrupted: whether this process was interrupted.
            done: number of steps that are done; one more at each call.
        """
        if self._accelerator.num_processes == 1:
            return interrupted
        if done < self._next:
            return False
        now = time.monotonic()
        mine = [float(interrupted), (now - self._time) / (done - self._asked)]
        mean: Any = self._accelerator.reduce(torch.tensor(mine, device=self._accelerator.device), "mean")
        stop, seconds = mean.tolist()
        self._asked, self._time, self._next = done, now, done + max(1, int(ASK_SECONDS / max(seconds, 1e-3)))
        return stop > 0
