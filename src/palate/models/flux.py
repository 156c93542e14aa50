"""FLUX.1 dev, schnell and Krea: a transformer over packed latents, with the scale of guidance as an input of dev."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models.conditioning import Conditioning
from palate.models.flow import PATCH, FlowTransformer, embedded_guidance, pack, positions, unpack


class Flux(FlowTransformer):
    """A `Denoiser` over a `FluxPipeline`.

    Guidance is an input of the network (dev, Krea) or absent (schnell); the negative prompt of the pipeline's
    `true_cfg_scale` is not used.
    """

    title = "FLUX.1 dev, schnell and Krea"
    guidance = "its scale is an input of the network (dev, Krea), or there is none (schnell)"
    guidance_passes = None
    lora_targets = (
        *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
        *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
        *("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2"),
    )
    """The LoRA targets of diffusers' training script."""

    def negates(self, scale: float) -> bool:
        """Never, as the network was trained to predict what guidance would give."""
        return False

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt."""
        device = self.pipeline.text_encoder.device
        texts = [prompt or "" for prompt in prompts]
        embeddings, pooled, _ = self.pipeline.encode_prompt(texts, None, device=device)
        return Conditioning({"embeddings": embeddings, "pooled": pooled})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B].

        The scale of guidance is `guidance` [B] of the conditioning, or 3.5.
        """
        height, width = x_t.shape[-2:]
        embeddings = conditioning.dense("embeddings")
        return unpack(
            self.network(
                hidden_states=pack(x_t),
                timestep=t.to(x_t.dtype),
                guidance=embedded_guidance(self.pipeline.transformer.config, x_t, conditioning),
                pooled_projections=conditioning.dense("pooled"),
                encoder_hidden_states=embeddings,
                txt_ids=embeddings.new_zeros(embeddings.shape[1], 3),
                img_ids=positions(height // PATCH, width // PATCH).to(embeddings),
                return_dict=False,
            )[0],
            height,
            width,
        )

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `FluxPipeline`; see `Adapter`."""
        return {
            "prompt_embeds": conditioning.dense("embeddings"),
            "pooled_prompt_embeds": conditioning.dense("pooled"),
        }
