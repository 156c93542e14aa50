"""Ctrl-C is deferred once, and several processes stop at the same step."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from palate.training import interrupt
from palate.training.interrupt import JointStop, deferred_interrupt


def test_the_first_signal_is_deferred_and_the_second_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as came:
        assert not came()
        os.kill(os.getpid(), signal.SIGTERM)
        assert came()
        os.kill(os.getpid(), signal.SIGINT)


def pair(other_interrupted: bool = False) -> Any:
    """The accelerator of one of two processes, which counts how often it asks the other."""

    def reduce(mine: torch.Tensor, how: str) -> torch.Tensor:
        asked.append(mine)
        return (mine + torch.tensor([float(other_interrupted), mine[1]])) / 2

    asked: list[torch.Tensor] = []
    return SimpleNamespace(num_processes=2, device="cpu", reduce=reduce, asked=asked)


def test_a_single_process_asks_no_other():
    alone: Any = SimpleNamespace(num_processes=1)
    agreement = JointStop(alone, 0)
    assert not agreement.stop(False, 1) and agreement.stop(True, 2)


@pytest.mark.parametrize(("seconds", "asked"), [(0.125, [8, 16, 24]), (20.0, [8, 9, 10, 11])])
def test_processes_ask_each_other_every_few_seconds_of_work(monkeypatch, seconds, asked):
    now, times = 0.0, []
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now)
    accelerator = pair()
    agreement = JointStop(accelerator, 7)
    for done in range(8, 8 + (20 if seconds < 1 else 4)):
        now += seconds
        before = len(accelerator.asked)
        assert not agreement.stop(False, done)
        times += [done] * (len(accelerator.asked) - before)
    assert times == asked


def test_a_process_stops_where_the_other_was_interrupted_and_only_where_they_ask(monkeypatch):
    now = 0.0
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now)
    accelerator = pair()
    agreement = JointStop(accelerator, 0)
    now = 0.25
    assert not agreement.stop(False, 1)
    assert not agreement.stop(True, 2)  # the other does not ask here
    assert JointStop(pair(other_interrupted=True), 0).stop(False, 1)
