"""The step of a reward's training: keyed, the same on any number of processes up to rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from palate.core.finite import require_finite
from palate.core.runs import RunFolder
from palate.objectives.metrics import Metrics
from palate.reward.config import RewardConfig
from palate.reward.embed import CachedFeatures, ComputedFeatures
from palate.reward.examples import RewardExamples
from palate.reward.tasks import Task
from palate.reward.visits import Visits
from palate.score.reward import Perceptron, RewardModel
from palate.training.accelerator import micro_batch
from palate.training.learner import Learner, micro_batches
from palate.training.optimizer import make_optimizer
from palate.training.step_loop import StepLoop

if TYPE_CHECKING:
    from accelerate import Accelerator

AT_ONCE = 64


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
        embed: CachedFeatures | ComputedFeatures,
        examples: RewardExamples,
        run: RunFolder | None,
        accelerator: Accelerator,
    ) -> None:
        self.config, self.task, self.embed, self.examples = config, task, embed, examples
        self.model, self.accelerator = model.to(accelerator.device).eval(), accelerator
        self.visits = Visits(config.seed, len(examples), config.batch)
        self._standardise()
        optimizer = make_optimizer(model, "adamw", config.weight_decay)
        self.learner = Learner(model, optimizer, config.clip, accelerator)
        self.micro_batch = micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
        self.loop = StepLoop(config, {"reward": self.learner.part}, accelerator, run, len(examples))

    def train(self, title: str) -> None:
        """Runs all steps that no checkpoint has done; raises what `StepLoop.run` does."""
        self.loop.run(title, self.step)

    def step(self, step: int) -> None:
        """One update, the first is step 0."""
        rows = self.visits.step(step)
        shares = [rows[share] for share in micro_batches(len(rows), self.micro_batch, self.accelerator)]
        norm = self.learner.update(shares, self._mean_loss, self.config.rate(step))
        self.loop.meter.add(gradient_norm=norm)

    def _mean_loss(self, rows: np.ndarray) -> Tensor:
        """The mean loss of one micro-batch of B examples; measures it."""
        loss, metrics = self.loss(rows)
        self.loop.meter.add(loss=loss.detach(), **metrics)
        weight = torch.from_numpy(self.examples.weight[rows]).to(loss.device)
        return (weight * loss).mean()

    def loss(self, rows: np.ndarray) -> tuple[Tensor, Metrics]:
        """The task's loss [B] and metrics of some examples [B]."""
        facts = torch.from_numpy(self.examples.facts[rows]).to(self.accelerator.device)
        return self.task.loss(self._score(self.examples, rows), facts)

    @torch.no_grad()
    def scores(self, examples: RewardExamples) -> Tensor:
        """Scores [N, n] of examples' images under their own prompts, on the CPU.

        Raises:
            NotFiniteError: one is NaN or infinite.
        """
        chunks = np.array_split(np.arange(len(examples)), max(1, len(examples) // AT_ONCE))
        scores = torch.cat([self._score(examples, chunk)[:, :, 0].cpu() for chunk in chunks if len(chunk)])
        require_finite("the rewards of images of held-out prompts", scores, fix="train again with a lower --lr")
        return scores

    def _score(self, examples: RewardExamples, rows: np.ndarray) -> Tensor:
        """Scores [B, n, m]."""
        image, prompt = self.embed(examples.image[rows], examples.prompt[rows])  # [B, n, D], [B, m, E]
        shape = len(rows), image.shape[1], prompt.shape[1], -1
        return self.model(image.unsqueeze(2).expand(shape), prompt.unsqueeze(1).expand(shape))

    @torch.no_grad()
    def _standardise(self) -> None:
        head = self.model.head
        if isinstance(head, Perceptron):
            chunks = _chunks(self.visits.sample())
            seen = [self.embed(self.examples.image[chunk], self.examples.prompt[chunk]) for chunk in chunks]
            n = self.examples.image.shape[1]
            image = torch.cat([image.flatten(0, 1) for image, _ in seen])
            prompt = torch.cat([prompt[:, :1].expand(-1, n, -1).flatten(0, 1) for _, prompt in seen])
            head.standardise(image, prompt)


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, len(rows) // AT_ONCE))
