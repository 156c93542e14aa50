"""What is not a model of a known layout is refused with its kind, before anything is converted."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from single_files import copied, export
from tiny_pipelines import random_stable_diffusion

from palate.core.errors import InputError
from palate.models.load import load_pipeline, resolve


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_pickled_files_are_refused_unopened(tmp_path):
    for name in ("old.ckpt", "old.pt", "old.bin"):
        (tmp_path / name).write_bytes(b"anything")
        with pytest.raises(InputError, match=rf"{name} is pickled and could run any code .*as .safetensors"):
            resolve(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"notes.txt is not a model"):
        resolve(tmp_path / "notes.txt")


STRANGE = {
    "lora_unet_down_blocks_0_attn.lora_down.weight": "is a LoRA, not a model; add it to its base: --model BASE[+]x",
    "unet.down_blocks.0.attn.to_q.lora_A.weight": "is a LoRA, not a model",
    "lycoris_blocks_0.lokr_w1": "is a LoRA, not a model",
    "first_stage_model.encoder.conv_in.weight": "is an autoencoder .VAE. alone, not a model",
    "decoder.conv_in.weight": "is an autoencoder .VAE. alone",
    "text_model.encoder.layers.0.mlp.fc1.weight": "is a text encoder alone",
    "emb_params": "is an embedding of a new word",
    "head.modulation": "is a video model, not a model",
    "control_model.time_embed.0.weight": "is a ControlNet, not a model",
    "down_blocks.0.resnets.0.conv1.weight": "is one part of a diffusers folder",
    "double_blocks.0.img_attn.qkv.scale_weight": "is quantised .it has 'double_blocks.0.img_attn.qkv.scale_weight'.",
    "numbers": "is no model of a known layout: it has 1 tensors such as 'numbers'",
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_file_that_is_not_a_model_says_what_it_is(tmp_path, name):
    save_file({name: torch.zeros(4, 4)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=rf"x.safetensors {STRANGE[name]}"):
        resolve(tmp_path / "x.safetensors").check()


def test_a_model_of_more_channels_of_latents_is_not_taken_for_one_that_edits_images(tmp_path):
    """tiny-sd has eight, as many as InstructPix2Pix reads."""
    source = resolve("tiny-sd")
    file = export(source.folder, tmp_path / "tiny.safetensors")
    (tmp_path / "tiny.palate.json").write_text('{"base": "tiny-sd"}')
    ours, expected = load_pipeline(file).unet.state_dict(), load_pipeline(source).unet.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in expected.items())
    assert resolve(file).card == source.card  # the steps and the guidance of its base, for drawing


@pytest.mark.parametrize("shape", [(), (4,), (4, 0, 3, 3)])
def test_tensors_of_absurd_shapes_are_one_line(files, tmp_path, shape):
    for name in ("model.diffusion_model.input_blocks.0.0.weight", "model.diffusion_model.out.2.weight"):
        change = {name: torch.zeros(shape)}
        file = copied(
            files["sd-eps"], tmp_path / "x.safetensors", lambda tensors, change=change: tensors.update(change)
        )
        with pytest.raises(InputError, match=r"x.safetensors"):
            resolve(file).check()


def test_a_damaged_file_is_refused_before_it_is_converted(files, tmp_path, cache):
    whole = copied(files["sdxl"], tmp_path / "x.safetensors")
    whole.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"x.safetensors is truncated"):
        resolve(whole).check()
    gone = "conditioner.embedders.1.model.transformer.resblocks.1.attn.in_proj_bias"
    lacking = copied(files["sdxl"], tmp_path / "y.safetensors", lambda tensors: tensors.pop(gone))
    with pytest.raises(
        InputError, match=rf"y.safetensors, a file of Stable .* lacks 1 tensors .*'text_encoder_2': {gone}"
    ):
        resolve(lacking).check()
    (tmp_path / "z.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"z.safetensors is not a readable safetensors file"):
        resolve(tmp_path / "z.safetensors").check()
    assert not cache.exists()


def test_a_file_that_does_not_fit_its_base_is_refused(files, tmp_path):
    def inpainting(tensors):
        tensors["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(16, 9, 3, 3)

    def strange(tensors):
        tensors["model.diffusion_model.input_blocks.0.0.extra"] = torch.zeros(1)

    with pytest.raises(InputError, match=r"x.safetensors is an inpainting model"):
        resolve(copied(files["sd-eps"], tmp_path / "x.safetensors", inpainting)).check()
    with pytest.raises(InputError, match=r"1 tensors that would not be used: .*extra; it is a model of another kind"):
        resolve(copied(files["sd-eps"], tmp_path / "y.safetensors", strange)).check()
    with pytest.raises(InputError, match=r"is a StableDiffusionXLPipeline, and the file is one of Stable Diffusion 1"):
        resolve(copied(files["sd-eps"], tmp_path / "z.safetensors", base=files.base("sdxl"))).check()
    wider = random_stable_diffusion(tmp_path / "wider", width=32)
    with pytest.raises(InputError, match=r"of the shape \(.*\) instead of \(.*\); its base is a model of another size"):
        resolve(copied(files["sd-eps"], tmp_path / "w.safetensors", base=wider)).check()


def test_a_base_only_gives_configuration_and_its_safety_checker_is_not_taken(files, twins, tmp_path):
    """As with diffusers' `from_single_file`, which adds none."""
    checked = random_stable_diffusion(tmp_path / "checked", safety_threshold=2.0)
    assert load_pipeline(checked).safety_checker is not None
    file = copied(files["sd-eps"], tmp_path / "x.safetensors", base=checked)
    assert load_pipeline(file).safety_checker is None
    for base in (f"{checked}+{file}", str(files["sd-eps"])):
        (tmp_path / "x.palate.json").write_text(json.dumps({"base": base}))
        with pytest.raises(InputError, match=r"x.safetensors, .* must be a pipeline's folder or a hub id"):
            resolve(file).check()
