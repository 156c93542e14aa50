"""Ctrl-C between two steps, never inside one: half a step would be lost or, worse, saved."""

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
"""Of work between two times that processes ask each other: a launcher kills them 30 seconds after Ctrl-C."""


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Holds back the first SIGINT or SIGTERM; the function that it gives says whether one came. A second one strikes.

    Outside the main thread, where signals cannot be caught, nothing is held back.
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
    """Lets the processes of a run stop at the same step, whichever of them were interrupted.

    They ask each other at steps that all of them know, `ASK_SECONDS` of work apart by the time that steps have taken.
    Asking waits for the device. One process needs to ask nobody.

    Args:
        accelerator: the processes.
        done: steps that are done.
    """

    def __init__(self, accelerator: Accelerator, done: int) -> None:
        self._accelerator, self._asked, self._next, self._time = accelerator, done, done + 1, time.monotonic()

    def stop(self, interrupted: bool, done: int) -> bool:
        """Whether to stop after step `done`.

        Args:
            interrupted: whether this process was.
            done: steps that are done, one more at each call.
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
