"""PixArt-Sigma: a transformer that predicts noise and, beside it, a variance that is not used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from palate.models import autoencoder
from palate.models.adapter import PIPELINE_MULTIPLE, Configs
from palate.models.conditioning import Conditioning
from palate.models.masked import encode_masked, masked_inputs, pad
from palate.models.sizes import Sizes
from palate.models.stable_diffusion import StableDiffusion

LENGTH = 300
"""Tokens to which the pipeline pads a prompt."""


class PixArtSigma(StableDiffusion):
    """A `Denoiser` over a `PixArtSigmaPipeline`, whose schedule is that of its scheduler, as Stable Diffusion's is."""

    title = "PixArt-Sigma"
    native_sizes = (512, 1024, 2048)
    part = "transformer"

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole tokens, of any number."""
        network, factor = configs(cls.part), autoencoder.pixels_per_cell(configs("vae"))
        multiple = math.lcm(network["patch_size"] * factor, PIPELINE_MULTIPLE)
        return Sizes(network["sample_size"] * factor, multiple)

    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it, without padding; no prompt is the empty one.

        The pipeline cleans prompts where the packages for that are installed, and warns of each prompt where not.
        """
        from diffusers.utils import is_bs4_available, is_ftfy_available

        clean = is_bs4_available() and is_ftfy_available()
        return encode_masked(self.pipeline, prompts, LENGTH, clean_caption=clean)

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The predicted noise [B, C, h, w] at noisy latents x_t [B, C, h, w] and timesteps t [B]."""
        embeddings, mask = pad(conditioning, LENGTH)
        output = self.network(
            x_t,
            encoder_hidden_states=embeddings,
            encoder_attention_mask=mask,
            timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return output[:, : x_t.shape[1]]

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `PixArtSigmaPipeline`; see `Adapter`."""
        return masked_inputs(conditioning, LENGTH)
