"""Validates a model while it is trained: at the beginning, every so many steps, and at the end.

A validation is done once: its line in `validation.jsonl` says that it was. It begins after the checkpoint of its step
has been saved, so that an interruption loses nothing but the validation, which the resumed run repeats. Nothing that
training depends on is changed; with a moving average of the weights, the average is validated, as it is what is saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from palate.align.validation.best import Criterion, best_row
from palate.align.validation.held_out import HeldOut
from palate.align.validation.samples import Samples
from palate.core.progress import bar
from palate.models.denoiser import Denoiser
from palate.records.jsonlines import JsonLines
from palate.training.average import WeightAverage

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

LOG = "validation.jsonl"


@dataclass(eq=False)
class Validator:
    """Implements `training.observer.Observer`.

    Attributes:
        every: steps between validations.
        steps: steps of the run.
        samples: draws and scores images, if there are validation prompts.
        held_out: measures held-out feedback, if there is any.
        criterion: by what the best model is chosen.
        denoiser: the policy.
        network: its network, not wrapped.
        average: the moving average of the weights, if one is kept.
        log: the rows that are already there are of earlier parts of the run.
        save: saves the network's present weights as the best model; called with the number of steps.
        report: writes the report; called with whether it must be written now.
        accelerator: the device and the processes.
    """

    every: int
    steps: int
    samples: Samples | None
    held_out: HeldOut | None
    criterion: Criterion
    denoiser: Denoiser
    network: nn.Module
    average: WeightAverage | None
    log: JsonLines
    save: Callable[[int], None]
    report: Callable[[bool], None]
    accelerator: Accelerator

    def __post_init__(self) -> None:
        self.rows = self.log.read()

    def resumed(self, done: int) -> None:
        """Forgets rows after step `done`; there are some only if checkpoints were deleted."""
        kept = [row for row in self.rows if row["step"] <= done]
        if len(kept) < len(self.rows) and self.accelerator.is_main_process:
            self.log.replace(kept)
        self.rows = kept

    def due(self, done: int) -> bool:
        """Whether step `done` is validated and its line is not there yet."""
        if not (self.samples or self.held_out):
            return False
        planned = done % self.every == 0 or done == self.steps
        return planned and all(row["step"] != done for row in self.rows)

    def observe(self, done: int, interrupted: Callable[[], bool]) -> bool:
        """Validates; see `Observer`."""
        start, wrapped = time.perf_counter(), self.denoiser.network
        self.denoiser.network = self.network  # of several processes, each has its own share: they must not wait
        try:
            with self.average.applied() if self.average else nullcontext():
                found = self._measure(done, self._stopped(interrupted))
                if found is None:
                    return False
                row = {"step": done, "seconds": round(time.perf_counter() - start, 3), **found}
                self.rows.append(row)
                if self.accelerator.is_main_process:
                    if best_row(self.rows, self.criterion) is row:
                        self.save(done)
                    self.log.append([row])
        finally:
            self.denoiser.network = wrapped
        if self.accelerator.is_main_process:
            self.accelerator.log(flat_row(row), step=done)
            self.report(True)
        self.accelerator.wait_for_everyone()
        return True

    def logged(self) -> None:
        """Writes the report, unless it was written a moment ago."""
        if self.accelerator.is_main_process:
            self.report(False)

    def _measure(self, done: int, stopped: Callable[[], bool]) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        if self.held_out:
            metrics = self.held_out.measure(self.denoiser, stopped)
            if metrics is None:
                return None
            found["held_out"] = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        if self.samples:
            with bar(f"validate step {done}", len(self.samples.items)) as progress:
                drawn = self.samples.draw(done, stopped, progress.advance)
            if drawn is None:
                return None
            found |= drawn
        return found

    def _stopped(self, interrupted: Callable[[], bool]) -> Callable[[], bool]:
        """Whether any process was interrupted; all processes ask equally often."""
        if self.accelerator.num_processes == 1:
            return interrupted

        def any_interrupted() -> bool:
            mine = torch.tensor([float(interrupted())], device=self.accelerator.device)
            total: Any = self.accelerator.reduce(mine, "sum")
            return total.item() > 0

        return any_interrupted


def flat_row(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by single names, for trackers and charts: `held_out_accuracy`, `median <scorer>`, ..."""
    flat = {"step": row["step"], **{f"held_out_{name}": value for name, value in row.get("held_out", {}).items()}}
    for scorer, values in row.get("scores", {}).items():
        flat |= {f"{name} {scorer}": value for name, value in values.items()}
    return {name: value for name, value in flat.items() if value is not None}
