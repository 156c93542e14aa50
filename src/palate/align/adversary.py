"""The discriminator of the adversarial term: a small network over latents, trained alternately with the policy."""

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
    """Distinguishes preferred images from the policy's estimates: convolutions over latents, conditioned on the prompt.

    Args:
        channels: channels of a latent.
        width: elements of a prompt's vector.

    Reference: Miyato & Koyama 2018 (arXiv:1802.05637), equation 3: the logit is a function of the image alone plus an
    inner product of image features and condition.
    """

    def __init__(self, channels: int, width: int) -> None:
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
        self.condition = nn.Linear(width, WIDTH)

    def forward(self, latents: Tensor, signal: Tensor, prompts: Tensor) -> Tensor:
        """Logits [B]; above zero means "real".

        Args:
            latents: scaled latents [B, C, h, w].
            signal: the factor of x_0 in the noisy latents that the estimate was made from [B]; it limits how sharp the
                estimate can be.
            prompts: one vector per prompt, the mean over its tokens [B, D].
        """
        level = broadcast(signal, latents).expand(-1, 1, *latents.shape[2:])
        features = self.trunk(torch.cat([latents, level], 1)).mean((2, 3))
        return self.logit(features).squeeze(1) + (features * self.condition(prompts)).mean(1)


class Adversary:
    """A discriminator, its optimiser, and the two losses of a step.

    The discriminator is given an image and its estimate at the same time and prompt, both scaled by the signal's factor
    at that time, `signal x_0`. An estimate made from pure noise cannot look real; there both inputs are nearly zero, so
    the policy is not penalised for it.

    Args:
        batches: gives the schedule, the latents and the prompts.
        lr: learning rate of its AdamW.
        seed: seed of its initial weights.
        accelerator: the device and the processes.
    """

    def __init__(self, batches: Batches, lr: float, seed: int, accelerator: Accelerator) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "discriminator"))
            prompt = batches.prepared.conditioning[np.zeros(1, int)].prompt_vector()
            network = Discriminator(batches.prepared.latents.shape[0], prompt.shape[-1])
        self.network = network.to(accelerator.device)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=lr, betas=(0.5, 0.99), weight_decay=0.0)
        self.part = Part(self.network, optimizer)
        self.batches, self.accelerator = batches, accelerator
        self._shown: list[tuple[Tensor, ...]] = []

    def term(self, batch: Batch, prediction: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
        """The policy's adversarial loss [B] of some rows [B] of a batch; `learn` then trains on the same rows.

        Args:
            batch: the batch.
            prediction: the policy's raw output for the whole batch.
            rows: the numbers of the rows.
            weight: how strongly the policy should imitate each row's image [B], in [0, 1].
        """
        x_t, t = batch.x_t[rows], batch.t[rows]
        schedule, parametrization = self.batches.schedule, self.batches.parametrization
        signal = schedule.signal(t)
        scale = broadcast(signal, x_t)
        prompts = batch.conditioning[rows].prompt_vector()
        estimate, _ = parametrization.recover(schedule, prediction[rows].float(), x_t, t)
        real, _ = parametrization.recover(schedule, batch.target[rows].float(), x_t, t)
        real, estimate = scale * real, scale * estimate
        self._shown.append((real, estimate.detach(), signal, prompts, weight))
        self.network.requires_grad_(False)
        return weight * generator_loss(self.network(estimate, signal, prompts))

    def learn(self) -> Mapping[str, Tensor]:
        """One discriminator step on all rows given to `term` since the last step; returns its metrics [B]."""
        self.network.requires_grad_(True)
        real, fake, signal, prompts, weight = (torch.cat(each) for each in zip(*self._shown))
        self._shown.clear()
        loss, metrics = discriminator_loss(self.network(real, signal, prompts), self.network(fake, signal, prompts))
        (weight * loss).mean().backward()
        average_gradients(self.network.parameters(), self.accelerator)
        self.part.optimizer.step()
        self.part.optimizer.zero_grad()
        return {"loss_discriminator": loss.detach(), **metrics}
