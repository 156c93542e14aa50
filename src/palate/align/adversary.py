"""The discriminator of the adversarial term: a small network over latents, trained alternately with the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from palate.align.batches import Batches, Pass
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
        batches: gives the parametrization, the latents and the prompts.
        lr: learning rate of its AdamW.
        seed: seed of its initial weights.
        accelerator: the device and the processes.
    """

    def __init__(self, batches: Batches, lr: float, seed: int, accelerator: Accelerator) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "discriminator"))
            prompt = batches.prepared.conditioning[np.zeros(1, int)].prompt_vector()
            network = Discriminator(next(iter(batches.prepared.latents.values())).shape[0], prompt.shape[-1])
        self.network = network.to(accelerator.device)
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=lr, betas=(0.5, 0.99), weight_decay=0.0)
        self.part = Part(self.network, optimizer)
        self.parametrization, self.accelerator = batches.parametrization, accelerator
        self._shown: list[tuple[Tensor, ...]] = []

    def term(self, passes: Sequence[Pass], weight: Tensor) -> Tensor:
        """The policy's adversarial loss [B] of the first image of each example; `learn` then trains on these images.

        Args:
            passes: the forward passes of B examples of n images.
            weight: how strongly the policy should imitate the first image of each example [B], in [0, 1].
        """
        n = sum(len(each.prediction) for each in passes) // len(weight)
        weights = weight.split([len(each.prediction) // n for each in passes])
        return torch.cat([self._term_of(each, n, some) for each, some in zip(passes, weights)])

    def _term_of(self, one: Pass, n: int, weight: Tensor) -> Tensor:
        batch = one.batch
        rows = torch.arange(0, len(one.prediction), n, device=weight.device)
        x_t, t = batch.x_t[rows], batch.t[rows]
        signal = batch.schedule.signal(t)
        scale = broadcast(signal, x_t)
        prompts = batch.conditioning[rows].prompt_vector()
        estimate, _ = self.parametrization.recover(batch.schedule, one.prediction[rows].float(), x_t, t)
        real, _ = self.parametrization.recover(batch.schedule, batch.target[rows].float(), x_t, t)
        real, estimate = scale * real, scale * estimate
        self._shown.append((real, estimate.detach(), signal, prompts, weight))
        self.network.requires_grad_(False)
        return weight * generator_loss(self.network(estimate, signal, prompts))

    def learn(self) -> Mapping[str, Tensor]:
        """One discriminator step on all rows given to `term` since the last step; returns its metrics [B]."""
        self.network.requires_grad_(True)
        of_real, of_fake, weights = [], [], []
        for _, same in groupby(self._shown, key=lambda each: each[0].shape[1:]):  # the images of one bucket
            real, fake, signal, prompts, weight = (torch.cat(each) for each in zip(*same))
            of_real.append(self.network(real, signal, prompts))
            of_fake.append(self.network(fake, signal, prompts))
            weights.append(weight)
        self._shown.clear()
        loss, metrics = discriminator_loss(torch.cat(of_real), torch.cat(of_fake))
        (torch.cat(weights) * loss).mean().backward()
        average_gradients(self.network.parameters(), self.accelerator)
        self.part.optimizer.step()
        self.part.optimizer.zero_grad()
        return {"loss_discriminator": loss.detach(), **metrics}
