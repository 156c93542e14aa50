"""A LoRA of another model is refused from its header, with the model for which it seems to be made."""

from __future__ import annotations

import pytest
import torch
from kohya_lora import kohya
from safetensors.torch import save_file

from palate.core.errors import InputError
from palate.models.load import resolve


@pytest.mark.parametrize("name, other", [("sdxl", "Stable Diffusion XL"), ("flux-dev", "FLUX.1")])
def test_a_lora_of_another_family_is_refused_with_that_family(twins, tmp_path, name, other):
    file = kohya(twins[name], name, tmp_path / "style.safetensors")
    source = resolve(f"{twins['sd-eps']}+{file}:0.5")
    with pytest.raises(InputError, match=rf"is not a LoRA for .*sd-eps, .*it seems to be made for {other}"):
        source.check()


def test_a_lora_is_known_by_its_own_description_first_and_by_its_width_last(twins, tmp_path):
    layer = "lora_unet_mid_block_attentions_0_attn2_to_k"
    state = {f"{layer}.lora_down.weight": torch.zeros(4, 768), f"{layer}.lora_up.weight": torch.zeros(320, 4)}
    save_file(state, tmp_path / "one.safetensors")
    save_file(state, tmp_path / "two.safetensors", {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"})
    for name, family in (("one", "Stable Diffusion 1"), ("two", "Stable Diffusion XL")):
        with pytest.raises(InputError, match=f"it seems to be made for {family}$"):
            resolve(f"{twins['sd-eps']}+{tmp_path / name}.safetensors").check()


def test_the_weights_of_the_model_are_not_read_for_it(twins, tmp_path, monkeypatch):
    file = kohya(twins["sdxl"], "sdxl", tmp_path / "style.safetensors")

    def read(*_, **__):
        raise AssertionError("weights are read")

    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", read)
    monkeypatch.setattr("safetensors.torch.load_file", read)
    with pytest.raises(InputError, match="is not a LoRA for"):
        resolve(f"{twins['sd-eps']}+{file}").check()


LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
FLAT = f"lora_unet_{LAYER.replace('.', '_')}"
DOWN, UP = torch.ones(2, 16), torch.ones(16, 2)


@pytest.mark.parametrize(
    "state, reason",
    [
        ({}, "x.safetensors is not a LoRA: none of its 0 tensors has the name of one; fetch it again"),
        ({"model.diffusion_model.out.2.bias": UP}, "none of its 1 tensors .*; a model is given as the base, before"),
        (
            {f"unet.{LAYER}.lora_A.weight": DOWN},
            "1 of the 1 layers have one of their two matrices alone",
        ),
        (
            {f"base_model.model.{LAYER}.lora_A.weight": DOWN, f"base_model.model.{LAYER}.lora_B.weight": UP},
            "is a LoRA in peft's names; name it adapter_model.safetensors and put peft's adapter_config.json",
        ),
        ({f"{FLAT}.hada_w1_a": UP, f"{FLAT}.hada_w1_b": DOWN}, "diffusers does not apply 'lora_unet.*hada_w1_a'"),
    ],
    ids=["empty", "a model", "half", "peft without its settings", "LoHa"],
)
def test_what_is_not_a_whole_lora_is_one_line_before_weights_are_read(twins, tmp_path, state, reason):
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=reason):
        resolve(f"{twins['sd-eps']}+{tmp_path}/x.safetensors").check()
