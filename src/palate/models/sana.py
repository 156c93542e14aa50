"""Sana: a transformer over the latents of a deep-compression autoencoder, whose prompts follow an instruction."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models.adapter import Configs
from palate.models.conditioning import Conditioning
from palate.models.flow import FlowTransformer, time_of
from palate.models.masked import encode_masked, masked_inputs, pad
from palate.models.sizes import Sizes

LENGTH = 300
"""Tokens that the pipeline keeps of a prompt."""
MULTIPLE = 32
"""The pipeline takes only widths and heights that are multiples of this."""


class Sana(FlowTransformer):
    """A `Denoiser` over a `SanaPipeline`.

    A prompt follows the pipeline's default instruction; no prompt is the empty text without it, as the pipeline guides.
    """

    title = "Sana"
    lora_targets = ("to_q", "to_k", "to_v")
    """The LoRA targets of diffusers' training script."""

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole tokens, of any number."""
        factor = 2 ** (len(configs("vae")["encoder_block_out_channels"]) - 1)
        network = configs(cls.part)
        return Sizes(network["sample_size"] * factor, math.lcm(network["patch_size"] * factor, MULTIPLE))

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it, without padding."""
        defaults = inspect.signature(self.pipeline.__call__).parameters
        instruction = defaults["complex_human_instruction"].default
        return encode_masked(self.pipeline, prompts, LENGTH, complex_human_instruction=instruction)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of images [B, 3, H, W] in [0, 1]; this autoencoder has no distribution."""
        vae = self.pipeline.vae
        return vae.encode((images * 2 - 1).to(vae.device, vae.dtype)).latent.float() * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents [B, C, h, w]."""
        vae = self.pipeline.vae
        latents = (latents / vae.config.scaling_factor).to(vae.device, vae.dtype)
        return (vae.decode(latents).sample.float() / 2 + 0.5).clamp(0, 1)

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        embeddings, mask = pad(conditioning, LENGTH)
        return self.network(
            x_t,
            encoder_hidden_states=embeddings,
            encoder_attention_mask=mask,
            timestep=time_of(t, self.pipeline.scheduler.config) * self.pipeline.transformer.config.timestep_scale,
            return_dict=False,
        )[0]

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `SanaPipeline`; see `Adapter`."""
        return masked_inputs(conditioning, LENGTH)
