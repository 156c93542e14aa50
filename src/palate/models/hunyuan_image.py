"""HunyuanImage 2.1: two streams over unpatched latents, guided by a part of its own, with glyphs of quoted text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.models import autoencoder
from palate.models.adapter import Configs
from palate.models.conditioning import Conditioning, Ragged
from palate.models.flow import FlowTransformer
from palate.models.recompute import by_name, recomputed
from palate.models.sizes import Sizes

GUIDERS = ("guider", "ocr_guider")
"""The parts that guide: the second, if there is one, where a prompt has text in quotes."""
TIMESTEPS = 1000
"""The network takes sigma times this."""


class HunyuanImage(FlowTransformer):
    """A `Denoiser` over a `HunyuanImagePipeline`.

    The text in quotes of a prompt is also read letter by letter, by a second encoder: `glyphs`, empty for a prompt
    without quotes.
    """

    title = "HunyuanImage 2.1"
    native_sizes = (2048,)
    native_cells = 64
    guidance = "by the model's own guider: classifier-free, and projected (APG) after its first steps"
    guidance_passes = None

    @classmethod
    def refusal(cls, configs: Configs) -> str | None:
        """The distilled model's network predicts the mean velocity between two times (MeanFlow)."""
        if configs(cls.part).get("use_meanflow"):
            return "it is distilled to draw in a few steps (MeanFlow), and its network has no error of a single time"
        return None

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Pairs of whole tokens: the pipeline warns of other sizes."""
        factor = autoencoder.pixels_per_cell(configs("vae"))
        patch = max(configs(cls.part)["patch_size"])
        return Sizes(cls.native_cells * factor, 2 * patch * factor)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it, without padding; None is the empty prompt."""
        texts = [prompt or "" for prompt in prompts]
        device = self.pipeline.text_encoder.device
        embeddings, mask, glyphs, glyph_mask = self.pipeline.encode_prompt(texts, device, len(texts))
        return Conditioning(
            {
                "embeddings": Ragged.of([row[some.bool()] for row, some in zip(embeddings, mask)]),
                "glyphs": Ragged.of([row[some.bool()] for row, some in zip(glyphs, glyph_mask)]),
            }
        )

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        embeddings, glyphs = conditioning.ragged("embeddings"), conditioning.ragged("glyphs")
        with recomputed(self.pipeline.transformer, by_name):
            return self.network(
                hidden_states=x_t,
                timestep=t.to(x_t.dtype) * TIMESTEPS,
                encoder_hidden_states=embeddings.padded(),
                encoder_attention_mask=embeddings.mask(),
                encoder_hidden_states_2=glyphs.padded(),
                encoder_attention_mask_2=glyphs.mask(),
                return_dict=False,
            )[0]

    def default_guidance(self) -> float:
        """The scale of the pipeline's guider; 1 if it has none."""
        guider = self.pipeline.guider
        return 1.0 if guider is None else guider.guidance_scale

    def guide(self, scale: float) -> dict[str, Any]:
        """Gives the pipeline's guiders another scale of classifier-free guidance; see `Adapter.guide`.

        The projected guidance after the first steps has a scale of its own, which stays. At 1 nothing is guided.
        """
        if scale != self.default_guidance():
            for name in GUIDERS:
                guider = getattr(self.pipeline, name)
                setattr(self.pipeline, name, guider and guider.new(guidance_scale=scale))
        return {}

    def negates(self, scale: float) -> bool:
        """Whether the pipeline has a guider, and the scale is not 1."""
        return scale != 1 and any(getattr(self.pipeline, name) is not None for name in GUIDERS)

    def batch_group(self, conditioning: Conditioning) -> int:
        """Whether the prompt has text in quotes: the pipeline has one guider for a whole batch."""
        return int(conditioning.ragged("glyphs").length.sum() > 0)

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `HunyuanImagePipeline`; see `Adapter`."""
        embeddings, glyphs = conditioning.ragged("embeddings"), conditioning.ragged("glyphs")
        letters = self.pipeline.tokenizer_2_max_length
        return {
            "prompt_embeds": embeddings.padded(),
            "prompt_embeds_mask": embeddings.mask().long(),
            "prompt_embeds_2": glyphs.padded(letters),
            "prompt_embeds_mask_2": glyphs.mask(letters).long(),
        }
