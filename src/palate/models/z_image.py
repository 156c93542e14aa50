"""Z-Image: a transformer over latents and unpadded prompts, whose time runs from noise to data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from palate.diffusion.schedule import FlowSchedule
from palate.models import autoencoder
from palate.models.adapter import Configs
from palate.models.chat import before_message
from palate.models.conditioning import Conditioning, Ragged
from palate.models.flow import PATCH, FlowTransformer
from palate.models.sizes import Sizes


class ZImage(FlowTransformer):
    """A `Denoiser` over a `ZImagePipeline`."""

    title = "Z-Image"
    guidance_passes = None

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole tokens, as many a side as there are positions."""
        sizes = super().sizes(configs)
        tokens = min(configs(cls.part)["axes_lens"][1:])
        return replace(sizes, largest=tokens * PATCH * autoencoder.pixels_per_cell(configs("vae")))

    @classmethod
    def before_prompt(cls, tokenizer: Any) -> str:
        """The beginning of the conversation of which a prompt is the user's message."""
        return before_message(tokenizer, enable_thinking=True)

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """A flow schedule with the scheduler's shift, as in diffusers' training script."""
        tokens = (cells[0] // PATCH) * (cells[1] // PATCH)
        return FlowSchedule.of(self.pipeline.scheduler.config, tokens, self.density)

    def negates(self, scale: float) -> bool:
        """At every scale above 0."""
        return scale > 0

    def guided(self, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance in the form of Ho and Salimans 2022 (arXiv:2207.12598), equation 6.

        Its scale is smaller by 1 than that of the other families.
        """
        return positive + scale * (positive - negative)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt."""
        device = self.pipeline.text_encoder.device
        texts = [prompt or "" for prompt in prompts]
        rows, _ = self.pipeline.encode_prompt(texts, device=device, do_classifier_free_guidance=False)
        return Conditioning({"embeddings": Ragged.of(rows)})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The velocity [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B].

        The network's own output is the velocity from noise to data, at the time 1 - sigma.
        """
        images = list(x_t[:, :, None])  # each [C, 1, h, w]
        outputs = self.network(images, 1 - t, conditioning.ragged("embeddings").rows(), return_dict=False)[0]
        return -torch.stack(outputs)[:, :, 0]

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `ZImagePipeline`; see `Adapter`."""
        return {"prompt_embeds": conditioning.ragged("embeddings").rows()}
