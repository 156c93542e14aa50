"""Chroma."""

from __future__ import annotations

from pathlib import Path

from diffusers import ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler
from tiny_pipelines import tiny_t5

from twins.flux import unpacked
from twins.twin import Twin, flow_vae, seeded


def random_chroma(folder: Path) -> Path:
    """A random `ChromaPipeline` in a folder."""
    tokenizer = seeded()
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(2, 2, 4),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    ChromaPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=flow_vae(),
        text_encoder=tiny_t5(len(tokenizer)),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return Path(folder)


chroma = Twin(random_chroma, unpacked)
