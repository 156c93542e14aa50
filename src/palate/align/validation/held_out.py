"""Errors and metrics of held-out feedback: the method's own loss, at fixed draws that training never uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from palate.align.batches import Batches
from palate.align.examples import Examples
from palate.align.methods.method import Measured
from palate.core.seeds import derive, numpy_generator
from palate.core.statistics import Estimate, grouped_rate
from palate.diffusion.draws import Draws
from palate.models.denoiser import Denoiser
from palate.objectives.metrics import PartialMetric

if TYPE_CHECKING:
    from palate.align.trainer import Trainer

DRAWS = 4
"""Draws of each held-out example; the times of the draws cover the schedule evenly."""


def held_out_draws(examples: Examples) -> Draws:
    """The draws of held-out examples: the same for every run, never those of training, and no prompt is dropped."""
    return Draws(examples.keys, derive(0, "held out draws"))


def chosen_rows(examples: Examples, limit: int | None) -> np.ndarray:
    """The examples that are measured, in ascending order: all, or as many as the limit, chosen by a fixed seed."""
    order = numpy_generator(0, "held out examples").permutation(len(examples))
    return np.sort(order[:limit])


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Measures held-out examples.

    Attributes:
        trainer: has the method whose loss and metrics are computed, and the device and the processes, which share the
            work.
        batches: makes the network's inputs.
        rows: the examples that are measured [N].
        reference: the base model's errors [D, V] of each draw and view; those of other examples' views are arbitrary.
        batch: views per forward pass.
    """

    trainer: Trainer
    batches: Batches
    rows: np.ndarray
    reference: Tensor
    batch: int

    def measure(self, denoiser: Denoiser, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """The means of the method's metrics, and the errors by role, with the network's present weights.

        Args:
            denoiser: the policy, with a network that is not wrapped.
            stopped: whether to stop; asked before each forward pass, by all processes equally often.

        Returns:
            `loss`, `error_<role>`, `error_ref_<role>` and the method's metrics; `accuracy_low` and `accuracy_high` are
            the ends of the interval of an accuracy. None if it was stopped. Values may be NaN for a diverged model.
        """
        errors = self._errors(denoiser, stopped)
        return None if errors is None else self.metrics(errors)

    @torch.no_grad()
    def _errors(self, denoiser: Denoiser, stopped: Callable[[], bool]) -> Tensor | None:
        """The errors [D, V] of all draws and views of the examples."""
        views = np.unique(self.batches.examples.view[self.rows])
        views = views[self.batches.sorted(views)]
        errors = torch.zeros(self.reference.shape)
        places = [
            (draw, views[at : at + self.batch]) for draw in range(DRAWS) for at in range(0, len(views), self.batch)
        ]
        accelerator, dtype = self.trainer.accelerator, self.trainer.dtype
        processes, own = accelerator.num_processes, accelerator.process_index
        for first in range(0, len(places), processes):
            if stopped():
                return None
            for draw, some in places[first + own : first + own + 1]:
                found = self.batches.errors(denoiser, some, np.full(len(some), draw), accelerator.device, dtype)
                errors[draw, torch.from_numpy(some)] = found.cpu()
        if processes > 1:
            shared: Any = accelerator.reduce(errors.to(accelerator.device), "sum")
            errors = shared.cpu()
        return errors

    @torch.no_grad()
    def metrics(self, errors: Tensor) -> dict[str, float]:
        """The means of the metrics over examples and draws; `errors` [D, V] are the policy's."""
        examples, method, found = self.batches.examples, self.trainer.method, []
        view = torch.from_numpy(examples.view[self.rows])  # [N, n]
        for draw, (error, error_ref) in enumerate(zip(errors, self.reference)):
            measured = self._measured(draw, error[view], error_ref[view])
            if method.batchwise:
                measured = replace(measured, mean=method.statistic(measured).mean())
            loss, metrics = method.loss(measured)
            by_role = {}
            for place, role in enumerate(method.roles(view.shape[1])):
                by_role |= {f"error_{role}": error[view[:, place]], f"error_ref_{role}": error_ref[view[:, place]]}
            found.append({"loss": loss, **metrics, **by_role})
        means = {name: _mean([each[name] for each in found]) for name in found[0]}
        if "accuracy" in means:
            interval = self._interval([each["accuracy"] for each in found])
            means |= {"accuracy_low": interval.low, "accuracy_high": interval.high}
        return means

    def _measured(self, draw: int, error: Tensor, error_ref: Tensor) -> Measured:
        """The inputs of the loss of the examples at one draw, where the errors are [N, n]."""
        examples, config, memory = self.batches.examples, self.trainer.config, self.trainer.memory
        facts, views = torch.from_numpy(examples.facts[self.rows]), examples.view[self.rows, 0]
        draws, mean = np.full(len(views), draw), memory.mean() if memory else None
        t = self.batches.at_times(views, draws)
        measured = Measured(error, error_ref, facts, None if mean is None else mean.cpu(), t)
        if config.weighting == "constant":
            return measured
        return measured.weighted(self.batches.time_weights(views, draws, config.weighting, config.snr_gamma))

    def _interval(self, draws: list[Tensor | PartialMetric]) -> Estimate:
        """The interval of an accuracy, of which each example's mean over the draws is one point."""
        values, known = (torch.stack(each) for each in zip(*map(_values, draws)))  # [D, N]
        count = known.sum(0)
        points = (values.where(known, torch.zeros(())).sum(0) / count)[count > 0].double().numpy()
        prompts = self.batches.examples.prompt[self.batches.examples.view[self.rows, 0]][(count > 0).numpy()]
        return grouped_rate(points, np.unique(prompts, return_inverse=True)[1])


def _values(metric: Tensor | PartialMetric) -> tuple[Tensor, Tensor]:
    """The values [N] of a metric, and which examples have one [N]."""
    if isinstance(metric, PartialMetric):
        return metric.value.float(), metric.measured
    return metric.float(), torch.ones_like(metric, dtype=torch.bool)


def _mean(draws: list[Tensor | PartialMetric]) -> float:
    """The mean over all draws and the examples that have the metric; NaN if none has."""
    values, known = (torch.stack(each) for each in zip(*map(_values, draws)))
    return float(values[known].double().mean())
