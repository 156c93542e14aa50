"""HunyuanImage 2.1, of factor 4 in place of 32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AdaptiveProjectedMixGuidance,
    AutoencoderKLHunyuanImage,
    FlowMatchEulerDiscreteScheduler,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
)
from tiny_pipelines import tiny_t5
from transformers import ByT5Tokenizer, Qwen2_5_VLForConditionalGeneration

from twins.language_models import chat_tokenizer, qwen_vl
from twins.twin import Twin


def random_hunyuan_image(folder: Path, use_meanflow: bool = False, **guiders: Any) -> Path:
    """A random `HunyuanImagePipeline` in a folder, with a guider of scale 3.5 unless others are given."""
    tokenizer, glyphs = chat_tokenizer(), ByT5Tokenizer()
    transformer = HunyuanImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        text_embed_2_dim=32,
        rope_axes_dim=(4, 4),
        use_meanflow=use_meanflow,
    )
    with torch.no_grad():  # random weights of diffusers' own size hardly read the prompt
        for weight in transformer.parameters():
            weight.mul_(3.0)
    vae = AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32, 32),  # its normalisation has 32 groups
        layers_per_block=1,
        spatial_compression_ratio=4,
        sample_size=64,
        scaling_factor=0.75,
    )
    HunyuanImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        vae=vae,
        text_encoder=Qwen2_5_VLForConditionalGeneration(qwen_vl(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=tiny_t5(len(glyphs)),
        tokenizer_2=glyphs,
        transformer=transformer,
        **{"guider": AdaptiveProjectedMixGuidance(guidance_scale=3.5), **guiders},
    ).save_pretrained(folder)
    return Path(folder)


two = Twin(random_hunyuan_image, guidance=(({}, 3.5),), prompts=('the word "cat"', "a blue star on a green background"))
"""One of the prompts has text in quotes."""
