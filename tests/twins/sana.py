"""Sana, with the released scheduler and with the one of flow matching."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
)

from twins.twin import Twin, seeded, tiny_gemma_2


def random_sana(folder: Path, euler: bool = False) -> Path:
    """A random `SanaPipeline` of factor 32 in a folder."""
    tokenizer = seeded()
    levels = 6
    autoencoder: dict[str, Any] = {f"{way}_block_out_channels": (8,) * levels for way in ("encoder", "decoder")}
    autoencoder |= {f"{way}_layers_per_block": (1,) * levels for way in ("encoder", "decoder")}
    autoencoder |= {f"{way}_qkv_multiscales": ((),) * levels for way in ("encoder", "decoder")}
    released: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
    scheduler: Any = FlowMatchEulerDiscreteScheduler(shift=3.0) if euler else DPMSolverMultistepScheduler(**released)
    SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=tiny_gemma_2(len(tokenizer)),
        vae=AutoencoderDC(latent_channels=4, scaling_factor=0.41407, **autoencoder),
        transformer=SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=32,
            sample_size=16,
            timestep_scale=0.001 if euler else 1.0,
        ),
        scheduler=scheduler,
    ).save_pretrained(folder)
    return Path(folder)


plain = Twin(random_sana, size=(448, 576), square=64)
"""The size is one to which the pipeline does not resize others."""
euler = Twin(partial(random_sana, euler=True), size=(448, 576), square=64)
