"""The training step of a reward: its randomness is keyed, so processes change its result only by rounding."""

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
from palate.training.loss_scale import LossScale
from palate.training.optimizer import make_optimizer
from palate.training.step_loop import StepLoop

if TYPE_CHECKING:
    from accelerate import Accelerator

AT_ONCE = 64


class RewardTrainer:
    """Trains a reward model on examples.

    Args:
        config: the configuration of the run.
        task: the task.
        model: the model; its parameters that require a gradient are trained.
        embed: gives the features of images and prompts.
        examples: the training examples.
        run: the folder for metrics and checkpoints; none for a fold.
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
        scale = LossScale.of(embed.dtype, accelerator.device)
        self.learner = Learner(model, optimizer, config.clip, accelerator, scale=scale)
        self.micro_batch = micro_batch(config.batch, config.micro_batch, accelerator.num_processes)
        self.loop = StepLoop(config, {"reward": self.learner.part}, accelerator, run, len(examples))

    def train(self, title: str) -> None:
        """Runs all steps that are not in a checkpoint yet; raises what `StepLoop.run` raises."""
        self.loop.run(title, self.step)

    def step(self, step: int) -> None:
        """One update; the first is step 0."""
        rows = self.visits.step(step)
        shares = [rows[share] for share in micro_batches(len(rows), self.micro_batch, self.accelerator)]
        self.loop.meter.add(**self.learner.update(shares, self._mean_loss, self.config.rate(step)))

    def _mean_loss(self, rows: np.ndarray) -> Tensor:
        """The mean loss of one micro-batch of B examples; records its metrics."""
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
        """Scores [N, n] of examples' images with their own prompts, on the CPU.

        Raises:
            NotFiniteError: a score is NaN or infinite.
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
            features = [self.embed(self.examples.image[rows], self.examples.prompt[rows]) for rows in chunks]
            n = self.examples.image.shape[1]
            image = torch.cat([image.flatten(0, 1) for image, _ in features])
            prompt = torch.cat([prompt[:, :1].expand(-1, n, -1).flatten(0, 1) for _, prompt in features])
            head.standardise(image, prompt)


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, max(1, len(rows) // AT_ONCE))
