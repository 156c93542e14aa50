"""Lumina 2."""

from __future__ import annotations

from pathlib import Path

from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel

from twins.twin import Twin, eight_fold_vae, seeded, tiny_gemma_2


def random_lumina_2(folder: Path) -> Path:
    """A random `Lumina2Pipeline` in a folder."""
    tokenizer = seeded()
    Lumina2Pipeline(
        transformer=Lumina2Transformer2DModel(
            sample_size=4,
            in_channels=4,
            hidden_size=24,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=8,
            axes_dim_rope=(4, 4, 4),
            axes_lens=(300, 16, 16),
            cap_feat_dim=32,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=6.0),
        vae=eight_fold_vae(),
        text_encoder=tiny_gemma_2(len(tokenizer)),
        tokenizer=tokenizer,
    ).save_pretrained(folder)
    return Path(folder)


plain = Twin(random_lumina_2, size=(32, 48), square=32)
