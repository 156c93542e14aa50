"""The training loop of a reward: resumable, keyed, the same on any number of processes up to rounding."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from palate.core.progress import bar
from palate.core.runs import RunFolder
from palate.core.seeds import numpy_generator
from palate.objectives.metrics import Metrics
from palate.reward.config import RewardConfig
from palate.reward.embed import Frozen, Learning
from palate.reward.examples import Examples
from palate.reward.tasks import Task
from palate.score.reward import Perceptron, RewardModel
from palate.training.checkpoint import Part, checkpoints, load_checkpoint, save_checkpoint
from palate.training.device import micro_batch
from palate.training.interrupt import deferred_interrupt
from palate.training.meter import Meter
from palate.training.optimizer import make_optimizer

if TYPE_CHECKING:
    from accelerate import Accelerator

SAMPLE, AT_ONCE = 256, 64


class RewardTrainer:
    """Trains a reward model on examples.

    Args:
        config: of the run.
        task: what is learned.
        model: what learns; whatever of it requires a gradient.
        embed: the features of images and prompts.
        examples: what to learn from.
        run: where metrics and checkpoints go; none for a fold.
        accelerator: the device and the processes.
    """

    def __init__(
        self,
        config: RewardConfig,
        task: Task,
        model: RewardModel,
        embed: Frozen | Learning,
        examples: Examples,
        run: RunFolder | None,
        accelerator: Accelerator,
    ) -> None:
        self.config, self.task, self.embed, self.examples = config, task, embed, examples
        self.model, self.run, self.accelerator = model.to(accelerator.device).eval(), run, accelerator
        self._standardise()
        self.parameters = [each for each in model.parameters() if each.requires_grad]
        self.optimizer = make_optimizer(self.parameters, "adamw", config.weight_decay)
        self.parts = {"reward": Part(model, self.optimizer)}
        self.micro_batch = micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
        self.meter = Meter()

    def train(self, title: str) -> None:
        """Runs all steps that no checkpoint has done.

        Raises:
            KeyboardInterrupt: Ctrl-C; a checkpoint of the last whole step is there.
        """
        steps, first = self.config.steps, self._resume()
        with bar(title, steps, done=first) as progress, deferred_interrupt() as interrupted:
            for done in range(first + 1, steps + 1):
                self.step(done - 1)
                if self.run and (done % self.config.log_every == 0 or done == steps):
                    self._log(done)
                stop = interrupted() and self.accelerator.num_processes == 1
                if self.run and (done % self.config.checkpoint_every == 0 or done == steps or stop):
                    self._save(done)
                progress.advance()
                if stop and done < steps:
                    raise KeyboardInterrupt

    def step(self, step: int) -> None:
        """One update, the first is step 0."""
        rows = self._rows(step)
        shares = [rows[share] for share in self._shares(len(rows))]
        for share in shares:
            loss, metrics = self.loss(share)
            weight = torch.from_numpy(self.examples.weight[share]).to(loss.device)
            self.accelerator.backward((weight * loss).mean() / len(shares))
            self.meter.add(loss=loss.detach(), **metrics)
        self._exchange()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(step)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def loss(self, rows: np.ndarray) -> tuple[Tensor, Metrics]:
        """The task's loss [B] and metrics of some examples [B]."""
        facts = torch.from_numpy(self.examples.facts[rows]).to(self.accelerator.device)
        return self.task.loss(self._score(self.examples, rows), facts)

    @torch.no_grad()
    def scores(self, examples: Examples) -> Tensor:
        """Scores [N, n] of examples' images under their own prompts, on the CPU."""
        chunks = np.array_split(np.arange(len(examples)), max(1, len(examples) // AT_ONCE))
        return torch.cat([self._score(examples, chunk)[:, :, 0].cpu() for chunk in chunks if len(chunk)])

    def _score(self, examples: Examples, rows: np.ndarray) -> Tensor:
        """Scores [B, n, m]."""
        image, prompt = self.embed(examples.image[rows], examples.prompt[rows])  # [B, n, D], [B, m, E]
        shape = len(rows), image.shape[1], prompt.shape[1], -1
        return self.model(image.unsqueeze(2).expand(shape), prompt.unsqueeze(1).expand(shape))

    @torch.no_grad()
    def _standardise(self) -> None:
        head = self.model.head
        if isinstance(head, Perceptron):
            chosen = numpy_generator(self.config.seed, "sample").permutation(len(self.examples))[:SAMPLE]
            seen = [self.embed(self.examples.image[chunk], self.examples.prompt[chunk]) for chunk in _chunks(chosen)]
            n = self.examples.image.shape[1]
            image = torch.cat([image.flatten(0, 1) for image, _ in seen])
            prompt = torch.cat([prompt[:, :1].expand(-1, n, -1).flatten(0, 1) for _, prompt in seen])
            head.standardise(image, prompt)

    def _rows(self, step: int) -> np.ndarray:
        """The examples [batch] of a step; epochs follow each other without a seam."""
        place = np.arange(step * self.config.batch, (step + 1) * self.config.batch)
        epochs, offsets = np.divmod(place, len(self.examples))
        orders = {epoch: self._order(epoch) for epoch in set(epochs.tolist())}
        return np.array([orders[epoch][offset] for epoch, offset in zip(epochs.tolist(), offsets)])

    @lru_cache(maxsize=2)  # noqa: B019  # a trainer lives as long as its run
    def _order(self, epoch: int) -> np.ndarray:
        return numpy_generator(self.config.seed, "order", epoch).permutation(len(self.examples))

    def _shares(self, batch: int) -> Iterator[slice]:
        stride = self.micro_batch * self.accelerator.num_processes
        for start in range(self.micro_batch * self.accelerator.process_index, batch, stride):
            yield slice(start, start + self.micro_batch)

    def _exchange(self) -> None:
        if self.accelerator.num_processes > 1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    reduced: Any = self.accelerator.reduce(parameter.grad, "mean")
                    parameter.grad = reduced

    def _log(self, done: int) -> None:
        values = self.meter.fetch(self.accelerator)
        if self.accelerator.is_main_process and self.run:
            self.run.log(done, **values, lr=self.optimizer.param_groups[0]["lr"])

    def _save(self, done: int) -> None:
        state = {"step": done, "meter": self.meter.state(self.accelerator)}
        if self.accelerator.is_main_process and self.run:
            save_checkpoint(self.run.path / "checkpoints", self.parts, state, self.config.keep_checkpoints)

    def _resume(self) -> int:
        found = checkpoints(self.run.path / "checkpoints") if self.run else []
        state = load_checkpoint(found[-1], self.parts) if found else {"step": 0, "meter": {}}
        self.accelerator.wait_for_everyone()
        if self.run and self.accelerator.is_main_process:
            self.run.rewind(state["step"])
            self.meter.restore(state["meter"], self.accelerator.device)
        return state["step"]


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, len(rows) // AT_ONCE))
