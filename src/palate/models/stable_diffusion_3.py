"""Stable Diffusion 3 and 3.5: a transformer that predicts the velocity of a rectified flow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import FlowSchedule
from palate.models import autoencoder
from palate.models.adapter import PIPELINE_MULTIPLE, Adapter, Configs
from palate.models.conditioning import Conditioning
from palate.models.sizes import Sizes


class StableDiffusion3(Adapter):
    """A `Denoiser` over a `StableDiffusion3Pipeline`."""

    title = "Stable Diffusion 3 and 3.5"
    part = "transformer"
    parametrization = Parametrization.VELOCITY

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Multiples of the patch size, up to the size for which there are position embeddings."""
        network, factor = configs(cls.part), autoencoder.pixels_per_cell(configs("vae"))
        patch = network["patch_size"] * factor
        multiple = math.lcm(patch, PIPELINE_MULTIPLE)
        return Sizes(network["sample_size"] * factor, multiple, network["pos_embed_max_size"] * patch)

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """A flow schedule with the scheduler's shift, which may depend on the size of the image."""
        patch = self.pipeline.transformer.config.patch_size
        return FlowSchedule.of(self.pipeline.scheduler.config, (cells[0] // patch) * (cells[1] // patch))

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt."""
        device = self.pipeline.text_encoder.device
        texts = [prompt or "" for prompt in prompts]
        embeddings, _, pooled, _ = self.pipeline.encode_prompt(
            texts, None, None, device=device, do_classifier_free_guidance=False
        )
        return Conditioning({"embeddings": embeddings, "pooled": pooled})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        return self.network(
            hidden_states=x_t,
            timestep=t * self.pipeline.scheduler.config.num_train_timesteps,
            encoder_hidden_states=conditioning.dense("embeddings"),
            pooled_projections=conditioning.dense("pooled"),
            return_dict=False,
        )[0]

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `StableDiffusion3Pipeline`; see `Adapter`."""
        return {
            "prompt_embeds": conditioning.dense("embeddings"),
            "pooled_prompt_embeds": conditioning.dense("pooled"),
        }
