"""AuraFlow: a transformer with learned positions, and prompts whose padding is zero and not masked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from palate.diffusion.schedule import FlowSchedule
from palate.models import autoencoder
from palate.models.adapter import PIPELINE_MULTIPLE, Configs
from palate.models.conditioning import Conditioning
from palate.models.flow import FlowTransformer
from palate.models.masked import encode_masked, masked_inputs, pad
from palate.models.sizes import Sizes

LENGTH = 256
"""Tokens to which the pipeline pads a prompt."""


class AuraFlow(FlowTransformer):
    """A `Denoiser` over an `AuraFlowPipeline`."""

    title = "AuraFlow"

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Multiples of the patch size, up to the square for which there are positions."""
        network, factor = configs(cls.part), autoencoder.pixels_per_cell(configs("vae"))
        patch = network["patch_size"] * factor
        largest = math.isqrt(network["pos_embed_max_size"]) * patch
        return Sizes(network["sample_size"] * factor, math.lcm(patch, PIPELINE_MULTIPLE), largest)

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """The density of Stable Diffusion 3 with the scheduler's shift; there is no public training script."""
        patch = self.pipeline.transformer.config.patch_size
        return FlowSchedule.of(self.pipeline.scheduler.config, cells[0] * cells[1] // patch**2)

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it, without padding; no prompt is the empty one."""
        return encode_masked(self.pipeline, prompts, LENGTH)

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        embeddings, _ = pad(conditioning, LENGTH)
        return self.network(x_t, encoder_hidden_states=embeddings, timestep=t.to(x_t.dtype), return_dict=False)[0]

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `AuraFlowPipeline`, which asks for masks and does not use them; see `Adapter`."""
        return masked_inputs(conditioning, LENGTH)
