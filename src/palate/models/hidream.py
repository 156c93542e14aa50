"""HiDream-I1: a transformer with routed experts that reads four text encoders, all layers of the last one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from palate.diffusion.schedule import FlowSchedule
from palate.models import autoencoder
from palate.models.adapter import PIPELINE_MULTIPLE, Configs
from palate.models.conditioning import Conditioning
from palate.models.flow import PATCH, FlowTransformer, time_of
from palate.models.sizes import Sizes

SHIFT = 3.0
"""Of the sigmas in training: diffusers' training script sets it, whatever the scheduler of the model says."""


class HiDream(FlowTransformer):
    """A `Denoiser` over a `HiDreamImagePipeline`.

    The pipeline changes every size to about the same number of pixels, one megapixel; training takes any size.
    """

    title = "HiDream-I1"
    guidance_passes = None
    lora_targets = ("to_q", "to_k", "to_v", "to_out")

    def __init__(self, pipeline: Any) -> None:
        super().__init__(pipeline)
        for module in self.network.modules() if isinstance(self.network, torch.nn.Module) else ():
            if hasattr(module, "moe_infer"):  # without gradients, unless the layer is in training mode
                module.training = True

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole patches of the network, and whole pairs of cells, which its pipeline needs.

        The network pads an image that is not square to its own number of tokens, and takes no more of them.
        """
        factor, network = autoencoder.pixels_per_cell(configs("vae")), configs(cls.part)
        multiple = math.lcm(network["patch_size"] * factor, PATCH * factor, PIPELINE_MULTIPLE)
        oblong = math.prod(network["max_resolution"]) * factor**2
        return Sizes(cls.native_cells * factor, multiple, oblong_pixels=oblong)

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """The same for every size."""
        return FlowSchedule(SHIFT, self.density)

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str | None]) -> Conditioning:
        """The conditioning of B prompts, as the pipeline computes it; None is encoded as the empty prompt.

        The embeddings are those of T5, and `layers` [B, N, L, D] those of each layer of Llama, 33 MB a prompt in bf16.
        """
        texts = [prompt or "" for prompt in prompts]
        t5, _, llama, _, pooled, _ = self.pipeline.encode_prompt(
            texts, device=self.pipeline.text_encoder.device, do_classifier_free_guidance=False
        )
        return Conditioning({"embeddings": t5, "layers": llama.transpose(0, 1).contiguous(), "pooled": pooled})

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The velocity [B, C, h, w] at noisy latents x_t [B, C, h, w] and sigmas t [B].

        The network's own output is the velocity from noise to data, and patch by patch while it is in training mode.
        """
        output = self.network(
            hidden_states=x_t,
            timesteps=time_of(t, self.pipeline.scheduler.config),
            encoder_hidden_states_t5=conditioning.dense("embeddings"),
            encoder_hidden_states_llama3=conditioning.dense("layers").transpose(0, 1),
            pooled_embeds=conditioning.dense("pooled"),
            return_dict=False,
        )[0]
        return -(output if output.shape == x_t.shape else _joined(output, *x_t.shape[-2:]))

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments of `HiDreamImagePipeline`; see `Adapter`."""
        return {
            "prompt_embeds_t5": conditioning.dense("embeddings"),
            "prompt_embeds_llama3": conditioning.dense("layers").transpose(0, 1),
            "pooled_prompt_embeds": conditioning.dense("pooled"),
        }


def _joined(patches: Tensor, height: int, width: int) -> Tensor:
    """Latents [B, C, h, w] of patches [B, C, N, p p], of which those after the picture's own are padding."""
    patch = math.isqrt(patches.shape[-1])
    rows, columns = height // patch, width // patch
    grid = patches[:, :, : rows * columns].unflatten(2, (rows, columns)).unflatten(-1, (patch, patch))
    return grid.transpose(3, 4).flatten(4, 5).flatten(2, 3)
