"""Qwen-Image, whose autoencoder is one of videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from twins.language_models import chat_tokenizer, qwen_vl
from twins.twin import Twin


def random_qwen_image(folder: Path) -> Path:
    """A random `QwenImagePipeline` in a folder."""
    tokenizer = chat_tokenizer()
    transformer = QwenImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(2, 2, 4),
    )
    dynamic: dict[str, Any] = {"base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192, "shift_terminal": 0.02}
    vae = AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[-0.7, 0.1, 0.4, -0.2],
        latents_std=[2.8, 1.4, 0.6, 1.9],
    )
    QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, **dynamic),
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(qwen_vl(tokenizer)),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return Path(folder)


def unpacked(pipeline: Any, latents: Tensor, height: int, width: int) -> Tensor:
    """The pipeline's own way from tokens to latents of one frame."""
    return pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)[:, :, 0]


qwen_image = Twin(
    random_qwen_image,
    unpacked,
    guidance=(({"true_cfg_scale": 1.0}, 1.0), ({"true_cfg_scale": 4.0, "negative_prompt": [" ", " "]}, 4.0)),
)
