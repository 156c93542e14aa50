"""Kolors: SDXL's network with 1100 timesteps, and ChatGLM3 as its text encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from palate.models.conditioning import Conditioning
from palate.models.stable_diffusion_xl import StableDiffusionXL


class Kolors(StableDiffusionXL):
    """A `Denoiser` over a `KolorsPipeline`."""

    title = "Kolors"
    needs = ("sentencepiece",)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt.

        So it is whatever the pipeline's `force_zeros_for_empty_prompt` says, with which it fails unless it is given a
        negative prompt.
        """
        texts = [prompt or "" for prompt in prompts]
        embeddings, _, pooled, _ = self.pipeline.encode_prompt(
            texts, self.pipeline.text_encoder.device, do_classifier_free_guidance=False
        )
        return Conditioning({"embeddings": embeddings, "pooled": pooled})
