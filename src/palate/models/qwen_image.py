"""Qwen-Image: a transformer over packed latents of a video autoencoder, guided at the norm of the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models import autoencoder
from palate.models.conditioning import Conditioning, Ragged
from palate.models.flow import PATCH, FlowTransformer, pack, unpack

LONGEST_PROMPT = 512
"""Tokens that `QwenImagePipeline` reads of a prompt by default; its `encode_prompt` alone reads more."""
NO_PROMPT = " "
"""The negative prompt of the released model's example; with None the pipeline does not guide."""


class QwenImage(FlowTransformer):
    """A `Denoiser` over a `QwenImagePipeline`."""

    title = "Qwen-Image"
    guidance = "classifier-free, at the norm of the prediction for the prompt"
    guidance_passes = "turns"
    guidance_name = "true_cfg_scale"

    def guided(self, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance, in which each token keeps the norm of its prediction for the prompt."""
        combined = pack(super().guided(positive, negative, scale))
        norm, combined_norm = (each.norm(dim=-1, keepdim=True) for each in (pack(positive), combined))
        return unpack(combined * (norm / combined_norm), *positive.shape[-2:])

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as `NO_PROMPT`."""
        device = self.pipeline.text_encoder.device
        texts = [NO_PROMPT if prompt is None else prompt for prompt in prompts]
        embeddings, mask = self.pipeline.encode_prompt(texts, device, max_sequence_length=LONGEST_PROMPT)
        rows = list(embeddings) if mask is None else [row[some.bool()] for row, some in zip(embeddings, mask)]
        return Conditioning({"embeddings": Ragged.of(rows)})

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of images [B, 3, H, W] in [0, 1], each a video of one frame for the autoencoder."""
        latents = autoencoder.encode_mode(self.pipeline.vae, images[:, :, None])[:, :, 0]
        mean, std = self._mean_and_std(latents)
        return (latents - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents [B, C, h, w]."""
        mean, std = self._mean_and_std(latents)
        return autoencoder.decode_raw(self.pipeline.vae, (latents * std + mean)[:, :, None])[:, :, 0]

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        height, width = x_t.shape[-2:]
        embeddings = conditioning.ragged("embeddings")
        padded = embeddings.length.min() < embeddings.length.max()  # on the CPU: asking the mask would wait for a GPU
        tokens = self.network(
            hidden_states=pack(x_t),
            timestep=t.to(x_t.dtype),
            encoder_hidden_states=embeddings.padded(),
            encoder_hidden_states_mask=embeddings.mask().long() if padded else None,
            img_shapes=[[(1, height // PATCH, width // PATCH)]] * len(x_t),
            return_dict=False,
        )[0]
        return unpack(tokens, height, width)

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `QwenImagePipeline`; see `Adapter`."""
        embeddings = conditioning.ragged("embeddings")
        return {"prompt_embeds": embeddings.padded(), "prompt_embeds_mask": embeddings.mask().long()}

    def _mean_and_std(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Of each channel of raw latents [1, C, 1, 1]."""
        config = self.pipeline.vae.config
        mean, std = (latents.new_tensor(each).view(1, -1, 1, 1) for each in (config.latents_mean, config.latents_std))
        return mean, std
