"""The original names of the released architectures are undone by diffusers' own converters, on empty tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from palate.models.original_names import (
    CONVOLUTION,
    TRANSPOSED,
    OriginalTensor,
    flux_names,
    open_clip_names,
    unet_names,
    vae_names,
)

UNETS: dict[str, dict[str, Any]] = {
    "stable-diffusion-v1-5": {
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "stable-diffusion-xl-base-1.0": {
        "block_out_channels": (320, 640, 1280),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
}
LEVELS: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}


def original(state: Mapping[str, Any], table: Mapping[str, OriginalTensor], prefix: str) -> dict[str, Any]:
    """The tensors under their original names, as the table joins and shapes them."""
    found: dict[str, Any] = {}
    for name, made in table.items():
        tensors = [state[part] for part in made.parts]
        tensor = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        if made.form == CONVOLUTION:
            tensor = tensor[:, :, None, None]
        found[prefix + name] = tensor.T if made.form == TRANSPOSED else tensor
    return found


def empty(kind: Any, *arguments: Any, **config: Any) -> Any:
    with init_empty_weights():
        return kind(*arguments, **config)


def shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def test_the_number_of_tensors_of_the_released_checkpoints():
    """Of v1-5-pruned-emaonly.safetensors and sd_xl_base_1.0.safetensors, as their listings have them."""
    counts = []
    for config in UNETS.values():
        network = empty(UNet2DConditionModel, **config)
        counts.append(len(unet_names(network.state_dict(), network.config)))
    assert counts == [686, 1680]


@pytest.mark.parametrize("name", UNETS)
def test_a_unet_s_names_are_undone_one_by_one(name):
    network = empty(UNet2DConditionModel, **UNETS[name])
    state = network.state_dict()
    stored = original(state, unet_names(state, network.config), "model.diffusion_model.")
    back = single_file_utils.convert_ldm_unet_checkpoint(stored, dict(network.config))
    assert back.keys() == state.keys() and all(back[key] is value for key, value in state.items())


def test_an_autoencoder_s_names_are_undone():
    network = empty(AutoencoderKL, latent_channels=4, **LEVELS)
    state = network.state_dict()
    stored = original(state, vae_names(state, network.config), "first_stage_model.")
    assert stored["first_stage_model.decoder.mid.attn_1.q.weight"].shape == (512, 512, 1, 1)
    back = single_file_utils.convert_ldm_vae_checkpoint(stored, dict(network.config))
    assert shapes(back) == shapes(state)
    assert all(back[key] is value for key, value in state.items() if "attentions" not in key)


def test_open_clip_s_names_are_undone():
    config = CLIPTextConfig(
        hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20, projection_dim=1280
    )
    network = empty(CLIPTextModelWithProjection, config)
    state = network.state_dict()
    stored = original(state, open_clip_names(state, {}), "conditioner.embedders.1.model.")
    back = single_file_utils.convert_open_clip_checkpoint(network, stored, "conditioner.embedders.1.model.")
    assert shapes(back) == shapes(state)


@pytest.mark.parametrize("guided", [True, False], ids=["dev", "schnell"])
def test_flux_s_names_are_undone(guided):
    network = empty(FluxTransformer2DModel, guidance_embeds=guided)
    state = network.state_dict()
    stored = original(state, flux_names(state, network.config), "model.diffusion_model.")
    assert stored["model.diffusion_model.single_blocks.37.linear1.weight"].shape == (21504, 3072)
    back = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(dict(stored))
    assert shapes(back) == shapes(state)
