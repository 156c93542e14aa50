"""The training step of an offline method: one forward and backward pass of the policy, and little else."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from palate.align.adversary import Adversary
from palate.align.batches import Batches, Pass, denoising_errors, predicted, to_device
from palate.align.config import AlignConfig
from palate.align.methods.method import Measured, Method
from palate.align.plan import TrainingPlan
from palate.core.runs import RunFolder
from palate.models.denoiser import Denoiser
from palate.training.accelerator import micro_batch
from palate.training.average import WeightAverage
from palate.training.learner import Learner, micro_batches
from palate.training.loss_scale import LossScale
from palate.training.optimizer import make_optimizer
from palate.training.running_mean import RunningMean
from palate.training.step_loop import StepLoop

if TYPE_CHECKING:
    from accelerate import Accelerator


class Trainer:
    """Trains the parameters of a denoiser's network that require a gradient.

    Args:
        config: the configuration of the run.
        method: the method.
        denoiser: the policy; its network is wrapped for several processes.
        batches: makes the network's inputs.
        plan: the examples and draws of each step.
        reference: the base model's errors [D, V] of each draw and view, if the method needs these.
        run: the folder for metrics and checkpoints.
        accelerator: the device and the processes.
        dtype: the dtype in which the network computes.
    """

    def __init__(
        self,
        config: AlignConfig,
        method: Method,
        denoiser: Denoiser,
        batches: Batches,
        plan: TrainingPlan,
        reference: Tensor | None,
        run: RunFolder,
        accelerator: Accelerator,
        dtype: torch.dtype,
    ) -> None:
        self.config, self.method, self.batches, self.denoiser = config, method, batches, denoiser
        self.plan, self.reference, self.accelerator, self.dtype = plan, reference, accelerator, dtype
        network: nn.Module = denoiser.network.eval()  # dropout would be randomness that is not keyed
        denoiser.network = accelerator.prepare_model(network)
        optimizer = make_optimizer(network, config.optimizer, config.weight_decay)
        self.average = WeightAverage(network, config.ema) if config.ema else None
        self.following = WeightAverage(network, method.follows, ramp=False) if method.follows else None
        averages = {"average": self.average, "reference": self.following}
        averages = {name: each for name, each in averages.items() if each}
        scale = LossScale.of(dtype, accelerator.device)
        self.learner = Learner(network, optimizer, config.clip, accelerator, denoiser.network, averages, scale)
        self.adversary, parts = None, {"policy": self.learner.part}
        if config.adversarial:
            self.adversary = Adversary(batches, config.discriminator_lr, config.seed, accelerator)
            parts["discriminator"] = self.adversary.part
        self.micro_batch = micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
        self.memory = RunningMean(method.memory, accelerator.device) if method.memory else None
        numbers = {"statistic": self.memory} if self.memory else {}
        self.loop = StepLoop(config, parts, accelerator, run, len(batches.examples), numbers=numbers)
        self.meter = self.loop.meter

    @property
    def network(self) -> nn.Module:
        """The network of the policy, not wrapped."""
        return self.learner.part.network

    def train(self) -> None:
        """Runs all steps that are not in a checkpoint yet; raises what `StepLoop.run` raises.

        The network then has the moving average of its weights, if one is kept.
        """
        self.loop.run(f"align {self.method.name}", self.step)
        if self.average:
            self.average.apply()

    def step(self, step: int) -> None:
        """One update; the first is step 0. Nothing here waits for the device."""
        rows, draws = self.plan.step(step)
        order = self.batches.sorted(self.batches.examples.view[rows, 0])  # so that few micro-batches have several sizes
        rows, draws = rows[order], draws[order]
        mine = micro_batches(len(rows), self.micro_batch, self.accelerator)
        shares = [(rows[share], draws[share]) for share in mine]
        mean = self.memory.mean() if self.memory else None
        if self.method.batchwise and len(shares) > 1:
            mean = self._mean_of_all(shares)
        statistics: list[Tensor] = []
        updated = self.learner.update(
            shares, lambda share: self._loss(*share, mean, statistics), self.config.rate(step)
        )
        if self.memory and step:  # at the first step the model is the base, and its margins are rounding
            self.memory.update(self._mean(torch.cat(statistics)))
        for average in self.learner.part.averages.values():
            average.update(step)
        if self.adversary:
            self.meter.add(**self.adversary.learn())
        self.meter.add(**updated)

    def _loss(self, rows: np.ndarray, draws: np.ndarray, mean: Tensor | None, statistics: list[Tensor]) -> Tensor:
        """The mean loss of one micro-batch of B examples; records its metrics, and its statistic [B] if one is kept."""
        passes, measured = self._measure(rows, draws)
        weighted = self._weighted(rows, draws, measured)
        if self.memory:
            statistics.append(self.method.statistic(weighted).detach())
        elif self.method.batchwise and mean is None:
            mean = self._mean(self.method.statistic(weighted).detach())
        loss, metrics = self.method.loss(dataclasses.replace(weighted, mean=mean))
        if self.adversary:
            term = self.adversary.term(passes, self.method.imitation_weight(measured))
            loss, metrics = loss + self.config.adversarial * term, {**metrics, "adversarial": term.detach()}
        self.meter.add(loss=loss.detach(), **metrics, **self._by_role("error", measured.error.detach()))
        if measured.error_ref is not None:  # `error_ref` is the base model's, by which the report judges a run
            self.meter.add(**self._by_role("error_average" if self.following else "error_ref", measured.error_ref))
        weight = to_device(torch.from_numpy(self.batches.examples.weight[rows]), self.accelerator.device)
        return (weight * loss).mean()

    def _measure(self, rows: np.ndarray, draws: np.ndarray) -> tuple[list[Pass], Measured]:
        """B examples at their draws: one forward pass of the policy for each bucket, and the errors."""
        device, examples, error_ref, products = self.accelerator.device, self.batches.examples, None, None
        views, passes = examples.view[rows], []  # [B, n]
        n = views.shape[1]
        for each in self.batches.each(views.ravel(), draws.repeat(n)):
            batch = each.to(device)
            passes.append(Pass(batch, predicted(self.denoiser, batch, self.dtype)))
        if self.reference is not None:
            known = self.reference[torch.from_numpy(draws[:, None]), torch.from_numpy(views)]
            error_ref = to_device(known, device)
        elif self.following:
            error_ref = self._following_errors(passes).view(views.shape)
        if self.method.products:
            products = torch.cat([each.products(n) for each in passes])
        error = torch.cat([each.errors() for each in passes]).view(views.shape)
        facts = to_device(torch.from_numpy(examples.facts[rows]), device)
        t = to_device(self.batches.at_times(views[:, 0], draws), device)
        return passes, Measured(error, error_ref, facts, t=t, products=products)

    @torch.no_grad()
    def _following_errors(self, passes: Sequence[Pass]) -> Tensor:
        """The errors [R] of the network with the moving average of its weights on the same batches."""
        assert self.following is not None
        with self.following.applied():
            return torch.cat([denoising_errors(self.denoiser, each.batch, self.dtype) for each in passes])

    def _weighted(self, rows: np.ndarray, draws: np.ndarray, measured: Measured) -> Measured:
        """The examples with their errors weighted by their times, where the configuration says so."""
        if self.config.weighting == "constant":
            return measured
        view = self.batches.examples.view[rows, 0]
        weight = self.batches.time_weights(view, draws, self.config.weighting, self.config.snr_gamma)
        return measured.weighted(to_device(weight, measured.error.device))

    @torch.no_grad()
    def _mean_of_all(self, shares: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tensor:
        """The mean of the method's statistic over a batch of several micro-batches: an extra forward pass for each."""
        measured = (self._weighted(*share, self._measure(*share)[-1]) for share in shares)
        return self._mean(torch.cat([self.method.statistic(each) for each in measured]))

    def _mean(self, statistic: Tensor) -> Tensor:
        """The mean over all processes, which all have the same number of examples."""
        mean: Any = self.accelerator.reduce(statistic.mean(), "mean")
        return mean

    def _by_role(self, name: str, errors: Tensor) -> dict[str, Tensor]:
        roles = self.method.roles(errors.shape[1])
        return {f"{name}_{role}": error for role, error in zip(roles, errors.unbind(1), strict=True)}
