"""CogView4: a transformer that takes the time before the schedule's shift, and each image's size and crop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.diffusion.schedule import FlowSchedule
from palate.models import autoencoder
from palate.models.adapter import PIPELINE_MULTIPLE, Configs
from palate.models.conditioning import Conditioning, Ragged
from palate.models.flow import FlowTransformer
from palate.models.frames import Frames
from palate.models.sizes import Sizes

MULTIPLE = 16
"""The pipeline takes only widths and heights that are multiples of this."""


class CogView4(FlowTransformer):
    """A `Denoiser` over a `CogView4Pipeline`.

    Prompts are padded to a multiple of 16 tokens, and the network attends to the padding. So a prompt is encoded alone,
    and prompts of unequal length go through the network one length after the other.
    """

    title = "CogView4"
    guidance_passes = "turns"

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole tokens, of any number."""
        network, factor = configs(cls.part), autoencoder.pixels_per_cell(configs("vae"))
        multiple = math.lcm(network["patch_size"] * factor, MULTIPLE, PIPELINE_MULTIPLE)
        return Sizes(network["sample_size"] * factor, multiple)

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """Uniform, with the shift of the pipeline, which depends on the size of the image."""
        return FlowSchedule(self._shift(cells), self.density)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, each as the pipeline computes it alone; no prompt is the empty one."""
        rows = [
            self.pipeline.encode_prompt(
                [prompt or ""], do_classifier_free_guidance=False, device=self.pipeline.text_encoder.device
            )[0][0]
            for prompt in prompts
        ]
        return Conditioning({"embeddings": Ragged.of(rows)})

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """Original size, crop and target size, always in float32, because bfloat16 would round numbers of pixels."""
        return Conditioning({"frames": frames.rows})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The raw output [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B]."""
        if "frames" not in conditioning.tensors:
            height, width = (side * self.pipeline.vae_scale_factor for side in x_t.shape[-2:])
            whole = self.image_conditioning(Frames.whole(len(x_t), height, width))
            conditioning = conditioning.merged(whole.to(x_t.device))
        # The shift moves a time u to sigma = s u / (1 + (s - 1) u); this is its inverse.
        u = t / (t + self._shift((x_t.shape[-2], x_t.shape[-1])) * (1 - t))
        time = u * self.pipeline.scheduler.config.num_train_timesteps
        length = conditioning.ragged("embeddings").length
        found: list[Tensor | None] = [None] * len(x_t)
        for each in length.unique().tolist():
            rows = (length == each).nonzero()[:, 0]
            for row, prediction in zip(rows.tolist(), self._of_one_length(x_t, time, conditioning, rows)):
                found[row] = prediction
        return torch.stack(found)  # type: ignore[arg-type]  # every row has a length

    def batch_group(self, conditioning: Conditioning) -> int:
        """The prompt's number of tokens: the pipeline has no mask, so its network would attend to padding."""
        return int(conditioning.ragged("embeddings").length)

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `CogView4Pipeline`, of prompts of one length; see `Adapter`."""
        return {"prompt_embeds": conditioning.ragged("embeddings").padded()}

    def _of_one_length(self, x_t: Tensor, time: Tensor, conditioning: Conditioning, rows: Tensor) -> Tensor:
        """The predictions of some rows, whose prompts have as many tokens."""
        there = rows.to(x_t.device)
        original, crop, target = conditioning.dense("frames")[there].split(2, dim=1)
        return self.network(
            hidden_states=x_t[there],
            encoder_hidden_states=conditioning.ragged("embeddings")[rows].padded(),
            timestep=time[there],
            original_size=original,
            target_size=target,
            crop_coords=crop,
            return_dict=False,
        )[0]

    def _shift(self, cells: tuple[int, int]) -> float:
        """The shift s of the schedule for latents of (h, w) cells, as the pipeline computes it."""
        config = self.pipeline.scheduler.config
        if not config.use_dynamic_shifting:
            return config.shift
        tokens = cells[0] * cells[1] // self.pipeline.transformer.config.patch_size**2
        mu = config.max_shift * math.sqrt(tokens / config.base_image_seq_len) + config.base_shift
        return mu if config.time_shift_type == "linear" else math.exp(mu)
