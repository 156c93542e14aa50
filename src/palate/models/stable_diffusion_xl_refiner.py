"""Stable Diffusion XL's refiner: it ends the pictures of the base model, and takes a score of their beauty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.diffusion.schedule import VarianceSchedule
from palate.models.conditioning import Conditioning
from palate.models.stable_diffusion_xl import StableDiffusionXL

TIMESTEPS = 200
"""The refiner was trained on the first 200 timesteps alone (Podell et al. 2023, arXiv:2307.01952, section 2.5), and so
trains the code of Diffusion-DPO (github.com/SalesforceAIResearch/DiffusionDPO)."""
SCORE, NEGATIVE_SCORE = 6.0, 2.5
"""The aesthetic scores that its pipeline gives to a prompt and to the negative one."""


class StableDiffusionXLRefiner(StableDiffusionXL):
    """A `Denoiser` over a `StableDiffusionXLImg2ImgPipeline`.

    Its network takes five numbers of an image: size and crop of the original, and the aesthetic score instead of the
    target size. If the pipeline does not require that score, it is the base model's in another pipeline.
    """

    title = "Stable Diffusion XL refiner"
    takes_timesteps = False
    draws_from_prompt = False

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        self._scored = bool(pipeline.config.requires_aesthetics_score)
        if self._scored:
            self._schedule = VarianceSchedule(pipeline.scheduler.alphas_cumprod, tuple(range(TIMESTEPS)))

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, with the aesthetic score that the pipeline gives to each."""
        found = super().encode_prompt(prompts)
        if not self._scored:
            return found
        scores = [[NEGATIVE_SCORE if prompt is None else SCORE] for prompt in prompts]
        return found.merged(Conditioning({"score": torch.tensor(scores, device=found.dense("pooled").device)}))

    def time_ids(self, conditioning: Conditioning) -> Tensor:
        """As `StableDiffusionXL`, with the aesthetic score instead of the target size."""
        ids = super().time_ids(conditioning)
        return torch.cat([ids[:, :4], conditioning.dense("score").to(ids)], 1) if self._scored else ids
