"""Folders with the configurations of released models at their true size, and no weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tiny_pipelines import tiny_tokenizer
from transformers import CLIPTextConfig, T5Config

CLIP_L: dict[str, Any] = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
CLIP_L |= {"num_attention_heads": 12, "projection_dim": 768}
CLIP_G: dict[str, Any] = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
CLIP_G |= {"num_attention_heads": 20, "projection_dim": 1280, "hidden_act": "gelu"}
T5_XXL: dict[str, Any] = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
T5_XXL |= {"vocab_size": 32128, "feed_forward_proj": "gated-gelu", "is_encoder_decoder": False}
VARIANCE = {"_class_name": "DDIMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}


def autoencoder(**options: Any) -> dict[str, Any]:
    """The configuration of Stable Diffusion's autoencoder, 84 M parameters."""
    levels = {"block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D"] * 4}
    levels |= {"up_block_types": ["UpDecoderBlock2D"] * 4, "layers_per_block": 2}
    return {"_class_name": "AutoencoderKL", "latent_channels": 4, **levels, **options}


def write(folder: Path, family: str, parts: Mapping[str, tuple[str, Mapping[str, Any] | None]], **options: Any) -> Path:
    """Writes the configurations of a pipeline: each part is its class and its configuration; None for a tokenizer."""
    libraries = {"CLIP": "transformers", "T5": "transformers"}
    index: dict[str, Any] = {"_class_name": family, **options}
    for name, (kind, settings) in parts.items():
        index[name] = [next((lib for start, lib in libraries.items() if kind.startswith(start)), "diffusers"), kind]
        if settings is None:
            tokenizer = tiny_tokenizer()
            tokenizer.model_max_length = 77
            tokenizer.save_pretrained(folder / name)
        elif kind.startswith("CLIP"):
            CLIPTextConfig(vocab_size=49408, **settings).save_pretrained(folder / name)
        elif kind.startswith("T5"):
            T5Config(**settings).save_pretrained(folder / name)
        else:
            (folder / name).mkdir(parents=True)
            file = "scheduler_config.json" if name == "scheduler" else "config.json"
            (folder / name / file).write_text(json.dumps(settings))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def sd15(folder: Path) -> Path:
    """stable-diffusion-v1-5: 860 M, 84 M and 123 M parameters."""
    unet = {"_class_name": "UNet2DConditionModel", "sample_size": 64, "cross_attention_dim": 768}
    unet |= {"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8}
    unet |= {"down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]}
    unet |= {"up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}
    parts = {
        "vae": ("AutoencoderKL", autoencoder()),
        "text_encoder": ("CLIPTextModel", CLIP_L),
        "tokenizer": ("CLIPTokenizer", None),
        "unet": ("UNet2DConditionModel", unet),
        "scheduler": ("DDIMScheduler", VARIANCE),
    }
    return write(folder, "StableDiffusionPipeline", parts)


def sdxl(folder: Path) -> Path:
    """stable-diffusion-xl-base-1.0: 2.57 G, 84 M, 123 M and 695 M parameters."""
    unet = {"_class_name": "UNet2DConditionModel", "sample_size": 128, "cross_attention_dim": 2048}
    unet |= {"block_out_channels": [320, 640, 1280], "attention_head_dim": [5, 10, 20], "use_linear_projection": True}
    unet |= {"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"]}
    unet |= {"up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"]}
    unet |= {"transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time"}
    unet |= {"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816}
    parts = {
        "vae": ("AutoencoderKL", autoencoder(scaling_factor=0.13025)),
        "text_encoder": ("CLIPTextModel", CLIP_L),
        "tokenizer": ("CLIPTokenizer", None),
        "text_encoder_2": ("CLIPTextModelWithProjection", CLIP_G),
        "tokenizer_2": ("CLIPTokenizer", None),
        "unet": ("UNet2DConditionModel", unet),
        "scheduler": ("DDIMScheduler", VARIANCE),
    }
    return write(folder, "StableDiffusionXLPipeline", parts, force_zeros_for_empty_prompt=True)


def sd35_medium(folder: Path) -> Path:
    """stable-diffusion-3.5-medium: 2.2 G, 84 M, 124 M, 695 M and 4.76 G parameters."""
    transformer = {"_class_name": "SD3Transformer2DModel", "sample_size": 128, "patch_size": 2, "num_layers": 24}
    transformer |= {"in_channels": 16, "out_channels": 16, "attention_head_dim": 64, "num_attention_heads": 24}
    transformer |= {"joint_attention_dim": 4096, "caption_projection_dim": 1536, "pooled_projection_dim": 2048}
    transformer |= {"pos_embed_max_size": 384, "dual_attention_layers": list(range(13)), "qk_norm": "rms_norm"}
    quant = {"use_quant_conv": False, "use_post_quant_conv": False}
    vae = autoencoder(latent_channels=16, scaling_factor=1.5305, shift_factor=0.0609, **quant)
    parts = {
        "vae": ("AutoencoderKL", vae),
        "text_encoder": ("CLIPTextModelWithProjection", CLIP_L),
        "tokenizer": ("CLIPTokenizer", None),
        "text_encoder_2": ("CLIPTextModelWithProjection", CLIP_G),
        "tokenizer_2": ("CLIPTokenizer", None),
        "text_encoder_3": ("T5EncoderModel", T5_XXL),
        "tokenizer_3": ("CLIPTokenizer", None),
        "transformer": ("SD3Transformer2DModel", transformer),
        "scheduler": ("FlowMatchEulerDiscreteScheduler", FLOW),
    }
    return write(folder, "StableDiffusion3Pipeline", parts)


def flux_dev(folder: Path) -> Path:
    """FLUX.1-dev: 11.9 G, 84 M, 123 M and 4.76 G parameters."""
    transformer = {"_class_name": "FluxTransformer2DModel", "in_channels": 64, "num_layers": 19}
    transformer |= {"num_single_layers": 38, "attention_head_dim": 128, "num_attention_heads": 24, "patch_size": 1}
    transformer |= {"joint_attention_dim": 4096, "pooled_projection_dim": 768, "guidance_embeds": True}
    quant = {"use_quant_conv": False, "use_post_quant_conv": False}
    vae = autoencoder(latent_channels=16, scaling_factor=0.3611, shift_factor=0.1159, **quant)
    parts = {
        "vae": ("AutoencoderKL", vae),
        "text_encoder": ("CLIPTextModel", CLIP_L),
        "tokenizer": ("CLIPTokenizer", None),
        "text_encoder_2": ("T5EncoderModel", T5_XXL),
        "tokenizer_2": ("CLIPTokenizer", None),
        "transformer": ("FluxTransformer2DModel", transformer),
        "scheduler": ("FlowMatchEulerDiscreteScheduler", FLOW | {"use_dynamic_shifting": True}),
    }
    return write(folder, "FluxPipeline", parts)


TRUE_SIZE: dict[str, Callable[[Path], Path]] = {"sd15": sd15, "sdxl": sdxl, "sd35": sd35_medium, "flux": flux_dev}
