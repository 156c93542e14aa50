"""FLUX.2 dev and klein: a transformer over the patches of its autoencoder's latents, normalised by a batch norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from palate.models import autoencoder
from palate.models.chat import MESSAGE, before_message
from palate.models.conditioning import Conditioning
from palate.models.flow import PATCH, FlowTransformer, embedded_guidance, positions


class Flux2Klein(FlowTransformer):
    """A `Denoiser` over a `Flux2KleinPipeline`.

    A cell of its latents [B, 4 C, h, w] is a patch of 2 x 2 cells of the autoencoder's, and a token.
    """

    title = "FLUX.2 klein"
    guidance = "classifier-free, or none in a distilled model"
    guidance_passes = None
    lora_targets = (*FlowTransformer.lora_targets, "to_qkv_mlp_proj", "attn.to_out")
    """The LoRA targets of diffusers' training script."""

    @classmethod
    def before_prompt(cls, tokenizer: Any) -> str:
        """The beginning of the conversation of which a prompt is the user's message."""
        return before_message(tokenizer, enable_thinking=False)

    def negates(self, scale: float) -> bool:
        """At every scale above 1, unless the model is distilled."""
        return scale > 1 and not self.pipeline.config.is_distilled

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt."""
        device = self.pipeline.text_encoder.device
        embeddings, _ = self.pipeline.encode_prompt([prompt or "" for prompt in prompts], device)
        return Conditioning({"embeddings": embeddings})

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, 4 C, h, w] of images [B, 3, H, W] in [0, 1]."""
        patches = pixel_unshuffle(autoencoder.encode_mode(self.pipeline.vae, images), PATCH)
        mean, std = self._mean_and_std(patches)
        return (patches - mean) / std

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents [B, 4 C, h, w]."""
        mean, std = self._mean_and_std(latents)
        return autoencoder.decode_raw(self.pipeline.vae, pixel_shuffle(latents * std + mean, PATCH))

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, 4 C, h, w] at noisy latents x_t [B, 4 C, h, w] and sigmas t [B].

        Where the scale of guidance is an input of the network, it is `guidance` [B] of the conditioning, or 3.5.
        """
        embeddings = conditioning.dense("embeddings")
        place = torch.arange(embeddings.shape[1], device=x_t.device)[:, None]
        tokens = self.network(
            hidden_states=x_t.flatten(2).transpose(1, 2),
            timestep=t.to(x_t.dtype),
            guidance=embedded_guidance(self.pipeline.transformer.config, x_t, conditioning),
            encoder_hidden_states=embeddings,
            txt_ids=pad(place, (3, 0)),
            img_ids=pad(positions(*x_t.shape[-2:]).to(x_t.device), (0, 1)),
            return_dict=False,
        )[0]
        return tokens.transpose(1, 2).unflatten(2, x_t.shape[-2:])

    def _mean_and_std(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The statistics of each channel of patches [1, 4 C, 1, 1], from the autoencoder's batch norm."""
        vae = self.pipeline.vae
        mean, variance = (each.view(1, -1, 1, 1).to(patches) for each in (vae.bn.running_mean, vae.bn.running_var))
        return mean, (variance + vae.config.batch_norm_eps).sqrt()


class Flux2Dev(Flux2Klein):
    """A `Denoiser` over a `Flux2Pipeline`, whose network takes the scale of guidance as an input."""

    title = "FLUX.2 dev"
    guidance = "its scale is an input of the network"
    needs = ("torchvision",)
    needed_by = "PixtralProcessor"

    @classmethod
    def before_prompt(cls, tokenizer: Any) -> str:
        """The system's message, which the pipeline sets itself, and the beginning of the user's."""
        from diffusers.pipelines.flux2.pipeline_flux2 import format_input

        conversation = format_input([MESSAGE])[0]
        return before_message(tokenizer, conversation, add_generation_prompt=False)

    def negates(self, scale: float) -> bool:
        """Never, as the network was trained to predict what guidance would give."""
        return False
