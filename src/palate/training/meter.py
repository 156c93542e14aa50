"""Means of the metrics of training, kept on the device until they are read, and the first step that was not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from palate.objectives.metrics import PartialMetric

if TYPE_CHECKING:
    from accelerate import Accelerator

NEVER = torch.iinfo(torch.int64).max


class NotFiniteMetrics(NamedTuple):
    """The names of metrics that are not finite, and the first step in which one of them was not."""

    step: int
    names: list[str]


class Meter:
    """Sums and counts of metrics by name. `add` and `mark` never wait for the device; the other methods do."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # the sum and the count [2] of each name
        self._since: Tensor | None = None  # the first step with a sum that is not finite

    def add(self, **values: Tensor | PartialMetric) -> None:
        """Adds measurements [B] by name; the examples without a value in a `PartialMetric` are not counted."""
        for name, value in values.items():
            if isinstance(value, PartialMetric):
                total = torch.stack([value.value.float().where(value.measured, 0.0).sum(), value.measured.sum()])
            else:
                total = torch.stack([value.float().sum(), value.new_full((), value.numel(), dtype=torch.float32)])
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def mark(self, step: int) -> None:
        """Ends a step, numbered from 1: if one of its metrics is not finite, `not_finite` will name the step."""
        if self._sums:
            finite = torch.stack(list(self._sums.values())).isfinite().all()
            since = finite.new_full((), NEVER, dtype=torch.int64) if self._since is None else self._since
            self._since = since.where(finite, since.clamp(max=step))

    def not_finite(self, accelerator: Accelerator) -> NotFiniteMetrics | None:
        """The metrics since the last `fetch` that are not finite in some process; None if all are finite."""
        if self._since is None:
            return None
        since: Any = accelerator.gather(self._since.view(1))
        step = int(since.min())
        if step == NEVER:
            return None
        totals = self.state(accelerator)
        finite = torch.tensor(list(totals.values())).isfinite().all(1).tolist()
        return NotFiniteMetrics(step, [name for name, fine in zip(totals, finite) if not fine])

    def fetch(self, accelerator: Accelerator) -> dict[str, float]:
        """The means by name over all processes since the last call."""
        state = self.state(accelerator)
        self._sums, self._since = {}, None
        return {name: total / count for name, (total, count) in state.items() if count}

    def state(self, accelerator: Accelerator) -> dict[str, tuple[float, int]]:
        """The sums and counts by name over all processes, for a checkpoint."""
        if not self._sums:
            return {}
        summed: Any = accelerator.reduce(torch.stack(list(self._sums.values())), "sum")
        return {name: (total, int(count)) for name, (total, count) in zip(self._sums, summed.tolist())}

    def restore(self, state: dict[str, tuple[float, int]], device: torch.device) -> None:
        """Continues from a checkpoint's state."""
        self._sums = {name: torch.tensor([total, count], device=device) for name, (total, count) in state.items()}
