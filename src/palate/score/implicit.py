"""The implicit reward of an aligned model as a scorer: `implicit:runs/dpo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from palate.core.device import pick_device
from palate.core.plugins import ScorerFacts
from palate.diffusion.draws import Draws
from palate.models.buckets import BucketGrid
from palate.models.families import sizes_of
from palate.models.frames import Frames
from palate.models.load import load_denoiser
from palate.models.prompt_length import text_limits
from palate.models.source import resolve
from palate.objectives.error import log_ratio, mean_error
from palate.score.base import Images, to_size

if TYPE_CHECKING:
    from torch import Tensor

    from palate.models.conditioning import Conditioning
    from palate.models.denoiser import Denoiser

DRAWS = 8


class ImplicitScorer:
    """`log p(x | c) / p_base(x | c)` per unit of the published beta: `-(error - error_base) / 2`, mean over draws.

    An image is cropped and resized to the size at which the run would have trained it alone. Images of one prompt and
    size are measured at the same times and noises, so their scores differ only because of the images; scores of
    different prompts are not on one scale. The draws are not those of training, so a model that has memorised its
    training noise gets no higher score.

    Args:
        run: a run of `palate align`, or its `model/` folder.
        device: the best one when left out.
        draws: the number of (time, noise) at which each image is measured; the times cover the schedule evenly.

    Raises:
        InputError: there is no such model, or its base model is unknown.

    Reference: Rafailov et al. 2023 (arXiv:2305.18290), equation 5; Wallace et al. 2023 (arXiv:2311.12908), section 5.5.
    """

    facts = ScorerFacts(
        title="how much more likely an aligned model makes the image than its base does",
        values="around 0; images of one prompt can be compared, those of different prompts cannot",
        licence="that of the model",
        size="two networks of the model's size",
        source="Rafailov et al. 2023, arXiv:2305.18290; Wallace et al. 2023, arXiv:2311.12908",
    )
    higher_is_better = True
    differentiable = False
    reads_prompt = True

    def __init__(self, run: str, device: str | None = None, draws: int = DRAWS) -> None:
        aligned = resolve(run)
        origin = aligned.origin()
        aligned.check()
        self.name, self._device, self._draws = f"implicit:{run}", torch.device(pick_device(device)), draws
        self._aligned = load_denoiser(aligned, device=self._device)
        self.text_limits = text_limits(aligned)
        without, timesteps = origin.encoders(), aligned.timesteps
        self._base = load_denoiser(origin, device=self._device, without=without, timesteps=timesteps)
        sizes = sizes_of(aligned)
        resolutions = aligned.numbers("resolution", "512, 1024") or (sizes.native,)
        self._grid = BucketGrid.of(sizes, resolutions, bool(aligned.said("buckets", False)))
        models = f"{aligned.fingerprint(*aligned.parts())} {origin.fingerprint(origin.network)}"
        self._fingerprint = f"{models} {draws} {self._grid.buckets}"

    def fingerprint(self) -> str:
        """A digest of both models' files and the number of draws; see `Scorer`."""
        return self._fingerprint

    @torch.no_grad()
    def __call__(self, images: Images, prompts: Sequence[str]) -> Tensor:
        """Scores [B]; see `Scorer`."""
        bucket = self._grid.nearest(np.array(_image_sizes(images)), np.arange(len(images)))
        scores = torch.empty(len(images))
        for number in np.unique(bucket).tolist():
            rows = np.flatnonzero(bucket == number).tolist()
            some = images[rows] if isinstance(images, torch.Tensor) else [images[row] for row in rows]
            scores[rows] = self._scores(some, [prompts[row] for row in rows], *self._grid.buckets[number])
        return scores

    def _scores(self, images: Images, prompts: list[str], height: int, width: int) -> Tensor:
        """Scores [B] of images of one height and width, once they are cropped and resized, on the CPU."""
        pixels = to_size(images, height, width).to(self._device)
        frames = Frames.crops(_image_sizes(images), height, width)
        conditioning = self._aligned.encode_prompt(prompts).merged(self._aligned.image_conditioning(frames))
        x_0, conditioning = self._aligned.encode(pixels), conditioning.to(self._device)
        keys = tuple(dict.fromkeys(prompts))
        draws, key = Draws(keys, seed=0), np.array([keys.index(prompt) for prompt in prompts])
        rewards = [self._reward(x_0, conditioning, draws, key, np.full(len(key), draw)) for draw in range(self._draws)]
        return torch.stack(rewards).mean(0).cpu()

    def _reward(
        self, x_0: Tensor, conditioning: Conditioning, draws: Draws, key: np.ndarray, draw: np.ndarray
    ) -> Tensor:
        """The log-ratio of each image [B] at one draw."""
        schedule, parametrization = self._base.schedule((x_0.shape[-2], x_0.shape[-1])), self._base.parametrization
        t = schedule.sample_t(torch.from_numpy(draws.u(key, draw))).to(self._device)
        eps = draws.noise(key, draw, tuple(x_0.shape[1:])).to(x_0)
        x_t, target = schedule.add_noise(x_0, eps, t), parametrization.target(schedule, x_0, eps, t)

        def error(denoiser: Denoiser) -> Tensor:
            return mean_error(denoiser.predict(x_t, t, conditioning), target)

        return log_ratio(error(self._aligned), error(self._base))


def _image_sizes(images: Images) -> list[tuple[int, int]]:
    """Width and height of each image."""
    if isinstance(images, torch.Tensor):
        return [(images.shape[-1], images.shape[-2])] * len(images)
    return [image.size for image in images]
