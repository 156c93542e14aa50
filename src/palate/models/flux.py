"""FLUX.1 dev, schnell and Krea: a transformer over packed latents, with the scale of guidance as an input of dev."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models.conditioning import Conditioning
from palate.models.flow import FlowTransformer, pack, unpack

GUIDANCE = 3.5
"""The guidance scale in the training of a guidance-distilled network, as in diffusers' pipeline and training script."""


class Flux(FlowTransformer):
    """A `Denoiser` over a `FluxPipeline`.

    Guidance is an input of the network (dev, Krea) or absent (schnell); the negative prompt of the pipeline's
    `true_cfg_scale` is not used.
    """

    title = "FLUX.1 dev, schnell and Krea"
    guidance = "its scale is an input of the network (dev, Krea), or there is none (schnell)"
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

        The scale of guidance is `guidance` [B] of the conditioning, or `GUIDANCE`.
        """
        height, width = x_t.shape[-2:]
        embeddings = conditioning.dense("embeddings")
        return unpack(
            self.network(
                hidden_states=pack(x_t),
                timestep=t.to(x_t.dtype),
                guidance=self._guidance(x_t, conditioning),
                pooled_projections=conditioning.dense("pooled"),
                encoder_hidden_states=embeddings,
                txt_ids=embeddings.new_zeros(embeddings.shape[1], 3),
                img_ids=_positions(height // 2, width // 2).to(embeddings),
                return_dict=False,
            )[0],
            height,
            width,
        )

    def pipeline_inputs(self, conditioning: Conditioning, negative: Conditioning | None) -> dict[str, Any]:
        """The arguments of `FluxPipeline`; see `Denoiser`."""
        return {
            "prompt_embeds": conditioning.dense("embeddings"),
            "pooled_prompt_embeds": conditioning.dense("pooled"),
        }

    def _guidance(self, x_t: Tensor, conditioning: Conditioning) -> Tensor | None:
        if not self.pipeline.transformer.config.guidance_embeds:
            return None
        given = conditioning.tensors.get("guidance")
        return given if isinstance(given, Tensor) else torch.full((len(x_t),), GUIDANCE, device=x_t.device)


def _positions(rows: int, columns: int) -> Tensor:
    """The ids of an image's tokens [rows columns, 3]: 0, row, column."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).flatten(0, 1)
