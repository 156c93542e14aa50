"""A moving average of a number over the steps of a training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RunningMean:
    """`m <- d m + (1 - d) x` after each step, divided by `1 - d^n` after n steps, so that it is a mean from the first.

    Nothing here waits for the device before a checkpoint.

    Args:
        decay: d, in [0, 1); about `1 / (1 - d)` steps are averaged.
        device: where the numbers are.

    Reference of the correction: Kingma and Ba 2014 (arXiv:1412.6980), section 3.
    """

    def __init__(self, decay: float, device: torch.device) -> None:
        self._decay, self._sum, self._count = decay, torch.zeros((), dtype=torch.float64, device=device), 0

    def update(self, value: Tensor) -> None:
        """Takes in the number of one step, a scalar."""
        self._sum = self._decay * self._sum + (1 - self._decay) * value.detach().double()
        self._count += 1

    def mean(self) -> Tensor | None:
        """The average, a scalar in float32; None before the first step."""
        return (self._sum / (1 - self._decay**self._count)).float() if self._count else None

    def state(self) -> dict[str, Any]:
        """The average, for a checkpoint; waits for the device."""
        return {"sum": self._sum.item(), "count": self._count}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` returned."""
        self._sum.fill_(state["sum"])
        self._count = state["count"]
