"""Means of what training measures, kept on the device until somebody asks; and since when they are not finite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from palate.objectives.metrics import PartialMetric

if TYPE_CHECKING:
    from accelerate import Accelerator

NEVER = torch.iinfo(torch.int64).max


class Broken(NamedTuple):
    """Measurements that are not finite: the step that measured the first of them, and their names."""

    step: int
    names: list[str]


class Meter:
    """Sums and counts by name. Adding and marking never wait for the device; everything else does."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}  # the sum and the count [2] of each name
        self._since: Tensor | None = None  # the first step with a sum that is not finite

    def add(self, **values: Tensor | PartialMetric) -> None:
        """Adds measurements [B] of each name; those of a `PartialMetric` that were not measured count nowhere."""
        for name, value in values.items():
            if isinstance(value, PartialMetric):
                total = torch.stack([value.value.float().where(value.measured, 0.0).sum(), value.measured.sum()])
            else:
                total = torch.stack([value.float().sum(), value.new_full((), value.numel(), dtype=torch.float32)])
            self._sums[name] = self._sums[name] + total if name in self._sums else total

    def mark(self, step: int) -> None:
        """Ends a step, 1 or later: if a number that it measured is not finite, `broken` will name the step."""
        if self._sums:
            finite = torch.stack(list(self._sums.values())).isfinite().all()
            since = finite.new_full((), NEVER, dtype=torch.int64) if self._since is None else self._since
            self._since = since.where(finite, since.clamp(max=step))

    def broken(self, accelerator: Accelerator) -> Broken | None:
        """What was measured since the last `fetch` that is not finite, on any process; None if all of it is."""
        if self._since is None:
            return None
        since: Any = accelerator.gather(self._since.view(1))
        step = int(since.min())
        if step == NEVER:
            return None
        totals = self.state(accelerator)
        finite = torch.tensor(list(totals.values())).isfinite().all(1).tolist()
        return Broken(step, [name for name, fine in zip(totals, finite) if not fine])

    def fetch(self, accelerator: Accelerator) -> dict[str, float]:
        """The mean by name over all processes since the last call."""
        state = self.state(accelerator)
        self._sums, self._since = {}, None
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
