"""Ctrl-C is held back once; what a launcher of several processes relays is not a second one."""

from __future__ import annotations

import os
import signal

import pytest

from palate.training import interrupt
from palate.training.interrupt import deferred_interrupt


def test_the_first_signal_is_held_back_and_the_second_strikes():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as came:
        assert not came()
        os.kill(os.getpid(), signal.SIGTERM)
        assert came()
        os.kill(os.getpid(), signal.SIGINT)


def test_a_relayed_signal_is_the_same_one_until_its_time_is_over(monkeypatch):
    now = 100.0
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now)
    with pytest.raises(KeyboardInterrupt), deferred_interrupt(relayed=1.0) as came:
        os.kill(os.getpid(), signal.SIGINT)
        now = 100.5
        os.kill(os.getpid(), signal.SIGTERM)
        assert came()
        now = 101.5
        os.kill(os.getpid(), signal.SIGINT)
