"""PixArt-Sigma."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel
from tiny_pipelines import tiny_t5

from twins.twin import Twin, eight_fold_vae, seeded


def random_pixart_sigma(folder: Path) -> Path:
    """A random `PixArtSigmaPipeline` of factor 8 in a folder."""
    tokenizer = seeded()
    scheduler: Any = DPMSolverMultistepScheduler()
    PixArtSigmaPipeline(
        tokenizer=tokenizer,
        text_encoder=tiny_t5(len(tokenizer)),
        vae=eight_fold_vae(use_quant_conv=True, use_post_quant_conv=True, scaling_factor=0.13025, shift_factor=None),
        transformer=PixArtTransformer2DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            norm_num_groups=4,
            cross_attention_dim=16,
            sample_size=32,
            caption_channels=32,
        ),
        scheduler=scheduler,
    ).save_pretrained(folder)
    return Path(folder)


sigma = Twin(random_pixart_sigma, size=(224, 288), square=32)
"""The size is one to which the pipeline does not resize others."""
