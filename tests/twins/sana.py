"""Sana, with its released scheduler."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from diffusers import (
    AutoencoderDC,
    DPMSolverMultistepScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
)

from twins.twin import Twin, seeded, tiny_gemma_2


def random_sana(folder: Path) -> Path:
    """A random `SanaPipeline` of factor 32 in a folder."""
    tokenizer = seeded()
    tokenizer.add_tokens(_words_of_the_instruction())
    levels = 6
    autoencoder: dict[str, Any] = {f"{way}_block_out_channels": (8,) * levels for way in ("encoder", "decoder")}
    autoencoder |= {f"{way}_layers_per_block": (1,) * levels for way in ("encoder", "decoder")}
    autoencoder |= {f"{way}_qkv_multiscales": ((),) * levels for way in ("encoder", "decoder")}
    released: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
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
        ),
        scheduler=DPMSolverMultistepScheduler(**released),
    ).save_pretrained(folder)
    return Path(folder)


def _words_of_the_instruction() -> list[str]:
    """Those of the text that the pipeline writes before a prompt: as single characters they take most of a test."""
    instruction = inspect.signature(SanaPipeline.__call__).parameters["complex_human_instruction"].default
    return sorted({word for word in re.findall(r"[a-z]+", " ".join(instruction).lower()) if len(word) > 3})


plain = Twin(random_sana, size=(448, 576), square=64)
"""The size is one to which the pipeline does not resize others."""
