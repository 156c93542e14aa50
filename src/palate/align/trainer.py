"""The offline training loop: one step is one forward and backward of the policy, and little else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from palate.align.adversary import Adversary
from palate.align.batches import Batch, Batches, predicted, to_device
from palate.align.config import AlignConfig
from palate.align.methods.method import Measured, Method
from palate.align.plan import Plan
from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.models.denoiser import Denoiser
from palate.objectives.error import mean_error
from palate.training.checkpoint import Part, checkpoints, load_checkpoint, save_checkpoint
from palate.training.device import micro_batch
from palate.training.interrupt import deferred_interrupt
from palate.training.meter import Meter
from palate.training.optimizer import make_optimizer

if TYPE_CHECKING:
    from accelerate import Accelerator


class Trainer:
    """Trains the parameters of a denoiser's network that require a gradient.

    Args:
        config: of the run.
        method: the objective.
        denoiser: the policy; its network is wrapped for the processes.
        batches: makes what it is asked.
        plan: which examples a step takes.
        reference: the base model's errors [D, V] of each draw and view, where the method needs them.
        run: where metrics and checkpoints go.
        accelerator: the device and the processes.
        dtype: that the network computes in.
    """

    def __init__(
        self,
        config: AlignConfig,
        method: Method,
        denoiser: Denoiser,
        batches: Batches,
        plan: Plan,
        reference: Tensor | None,
        run: RunFolder,
        accelerator: Accelerator,
        dtype: torch.dtype,
    ) -> None:
        self.config, self.method, self.batches, self.run = config, method, batches, run
        self.plan, self.reference, self.accelerator, self.dtype = plan, reference, accelerator, dtype
        self.network: nn.Module = denoiser.network.eval()  # dropout would be randomness that is not keyed
        self.parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = make_optimizer(self.parameters, config.optimizer, config.weight_decay)
        self.denoiser, self.adversary = denoiser, None
        self.parts = {"policy": Part(self.network, self.optimizer)}
        if config.adversarial:
            self.adversary = Adversary(batches, config.discriminator_lr, config.seed, accelerator)
            self.parts["discriminator"] = Part(self.adversary.network, self.adversary.optimizer)
        denoiser.network = accelerator.prepare_model(self.network)
        self.micro_batch = micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
        self.meter = Meter()

    def train(self) -> None:
        """Runs all steps that no checkpoint has done.

        Raises:
            KeyboardInterrupt: Ctrl-C; a checkpoint of the last whole step is there.
        """
        steps, first = self.config.steps, self._resume()
        title = f"align {self.method.name}"
        with bar(title, steps, done=first) as progress, deferred_interrupt() as interrupted:
            for done in range(first + 1, steps + 1):
                self.step(done - 1)
                last = done == steps
                if done % self.config.log_every == 0 or last:
                    progress.set(self._log(done))
                stop = self._agreed(interrupted, done)
                if done % self.config.checkpoint_every == 0 or last or stop:
                    self._save(done)
                progress.advance()
                if stop and not last:
                    raise KeyboardInterrupt

    def step(self, step: int) -> None:
        """One update, the first is step 0. Nothing here waits for the device."""
        rows, draws = self.plan.step(step)
        shares = [(rows[share], draws[share]) for share in self._shares(len(rows))]
        mean = self._mean_of_all(shares) if self.method.batchwise and len(shares) > 1 else None
        for i, share in enumerate(shares):
            last = i == len(shares) - 1  # only then do the processes exchange gradients
            with nullcontext() if last else self.accelerator.no_sync(self.denoiser.network):
                self._backward(*share, len(shares), mean)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        rate = self.config.rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.adversary:
            self.meter.add(**self.adversary.learn())
        self.meter.add(gradient_norm=norm.detach().view(1))

    def _backward(self, rows: np.ndarray, draws: np.ndarray, shares: int, mean: Tensor | None) -> None:
        """Adds the gradient of one micro-batch of B examples, of which a process has `shares`."""
        batch, prediction, measured = self._measure(rows, draws)
        if self.method.batchwise and mean is None:
            mean = self._mean(self.method.statistic(measured).detach())
        loss, metrics = self.method.loss(dataclasses.replace(measured, mean=mean))
        if self.adversary:
            first = torch.arange(0, len(prediction), measured.error.shape[1], device=prediction.device)
            term = self.adversary.term(batch, prediction, first, self.method.exemplary(measured))
            loss, metrics = loss + self.config.adversarial * term, {**metrics, "adversarial": term.detach()}
        weight = to_device(torch.from_numpy(self.batches.examples.weight[rows]), self.accelerator.device)
        self.accelerator.backward((weight * loss).mean() / shares)
        self.meter.add(loss=loss.detach(), **metrics, **self._by_role("error", measured.error.detach()))
        if measured.error_ref is not None:
            self.meter.add(**self._by_role("error_ref", measured.error_ref))

    def _measure(self, rows: np.ndarray, draws: np.ndarray) -> tuple[Batch, Tensor, Measured]:
        """One forward of B examples at their draws: what was asked, what the policy predicted, and the errors."""
        device, examples, error_ref = self.accelerator.device, self.batches.examples, None
        views = examples.view[rows]  # [B, n]
        batch = self.batches.make(views.ravel(), draws.repeat(views.shape[1])).to(device)
        prediction = predicted(self.denoiser, batch, self.dtype)
        error = mean_error(prediction, batch.target).view(views.shape)
        if self.reference is not None:
            known = self.reference[torch.from_numpy(draws[:, None]), torch.from_numpy(views)]
            error_ref = to_device(known, device)
        facts = to_device(torch.from_numpy(examples.facts[rows]), device)
        return batch, prediction, Measured(error, error_ref, facts)

    @torch.no_grad()
    def _mean_of_all(self, shares: Sequence[tuple[np.ndarray, np.ndarray]]) -> Tensor:
        """The mean of the method's statistic over a batch of several micro-batches: one forward more for each."""
        return self._mean(torch.cat([self.method.statistic(self._measure(*share)[-1]) for share in shares]))

    def _mean(self, statistic: Tensor) -> Tensor:
        """Over all processes, each of which has as many examples."""
        mean: Any = self.accelerator.reduce(statistic.mean(), "mean")
        return mean

    def _by_role(self, name: str, errors: Tensor) -> dict[str, Tensor]:
        roles = self.method.roles(errors.shape[1])
        return {f"{name}_{role}": error for role, error in zip(roles, errors.unbind(1), strict=True)}

    def _shares(self, batch: int) -> Iterator[slice]:
        """This process' micro-batches of a batch; together those of all processes are the batch."""
        stride = self.micro_batch * self.accelerator.num_processes
        for start in range(self.micro_batch * self.accelerator.process_index, batch, stride):
            yield slice(start, start + self.micro_batch)

    def _log(self, done: int) -> str:
        """Writes the mean of the steps since the last line; the only place that waits for the device."""
        values: dict[str, Any] = self.meter.fetch(self.accelerator)
        values["lr"] = self.optimizer.param_groups[0]["lr"]
        values["epoch"] = round(done * self.config.batch / len(self.batches.examples), 4)
        if self.accelerator.is_main_process:
            self.run.log(done, **values)
            self.accelerator.log(values, step=done)
        return "  ".join(f"{name} {values[name]:.3f}" for name in ("loss", "accuracy") if name in values)

    def _save(self, done: int) -> None:
        state = {"step": done, "meter": self.meter.state(self.accelerator)}
        if self.accelerator.is_main_process:
            folder = self.run.path / "checkpoints"
            save_checkpoint(folder, self.parts, state, self.config.keep_checkpoints)

    def _resume(self) -> int:
        """Goes back to the latest checkpoint, if there is one; returns how many steps are done."""
        found = checkpoints(self.run.path / "checkpoints")
        state = load_checkpoint(found[-1], self.parts) if found else {"step": 0, "meter": {}}
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.run.rewind(state["step"])
            self.meter.restore(state["meter"], self.accelerator.device)
        return state["step"]

    def _agreed(self, interrupted: Any, done: int) -> bool:
        """Whether to stop here: every process of a run must stop at the same step, so they ask each other rarely."""
        if self.accelerator.num_processes == 1:
            return interrupted()
        if done % self.config.log_every:
            return False
        asked: Any = self.accelerator.reduce(torch.tensor(float(interrupted()), device=self.accelerator.device))
        return bool(asked.item())
