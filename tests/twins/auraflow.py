"""AuraFlow."""

from __future__ import annotations

from pathlib import Path

from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel, FlowMatchEulerDiscreteScheduler
from transformers import UMT5Config, UMT5EncoderModel

from twins.twin import Twin, flow_vae, seeded


def random_auraflow(folder: Path) -> Path:
    """A random `AuraFlowPipeline` in a folder."""
    tokenizer = seeded()
    reader = UMT5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    transformer = AuraFlowTransformer2DModel(
        sample_size=8,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pos_embed_max_size=64,
    )
    for name, weight in transformer.named_parameters():
        if "attn" in name or "norm1" in name:  # beside 256 tokens of text, small weights would have no effect
            weight.data.mul_(4)
    AuraFlowPipeline(
        tokenizer=tokenizer,
        text_encoder=UMT5EncoderModel(reader),
        vae=flow_vae(use_quant_conv=True, use_post_quant_conv=True, scaling_factor=0.13025, shift_factor=None),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.73),
    ).save_pretrained(folder)
    return Path(folder)


plain = Twin(random_auraflow)
