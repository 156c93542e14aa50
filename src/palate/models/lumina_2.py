"""Lumina 2: a transformer whose time is the share of the image, and whose output points from noise to the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from palate.diffusion.schedule import FlowSchedule
from palate.models.adapter import Configs
from palate.models.conditioning import Conditioning
from palate.models.flow import PATCH, FlowTransformer
from palate.models.masked import encode_masked, masked_inputs, pad
from palate.models.sizes import Sizes

LENGTH = 256
"""Tokens of the pipeline's prompt, its system prompt included."""
FACTOR = 8
"""Pixels per latent cell, whatever the autoencoder: the pipeline's own constant."""


class Lumina2(FlowTransformer):
    """A `Denoiser` over a `Lumina2Pipeline`.

    A prompt follows the pipeline's system prompt; no prompt is the empty text without it, as the pipeline guides.
    """

    title = "Lumina Image 2.0"
    guidance = "classifier-free, rescaled to the norm of the prediction for the prompt"
    guidance_passes = "turns"

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole tokens, as many a side as there are positions."""
        network, multiple = configs(cls.part), PATCH * FACTOR
        return Sizes(network["sample_size"] * FACTOR, multiple, min(network["axes_lens"][1:]) * multiple)

    @classmethod
    def before_prompt(cls, tokenizer: Any) -> str:
        """The system prompt, which the pipeline sets when it is made, and the mark after it."""
        from diffusers import Lumina2Pipeline

        parts: Any = dict.fromkeys(("transformer", "scheduler", "vae", "text_encoder", "tokenizer"))
        return f"{Lumina2Pipeline(**parts).system_prompt} <Prompt Start> "

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """Uniform, moved towards noise by the scheduler's shift.

        The model's authors move times towards noise in training. Diffusers' training script draws the same shifted
        numbers but uses them as the share of the image, which moves them towards the image; that is not followed.
        """
        return FlowSchedule.of(self.pipeline.scheduler.config, cells[0] * cells[1] // PATCH**2, self.density)

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it, without padding."""
        return encode_masked(self.pipeline, prompts, LENGTH)

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's output [B, C, h, w], negated, at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        embeddings, mask = pad(conditioning, LENGTH)
        return -self.network(
            hidden_states=x_t,
            timestep=1 - t,
            encoder_hidden_states=embeddings,
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]

    def guided(self, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Guidance whose rows have the norm of those of the prediction for the prompt, the pipeline's default."""
        guided = super().guided(positive, negative, scale)
        return guided * (positive.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True))

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `Lumina2Pipeline`; see `Adapter`."""
        return masked_inputs(conditioning, LENGTH)
