"""Stable Diffusion 1 and 2 and all models with their pipeline: a UNet with a variance-preserving schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import VarianceSchedule
from palate.models.adapter import Adapter
from palate.models.conditioning import Conditioning


class StableDiffusion(Adapter):
    """A `Denoiser` over a `StableDiffusionPipeline`."""

    title = "Stable Diffusion 1 and 2"
    native_sizes = (512, 768)
    part = "unet"
    takes_timesteps = True

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        self._schedule = VarianceSchedule(pipeline.scheduler.alphas_cumprod)
        self.parametrization = Parametrization(pipeline.scheduler.config.prediction_type)

    def train_only(self, timesteps: tuple[int, ...]) -> None:
        """Limits training to some timesteps, as a model needs that draws in a few steps."""
        self._schedule = VarianceSchedule.of_few_steps(self.pipeline.scheduler.alphas_cumprod, timesteps)

    def schedule(self, cells: tuple[int, int]) -> VarianceSchedule:
        """The scheduler's noise schedule, the same for every size."""
        return self._schedule

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt."""
        device = self.pipeline.text_encoder.device
        texts = [prompt or "" for prompt in prompts]
        embeddings, _ = self.pipeline.encode_prompt(texts, device, 1, do_classifier_free_guidance=False)
        return Conditioning({"embeddings": embeddings})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and timesteps t [B]."""
        return self.network(x_t, t, encoder_hidden_states=conditioning.dense("embeddings"), return_dict=False)[0]
