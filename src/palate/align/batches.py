"""From views and draws to the network's inputs and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from palate.align.difference_mask import difference_mask
from palate.align.examples import Examples
from palate.align.prepare import Prepared
from palate.diffusion.draws import Draws
from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import Schedule
from palate.models.conditioning import Conditioning
from palate.models.denoiser import Denoiser
from palate.models.frames import Frames
from palate.objectives.error import mean_error, mean_products
from palate.objectives.weighting import Weighting, time_weight


@dataclass(frozen=True)
class Batch:
    """R rows of one bucket, for one forward pass.

    Attributes:
        x_t: noisy latents [R, C, h, w].
        t: times [R].
        target: what a perfect network would predict [R, C, h, w].
        conditioning: the conditioning of each row [R].
        schedule: the noise schedule of the bucket.
        mask: the weights of the places of each row [R, h, w], with a mean of 1; None where all count the same.
    """

    x_t: Tensor
    t: Tensor
    target: Tensor
    conditioning: Conditioning
    schedule: Schedule
    mask: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        x_t, t, target = (to_device(each, device) for each in (self.x_t, self.t, self.target))
        conditioning = self.conditioning.map(lambda tensor: to_device(tensor, device))
        mask = None if self.mask is None else to_device(self.mask, device)
        return Batch(x_t, t, target, conditioning, self.schedule, mask)


@dataclass(frozen=True)
class Pass:
    """A batch, and the policy's raw output for it [R, C, h, w]."""

    batch: Batch
    prediction: Tensor

    def errors(self) -> Tensor:
        """The denoising error of every row [R]."""
        return mean_error(self.prediction, self.batch.target, self.batch.mask)

    def products(self, n: int) -> Tensor:
        """The mean products of the residuals of each n rows [R / n, n, n]."""
        return mean_products(self.prediction, self.batch.target, n, self.batch.mask)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy of a CPU tensor on a device; from pinned memory on CUDA, so that the copy does not wait for the device."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def predicted(denoiser: Denoiser, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """The network's raw output for every row [R, C, h, w], in one forward pass in `dtype`."""
    with torch.autocast(batch.x_t.device.type, dtype, enabled=dtype != torch.float32):
        return denoiser.predict(batch.x_t, batch.t, batch.conditioning)


def denoising_errors(denoiser: Denoiser, batch: Batch, dtype: torch.dtype = torch.float32) -> Tensor:
    """The denoising error of every row [R], in one forward pass: the network in `dtype`, the error in float32."""
    return Pass(batch, predicted(denoiser, batch, dtype)).errors()


