"""CogView4."""

from __future__ import annotations

from pathlib import Path

from diffusers import CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler
from transformers import GlmConfig, GlmModel

from twins.twin import Twin, flow_vae, seeded


def random_cogview_4(folder: Path) -> Path:
    """A random `CogView4Pipeline` in a folder."""
    tokenizer = seeded(padding_side="left")
    reader = GlmConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        pad_token_id=tokenizer.pad_token_id,
    )
    dynamic = {"use_dynamic_shifting": True, "base_shift": 0.25, "max_shift": 0.75, "time_shift_type": "linear"}
    CogView4Pipeline(
        tokenizer=tokenizer,
        text_encoder=GlmModel(reader),
        vae=flow_vae(scaling_factor=1.0, shift_factor=None),
        transformer=CogView4Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=32,
            time_embed_dim=16,
            condition_dim=8,
            pos_embed_max_size=16,
            sample_size=8,
            rope_axes_dim=(16, 16),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(**dynamic),  # pyright: ignore[reportArgumentType]
    ).save_pretrained(folder)
    return Path(folder)


plain = Twin(random_cogview_4, size=(16, 32), prompts=("two red circles", "a blue star"))
"""The two prompts are of one length after padding: the pipeline pads prompts of a batch to the longest."""
