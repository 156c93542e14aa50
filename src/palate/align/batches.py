"""From views and draws to the network's inputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palate.align.examples import Examples
from palate.align.prepare import Prepared
from palate.diffusion.draws import Draws
from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import Schedule
from palate.models.conditioning import Conditioning
from palate.models.denoiser import Denoiser
from palate.models.frames import Frames
from palate.objectives.error import mean_error


@dataclass(frozen=True)
class Batch:
    """R rows for one forward pass.

    Attributes:
        x_t: noisy latents [R, C, h, w].
        t: times [R].
        target: what a perfect network would predict [R, C, h, w].
        conditioning: the conditioning of each row [R].
    """

    x_t: Tensor
    t: Tensor
    target: Tensor
    conditioning: Conditioning

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        x_t, t, target = (to_device(each, device) for each in (self.x_t, self.t, self.target))
        return Batch(x_t, t, target, self.conditioning.map(lambda tensor: to_device(tensor, device)))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy of a CPU tensor on a device; from pinned memory on CUDA, so that the copy does not wait for the device."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def predicted(denoiser: Denoiser, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """The network's raw output for every row [R, C, h, w], in one forward pass in `dtype`."""
    with torch.autocast(batch.x_t.device.type, dtype, enabled=dtype != torch.float32):
        return denoiser.predict(batch.x_t, batch.t, batch.conditioning)


def denoising_errors(denoiser: Denoiser, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """The denoising error of every row [R], in one forward pass: the network in `dtype`, the error in float32."""
    return mean_error(predicted(denoiser, batch, dtype), batch.target)


@dataclass(frozen=True, eq=False)
class Batches:
    """Makes batches from prepared latents and conditioning.

    Attributes:
        examples: the training examples, whose views the batches are made of.
        draws: the time, noise and prompt dropout of each key and draw.
        schedule, parametrization: those of the model.
        prepared: the latents x_0 of the distinct images, and the conditioning of the distinct prompts.
        image_conditioning: the conditioning of distinct images [R] by their numbers, for the model families that have
            one.
    """

    examples: Examples
    draws: Draws
    schedule: Schedule
    parametrization: Parametrization
    prepared: Prepared
    image_conditioning: Callable[[np.ndarray], Conditioning] = lambda images: Conditioning()

    @classmethod
    def of(cls, denoiser: Denoiser, examples: Examples, draws: Draws, prepared: Prepared, resolution: int) -> Batches:
        """The batches for a model; training images are the largest centred squares of their originals."""
        _, height, width = prepared.latents.shape

        def conditioning(images: np.ndarray) -> Conditioning:
            return denoiser.image_conditioning(Frames.squares(examples.images.size[images].tolist(), resolution))

        schedule = denoiser.schedule((height, width))
        return cls(examples, draws, schedule, denoiser.parametrization, prepared, conditioning)

    def make(self, views: np.ndarray, draws: np.ndarray) -> Batch:
        """The batch of views [R] at draws [R], on the CPU."""
        key = self.examples.key[views]
        t = self.schedule.sample_t(torch.from_numpy(self.draws.u(key, draws)))
        eps = self.draws.noise(key, draws, self.prepared.latents.shape)
        image = self.examples.image[views]
        x_0 = self.prepared.latents[image]
        prompt = np.where(self.draws.dropped(key, draws), 0, self.examples.prompt[views])
        return Batch(
            x_t=self.schedule.add_noise(x_0, eps, t),
            t=t,
            target=self.parametrization.target(self.schedule, x_0, eps, t),
            conditioning=self.prepared.conditioning[prompt].merged(self.image_conditioning(image)),
        )
