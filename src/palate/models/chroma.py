"""Chroma: FLUX.1 schnell without the pooled embedding, guided, with a mask of its prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models.conditioning import Conditioning
from palate.models.flow import PATCH, FlowTransformer, pack, positions, unpack
from palate.models.flux import Flux
from palate.models.recompute import recomputed


class Chroma(FlowTransformer):
    """A `Denoiser` over a `ChromaPipeline`."""

    title = "Chroma"
    guidance_passes = "turns"
    lora_targets = Flux.lora_targets

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt.

        The mask also keeps the first token of the padding, as the pipeline's does.
        """
        device = self.pipeline.text_encoder.device
        texts = [prompt or "" for prompt in prompts]
        embeddings, _, mask, *_ = self.pipeline.encode_prompt(texts, device=device, do_classifier_free_guidance=False)
        return Conditioning({"embeddings": embeddings, "mask": mask})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        height, width = x_t.shape[-2:]
        tokens, embeddings, mask = pack(x_t), conditioning.dense("embeddings"), conditioning.dense("mask")
        mask = torch.cat([mask, mask.new_ones(tokens.shape[:2])], 1)
        with recomputed(self.pipeline.transformer, _with_mask(mask)):
            outputs = self.network(
                hidden_states=tokens,
                timestep=t.to(x_t.dtype),
                encoder_hidden_states=embeddings,
                txt_ids=embeddings.new_zeros(embeddings.shape[1], 3),
                img_ids=positions(height // PATCH, width // PATCH).to(embeddings),
                attention_mask=mask,
                return_dict=False,
            )[0]
        return unpack(outputs, height, width)

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `ChromaPipeline`; see `Adapter`."""
        return {
            "prompt_embeds": conditioning.dense("embeddings"),
            "prompt_attention_mask": conditioning.dense("mask"),
        }


def _with_mask(mask: Tensor) -> Callable[..., Any]:
    """Gives the mask to every block that is recomputed.

    Diffusers 0.42 gives it to the double blocks alone; a single block takes it after three other arguments.
    """
    return lambda checkpoint, block, *given: checkpoint(block, *given, *([mask] if len(given) == 3 else []))
