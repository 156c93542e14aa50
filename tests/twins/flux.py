"""FLUX.1: dev with its guidance as an input, schnell without."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from tiny_pipelines import tiny_t5
from torch import Tensor

from twins.twin import Twin, flow_vae, seeded, tiny_clip_text


def random_flux(folder: Path, distilled: bool = True) -> Path:
    """A random `FluxPipeline` in a folder; with the scale of guidance as an input (dev) or without (schnell)."""
    tokenizer = seeded()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=distilled,
    )
    dynamic: dict[str, Any] = {"shift": 3.0, "use_dynamic_shifting": True} if distilled else {"shift": 1.0}
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**dynamic),
        vae=flow_vae(),
        text_encoder=tiny_clip_text(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=tiny_t5(len(tokenizer)),
        tokenizer_2=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return Path(folder)


def unpacked(pipeline: Any, latents: Tensor, height: int, width: int) -> Tensor:
    """The pipeline's own way from tokens to latents."""
    return pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)


dev = Twin(random_flux, unpacked, guidance=(({"guidance_scale": 3.5}, 3.5), ({"guidance_scale": 1.0}, 1.0)))
schnell = Twin(partial(random_flux, distilled=False), unpacked, guidance=(({"guidance_scale": 0.0}, 0.0),))
