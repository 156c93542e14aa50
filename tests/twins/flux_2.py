"""FLUX.2: klein with guidance and distilled, and dev with its guidance as an input."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from torch import Tensor
from transformers import Mistral3ForConditionalGeneration, Qwen3ForCausalLM

from twins.language_models import chat_tokenizer, mistral_3, qwen3
from twins.twin import Twin


def random_klein(folder: Path, distilled: bool = False) -> Path:
    """A random `Flux2KleinPipeline` in a folder."""
    tokenizer = chat_tokenizer()
    Flux2KleinPipeline(
        text_encoder=Qwen3ForCausalLM(qwen3(tokenizer, layers=28)),
        tokenizer=tokenizer,
        **_parts(embedded=False),
        is_distilled=distilled,
    ).save_pretrained(folder)
    return Path(folder)


def random_dev(folder: Path) -> Path:
    """A random `Flux2Pipeline` in a folder; a tokenizer takes the place of its processor, which needs torchvision."""
    tokenizer = chat_tokenizer()
    Flux2Pipeline(
        text_encoder=Mistral3ForConditionalGeneration(mistral_3(tokenizer, layers=31)),
        tokenizer=tokenizer,
        **_parts(embedded=True),
    ).save_pretrained(folder)
    return Path(folder)


def _parts(embedded: bool) -> dict[str, Any]:
    """The other parts; with the scale of guidance as an input of the network or without."""
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=(2, 2, 2, 2),
        guidance_embeds=embedded,
    )
    blocks: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "down_block_types": ("DownEncoderBlock2D", "DownEncoderBlock2D"),
        "up_block_types": ("UpDecoderBlock2D", "UpDecoderBlock2D"),
    }
    vae = AutoencoderKLFlux2(latent_channels=4, layers_per_block=1, norm_num_groups=4, **blocks)
    statistics: Any = vae.bn
    statistics.running_mean.normal_()
    statistics.running_var.uniform_(0.5, 2)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return {"transformer": transformer, "vae": vae, "scheduler": scheduler}


def unpacked(pipeline: Any, latents: Tensor, height: int, width: int) -> Tensor:
    """The pipeline's own way from tokens to patches."""
    patch = 2 * pipeline.vae_scale_factor
    places = pipeline._prepare_latent_ids(latents.new_empty(len(latents), 1, height // patch, width // patch))
    return pipeline._unpack_latents_with_ids(latents, places)


klein = Twin(random_klein, unpacked)
klein_distilled = Twin(partial(random_klein, distilled=True), unpacked, guidance=(({"guidance_scale": 4.0}, 4.0),))
dev = Twin(random_dev, unpacked, guidance=(({"guidance_scale": 4.0}, 4.0), ({"guidance_scale": 1.0}, 1.0)))
