"""Means of what training measures, kept on the device until somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palate.objectives.metrics import Partly

if TYPE_CHECKING:
    from accelerate import Accelerator


class Meter:
    """Sums and counts by name. Adding never waits for the device; fetching does."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # the sum and the count [2] of each name

    def add(self, **values: Tensor | Partly) -> None:
        """Adds measurements [B] of each name; those of a `Partly` that were not measured count nowhere."""
        for name, value in values.items():
            if isinstance(value, Partly):
                total = torch.stack([value.value.float().where(value.measured, 0.0).sum(), value.measured.sum()])
            else:
                total = torch.stack([value.float().sum(), value.new_full((), value.numel(), dtype=torch.float32)])
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def fetch(self, accelerator: Accelerator) -> dict[str, float]:
        """The mean by name over all processes since the last call."""
        state = self.state(accelerator)
        self._sums = {}
        return {name: total / count for name, (total, count) in state.items() if count}

    def state(self, accelerator: Accelerator) -> dict[str, tuple[float, int]]:
        """Sum and count by name over all processes, for a checkpoint."""
        if not self._sums:
            return {}
        summed: Any = accelerator.reduce(torch.stack(list(self._sums.values())), "sum")
        return {name: (total, int(count)) for name, (total, count) in zip(self._sums, summed.tolist())}

    def restore(self, state: dict[str, tuple[float, int]], device: torch.device) -> None:
        """Goes on from a checkpoint's state."""
        self._sums = {name: torch.tensor([total, count], device=device) for name, (total, count) in state.items()}
