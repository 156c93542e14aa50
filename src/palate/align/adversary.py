"""The discriminator of the adversarial term: a small network over latents, trained in turn with the policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from palate.align.batches import Batch, Batches
from palate.core.seeds import derive
from palate.diffusion.schedule import broadcast
from palate.objectives.adversarial import discriminator_loss, generator_loss
from palate.training.checkpoint import Part
from palate.training.learner import average_gradients

if TYPE_CHECKING:
    from accelerate import Accelerator

WIDTH = 64


class Discriminator(nn.Module):
    """Tells images from estimates: convolutions over latents, and a projection of the prompt.

    Args:
        channels: of a latent.
        told: elements of a token's embedding.

    Reference: Miyato & Koyama 2018 (arXiv:1802.05637), equation 3: a logit of the image, and its product with the
    condition.
    """

    def __init__(self, channels: int, told: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(channels + 1, WIDTH, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1),
            nn.GroupNorm(8, WIDTH),
            nn.SiLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.GroupNorm(8, WIDTH),
            nn.SiLU(),
        )
        self.logit = nn.Linear(WIDTH, 1)
        self.condition = nn.Linear(told, WIDTH)

    def forward(self, latents: Tensor, signal: Tensor, told: Tensor) -> Tensor:
        """Logits [B] of latents [B, C, h, w] under a token-mean embedding [B, D]; above zero is "real".

        Args:
            signal: their factor in what the estimate was made from [B], which tells how sharp it can be.
        """
        level = broadcast(signal, latents).expand(-1, 1, *latents.shape[2:])
        features = self.trunk(torch.cat([latents, level], 1)).mean((2, 3))
        return self.logit(features).squeeze(1) + (features * self.condition(told)).mean(1)


class Adversary:
    """A discriminator, its optimiser, and the two losses of a step.

    The discriminator sees an image and its estimate at the same time and prompt, both scaled by the signal's factor at
    that time, `signal x_0`: of pure noise no estimate can look real, and none must, for there both are nearly zero.

    Args:
        batches: whose schedule, latents and prompts it judges.
        lr: of its AdamW.
        seed: of its weights.
        accelerator: the device and the processes.
    """

    def __init__(self, batches: Batches, lr: float, seed: int, accelerator: Accelerator) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "discriminator"))
            told = batches.prepared.conditioning[np.zeros(1, int)].prompt_vector()
            network = Discriminator(batches.prepared.latents.shape[0], told.shape[-1])
        self.network = network.to(accelerator.device)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=lr, betas=(0.5, 0.99), weight_decay=0.0)
        self.part = Part(self.network, optimizer)
        self.batches, self.accelerator = batches, accelerator
        self._shown: list[tuple[Tensor, ...]] = []

    def term(self, batch: Batch, prediction: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        """What the policy pays [B] for the estimates of some rows [B] of a batch; remembers them for `learn`.

        Args:
            prediction: the policy's raw output for the whole batch.
            weight: how far each row's image is one to imitate [B], in [0, 1].
        """
        x_t, t = batch.x_t[rows], batch.t[rows]
        schedule, parametrization = self.batches.schedule, self.batches.parametrization
        signal = schedule.signal(t)
        scale = broadcast(signal, x_t)
        told = batch.conditioning[rows].prompt_vector()
        estimate, _ = parametrization.recover(schedule, prediction[rows].float(), x_t, t)
        real, _ = parametrization.recover(schedule, batch.target[rows].float(), x_t, t)
        real, estimate = scale * real, scale * estimate
        self._shown.append((real, estimate.detach(), signal, told, weight))
        self.network.requires_grad_(False)
        return weight * generator_loss(self.network(estimate, signal, told))

    def learn(self) -> Mapping[str, Tensor]:
        """One step on what `term` was shown since the last; its metrics [B]."""
        self.network.requires_grad_(True)
        real, fake, signal, told, weight = (torch.cat(each) for each in zip(*self._shown))
        self._shown.clear()
        loss, metrics = discriminator_loss(self.network(real, signal, told), self.network(fake, signal, told))
        (weight * loss).mean().backward()
        average_gradients(self.network.parameters(), self.accelerator)
        self.part.optimizer.step()
        self.part.optimizer.zero_grad()
        return {"loss_discriminator": loss.detach(), **metrics}