@dataclass(frozen=True, eq=False)
class Batches:
    """Makes batches from prepared latents and conditioning.

    Attributes:
        examples: the training examples, whose views the batches are made of.
        draws: the time, noise and prompt dropout of each key and draw.
        schedules: the model's noise schedule for each bucket, by its number.
        parametrization: that of the model.
        prepared: the latents x_0 of the distinct images, and the conditioning of the distinct prompts.
        image_conditioning: the conditioning of distinct images [R], by their numbers and the number of their bucket,
            for the model families that have one.
        mask: places count only where the latents of a key's images differ by more than this; None counts all.
    """

    examples: Examples
    draws: Draws
    schedules: Mapping[int, Schedule]
    parametrization: Parametrization
    prepared: Prepared
    image_conditioning: Callable[[np.ndarray, int], Conditioning] = lambda images, bucket: Conditioning()
    mask: float | None = None

    @classmethod
    def of(
        cls, denoiser: Denoiser, examples: Examples, draws: Draws, prepared: Prepared, mask: float | None = None
    ) -> Batches:
        """The batches for a model."""
        sizes, originals = prepared.buckets.sizes, examples.images.size

        def conditioning(images: np.ndarray, bucket: int) -> Conditioning:
            return denoiser.image_conditioning(Frames.crops(originals[images].tolist(), *sizes[bucket]))

        schedules = {
            bucket: denoiser.schedule((each.shape[-2], each.shape[-1])) for bucket, each in prepared.latents.items()
        }
        return cls(examples, draws, schedules, denoiser.parametrization, prepared, conditioning, mask)

    def make(self, views: np.ndarray, draws: np.ndarray) -> Batch:
        """The batch of views [R] of one bucket at draws [R], on the CPU."""
        (bucket,) = set(self.prepared.buckets.view[views].tolist())
        schedule, latents = self.schedules[bucket], self.prepared.latents[bucket]
        key = self.examples.key[views]
        t = schedule.sample_t(torch.from_numpy(self.draws.u(key, draws)))
        eps = self.draws.noise(key, draws, latents.shape)
        image = self.examples.image[views]
        x_0 = latents[image]
        prompt = np.where(self.draws.dropped(key, draws), 0, self.examples.prompt[views])
        return Batch(
            x_t=schedule.add_noise(x_0, eps, t),
            t=t,
            target=self.parametrization.target(schedule, x_0, eps, t),
            conditioning=self.prepared.conditioning[prompt].merged(self.image_conditioning(image, bucket)),
            schedule=schedule,
            mask=None if self.mask is None else self._masks(key, bucket, self.mask),
        )

    def each(self, views: np.ndarray, draws: np.ndarray) -> Iterator[Batch]:
        """The batches of views [R] at draws [R]: one for each stretch of views of one bucket, in the given order."""
        changes = np.flatnonzero(np.diff(self.prepared.buckets.view[views])) + 1
        for some_views, some_draws in zip(np.split(views, changes), np.split(draws, changes)):
            yield self.make(some_views, some_draws)

    def errors(
        self, denoiser: Denoiser, views: np.ndarray, draws: np.ndarray, device: torch.device, dtype: torch.dtype
    ) -> Tensor:
        """The denoising errors of views [R] at draws [R], on a device: one forward pass for each batch of `each`."""
        batches = (batch.to(device) for batch in self.each(views, draws))
        return torch.cat([denoising_errors(denoiser, batch, dtype) for batch in batches])

    def at_times(
        self, views: np.ndarray, draws: np.ndarray, value: Callable[[Schedule, Tensor], Tensor] = lambda _, t: t
    ) -> Tensor:
        """A function of the times [R] of views [R] at draws [R], such as the times themselves, on the CPU.

        Args:
            views, draws: the views, of any buckets, and their draws.
            value: returns the values [B] at times [B] of a bucket's schedule.
        """
        bucket, u = self.prepared.buckets.view[views], torch.from_numpy(self.draws.u(self.examples.key[views], draws))
        rows = [np.flatnonzero(bucket == each) for each in np.unique(bucket)]
        schedules = [self.schedules[int(bucket[each[0]])] for each in rows]
        values = torch.cat([value(of, of.sample_t(u[torch.from_numpy(each)])) for of, each in zip(schedules, rows)])
        return values[torch.from_numpy(np.argsort(np.concatenate(rows)))]

    def time_weights(self, views: np.ndarray, draws: np.ndarray, kind: Weighting, gamma: float) -> Tensor:
        """The weights [R] of the errors of views [R] at draws [R], on the CPU; see `objectives.weighting`."""
        return self.at_times(
            views, draws, lambda schedule, t: time_weight(kind, schedule, self.parametrization, t, gamma)
        )

    def _masks(self, keys: np.ndarray, bucket: int, threshold: float) -> Tensor:
        """The masks [R, h, w] of keys [R] of one bucket."""
        distinct, where = np.unique(keys, return_inverse=True)
        order, begin = self._views_by_key
        images = (self.examples.image[order[begin[key] : begin[key + 1]]] for key in distinct.tolist())
        latents = self.prepared.latents[bucket]
        masks = [difference_mask(latents[np.unique(each)], threshold) for each in images]
        return torch.stack(masks)[torch.from_numpy(where)]

    @cached_property
    def _views_by_key(self) -> tuple[np.ndarray, np.ndarray]:
        """The views in the order of their keys [V], and where the views of each key begin, and V at the end [K + 1]."""
        return np.argsort(self.examples.key, kind="stable"), np.cumsum([0, *np.bincount(self.examples.key)])

    def sorted(self, views: np.ndarray) -> np.ndarray:
        """The order of views [R] by their buckets, as indices [R]; views of one bucket keep their order."""
        return np.argsort(self.prepared.buckets.view[views], kind="stable")
