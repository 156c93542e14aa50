"""Z-Image: with the static shift of its released schedulers."""

from __future__ import annotations

from pathlib import Path

from diffusers import FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from transformers import Qwen3Model

from twins.language_models import chat_tokenizer, qwen3
from twins.twin import Twin, flow_vae


def random_z_image(folder: Path) -> Path:
    """A random `ZImagePipeline` in a folder."""
    tokenizer = chat_tokenizer()
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 32, 32],
    )
    for token in (transformer.x_pad_token, transformer.cap_pad_token):
        token.data.normal_()
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=flow_vae(),
        text_encoder=Qwen3Model(qwen3(tokenizer, layers=2)),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return Path(folder)


turbo_and_base = Twin(random_z_image, guidance=(({"guidance_scale": 0.0}, 0.0), ({"guidance_scale": 4.0}, 4.0)))
