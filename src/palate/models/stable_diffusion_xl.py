"""Stable Diffusion XL: two text encoders, and a network that also takes each image's original size and crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models.conditioning import Conditioning
from palate.models.frames import Frames
from palate.models.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    """A `Denoiser` over a `StableDiffusionXLPipeline`.

    Reference: Podell et al. 2023 (arXiv:2307.01952), section 2.2 for the conditioning on size and crop.
    """

    title = "Stable Diffusion XL"
    native_sizes = (1024,)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it.

        None is encoded as zeros if the pipeline has `force_zeros_for_empty_prompt`, otherwise as the empty prompt.
        """
        device = self.pipeline.text_encoder_2.device
        texts = [prompt or "" for prompt in prompts]
        embeddings, _, pooled, _ = self.pipeline.encode_prompt(
            texts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
        )
        if self.pipeline.config.force_zeros_for_empty_prompt:
            absent = torch.tensor([prompt is None for prompt in prompts], device=device)
            embeddings, pooled = (
                embeddings.masked_fill(absent[:, None, None], 0),
                pooled.masked_fill(absent[:, None], 0),
            )
        return Conditioning({"embeddings": embeddings, "pooled": pooled})

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """Original size, crop and target size, always in float32, because bfloat16 would round numbers of pixels."""
        return Conditioning({"time_ids": frames.rows})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and timesteps t [B]."""
        if "time_ids" not in conditioning.tensors:
            height, width = (side * self.pipeline.vae_scale_factor for side in x_t.shape[-2:])
            whole = self.image_conditioning(Frames.whole(len(x_t), height, width))
            conditioning = conditioning.merged(whole.to(x_t.device))
        return self.network(
            x_t,
            t,
            encoder_hidden_states=conditioning.dense("embeddings"),
            added_cond_kwargs={"text_embeds": conditioning.dense("pooled"), "time_ids": self.time_ids(conditioning)},
            return_dict=False,
        )[0]

    def time_ids(self, conditioning: Conditioning) -> Tensor:
        """What the network takes about the images themselves [B, 6]."""
        return conditioning.dense("time_ids")

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `StableDiffusionXLPipeline`, which computes others from the size of the image."""
        return {
            "prompt_embeds": conditioning.dense("embeddings"),
            "pooled_prompt_embeds": conditioning.dense("pooled"),
        }
