"""Random LoRAs with the names of kohya's scripts."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from palate.models.lora_fit import layer_widths
from palate.models.source import resolve

RANK, ALPHA = 4, 2.0
READERS = {
    "lora_te_text_model_encoder_layers_0_mlp_fc1": (16, 32),
    "lora_te_text_model_encoder_layers_1_self_attn_out_proj": (16, 16),
    "lora_te_text_model_encoder_layers_1_self_attn_q_proj": (16, 16),
}
LAYERS = {
    "sd-eps": r"up_blocks_1_attentions_0_transformer_blocks_0_attn[12]_to_(?:[qkv]|out_0)",
    "sdxl": r"(?:input_blocks_3_1|middle_block_1|output_blocks_0_1)_.*attn2_to_[kv]|input_blocks_3_1_proj_in",
    "flux-dev": r"double_blocks_0_(?:img|txt)_(?:attn_qkv|attn_proj|mlp_[02]|mod_lin)|single_blocks_0_linear2",
}
"""The layers of each twin's network that get a LoRA, in the original layout for SDXL and FLUX.1."""


def kohya(base: Path, name: str, file: Path, seed: int = 0, text: bool = True) -> Path:
    """A random LoRA with the names of kohya's scripts, those of the original layout for SDXL and FLUX.1."""
    source = resolve(base)
    network = load_file(next((base / source.network).glob("*.safetensors")))
    shapes = {key: tuple(value.shape) for key, value in network.items()}
    known = layer_widths(shapes, source.network, source.family, source.config(source.network))
    layers = {f"lora_unet_{layer}": sizes for layer, sizes in known.items() if re.fullmatch(LAYERS[name], layer)}
    assert len(layers) > 5
    if text:
        layers |= {key if name == "sd-eps" else key.replace("te_", "te1_"): size for key, size in READERS.items()}
    generator, state = torch.Generator().manual_seed(seed), {}
    for layer, (ins, outs) in layers.items():
        state[f"{layer}.lora_down.weight"] = torch.randn(RANK, ins, generator=generator)
        state[f"{layer}.lora_up.weight"] = torch.randn(outs, RANK, generator=generator) / 2
        state[f"{layer}.alpha"] = torch.tensor(ALPHA)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file)
    return file
