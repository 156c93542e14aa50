"""A model's LoRA is used completely, as plain diffusers uses it, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from palate.core.errors import InputError
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.models.lora_file import LORA_FILE

TEXT_LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
PROMPTS = ["two red circles", "a star"]


def adapter(network: Any, targets: list[str], seed: int, alpha: int = 4) -> dict[str, torch.Tensor]:
    """A strong random LoRA for a network, which is not changed."""
    torch.manual_seed(seed)
    network.add_adapter(LoraConfig(r=2, lora_alpha=alpha, target_modules=targets, init_lora_weights=False))
    return {name: value.clone() for name, value in get_peft_model_state_dict(network).items()}


def write_lora(
    base: Path,
    folder: Path,
    text: bool = True,
    unet: bool = True,
    kohya: bool = False,
    text_layers: list[str] = TEXT_LAYERS,
) -> Path:
    """A LoRA of a random Stable Diffusion in `folder`, on its text encoder or its UNet or both."""
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    found: dict[str, dict[str, torch.Tensor]] = {}
    if unet:
        found["unet"] = adapter(pipeline.unet, ["to_q", "to_k", "to_v", "to_out.0"], seed=1)
    if text:
        found["text_encoder"] = adapter(pipeline.text_encoder, text_layers, seed=2)
    if kohya:
        folder.mkdir()
        save_file(kohya_names(found), folder / LORA_FILE)
    else:
        layers: dict[str, Any] = {
            f"{part}_lora_layers": convert_state_dict_to_diffusers(dict(state)) for part, state in found.items()
        }
        metadata = _collate_lora_metadata({part: getattr(pipeline, part) for part in found})
        StableDiffusionPipeline.save_lora_weights(folder, **layers, **metadata)
    (folder / "palate.json").write_text(json.dumps({"base": str(base)}))
    return folder


def kohya_names(found: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The names that kohya's scripts write, each layer with its alpha."""
    state = {}
    for part, start in (("unet", "lora_unet_"), ("text_encoder", "lora_te_text_model_")):
        for name, value in found.get(part, {}).items():
            layer, kind = name.removeprefix("text_model.").split(".lora_")
            layer = start + layer.replace(".", "_")
            state[f"{layer}.lora_{'down' if kind.startswith('A') else 'up'}.weight"] = value.contiguous()
            state[f"{layer}.alpha"] = torch.tensor(4.0)
    return state


def plain_diffusers(base: Path, lora: Path) -> Any:
    """What a user of diffusers does with both."""
    pipeline: Any = DiffusionPipeline.from_pretrained(base)
    pipeline.load_lora_weights(lora)
    pipeline.fuse_lora(components=["unet", "text_encoder"])
    pipeline.unload_lora_weights()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def picture(pipeline: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(0)
    image = pipeline("a star", num_inference_steps=3, generator=generator).images[0]
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("kohya", [False, True])
@pytest.mark.parametrize("text, unet", [(True, True), (True, False), (False, True)])
def test_pictures_equal_those_of_plain_diffusers(models, tmp_path, text, unet, kohya):
    lora = write_lora(models["eps"], tmp_path / "lora", text, unet, kohya)
    ours, theirs = picture(load_pipeline(lora)), picture(plain_diffusers(models["eps"], lora))
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(ours - picture(load_pipeline(models["eps"]))).max() > 10  # the LoRA has an effect


def test_encoders_alone_and_the_network_alone_hold_their_part_of_it(models, tmp_path):
    lora = write_lora(models["eps"], tmp_path / "lora")
    whole = load_denoiser(lora)
    encoders, network = load_denoiser(lora, without=["unet"]), load_denoiser(lora, without=["vae", "text_encoder"])
    expected = whole.encode_prompt(PROMPTS)
    torch.testing.assert_close(encoders.encode_prompt(PROMPTS).dense("embeddings"), expected.dense("embeddings"))
    base = load_denoiser(models["eps"]).encode_prompt(PROMPTS).dense("embeddings")
    assert (expected.dense("embeddings") - base).abs().max() > 0.1
    x_t, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([10, 700])
    with torch.no_grad():
        torch.testing.assert_close(network.predict(x_t, t, expected), whole.predict(x_t, t, expected))


def test_a_network_that_was_trained_on_top_is_not_given_the_lora_again(models, tmp_path):
    """Saving a full fine-tune puts the network in as it is; the text encoder still needs its part."""
    lora = write_lora(models["eps"], tmp_path / "lora")
    trained = load_denoiser(lora).network
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    parts: dict[str, Any] = {"unet": trained}
    pipeline = load_pipeline(lora, **parts)
    assert all(torch.equal(value, before[name]) for name, value in pipeline.unet.state_dict().items())
    expected = load_pipeline(lora).text_encoder.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in pipeline.text_encoder.state_dict().items())


def test_cached_embeddings_are_not_shared_with_the_base_where_a_lora_changes_them(models, tmp_path):
    base = resolve(models["eps"])
    both = resolve(write_lora(models["eps"], tmp_path / "both"))
    unet = resolve(write_lora(models["eps"], tmp_path / "unet", text=False))
    text = resolve(write_lora(models["eps"], tmp_path / "text", unet=False, kohya=True))
    readers = [source.fingerprint(*source.readers()) for source in (base, both, unet, text)]
    assert readers[2] == readers[0] and len({readers[0], readers[1], readers[3]}) == 3
    networks = [source.fingerprint("unet") for source in (base, both, unet, text)]
    assert networks[3] == networks[0] and len({networks[0], networks[1], networks[2]}) == 3
    assert len({source.fingerprint("vae") for source in (base, both, unet, text)}) == 1


def test_layers_that_diffusers_loses_while_it_renames_them_are_refused(models, tmp_path):
    """Of kohya's files it renames the text encoder's attention only where the output projection is among them."""
    lora = write_lora(models["eps"], tmp_path / "lora", kohya=True, text_layers=["q_proj", "fc1"])
    with pytest.raises(InputError, match="8 tensors for the part 'text_encoder', of which the model takes 4"):
        load_pipeline(lora)


def test_the_second_text_encoder_of_sdxl_gets_its_part(models, tmp_path):
    pipeline = StableDiffusionXLPipeline.from_pretrained(models["sdxl"])
    layers: dict[str, Any] = {}
    for number, part in enumerate(("unet", "text_encoder", "text_encoder_2")):
        targets = ["to_q", "to_k", "to_v", "to_out.0"] if part == "unet" else TEXT_LAYERS
        found = adapter(getattr(pipeline, part), targets, seed=number)
        layers[f"{part}_lora_layers"] = convert_state_dict_to_diffusers(found)
    StableDiffusionXLPipeline.save_lora_weights(tmp_path, **layers)
    (tmp_path / "palate.json").write_text(json.dumps({"base": str(models["sdxl"])}))
    plain: Any = DiffusionPipeline.from_pretrained(models["sdxl"])
    plain.load_lora_weights(tmp_path)
    plain.fuse_lora(components=["unet", "text_encoder", "text_encoder_2"])
    plain.unload_lora_weights()
    ours = load_pipeline(tmp_path)
    for part in ("unet", "text_encoder", "text_encoder_2"):
        expected, base = getattr(plain, part).state_dict(), getattr(load_pipeline(models["sdxl"]), part).state_dict()
        found = getattr(ours, part).state_dict()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
        assert any(not torch.equal(value, found[name]) for name, value in base.items())


def test_a_lora_of_names_that_are_not_known_is_part_of_every_identity_but_the_vae_s(models, tmp_path):
    lora = write_lora(models["eps"], tmp_path / "lora", text=False)
    state = load_file(lora / LORA_FILE)
    save_file({f"base_model.model.{name}": value for name, value in state.items()}, lora / LORA_FILE)
    base, found = resolve(models["eps"]), resolve(lora)
    assert base.fingerprint("unet") != found.fingerprint("unet")
    assert base.fingerprint(*base.readers()) != found.fingerprint(*found.readers())
    assert base.fingerprint("vae") == found.fingerprint("vae")


def rewritten(lora: Path, change) -> Path:
    state = load_file(lora / LORA_FILE)
    change(state)
    save_file({name: value.contiguous() for name, value in state.items()}, lora / LORA_FILE)
    return lora


def test_tensors_of_no_part_are_refused(models, tmp_path):
    def strip(state):
        for name in list(state):
            state[name.removeprefix("unet.")] = state.pop(name)

    lora = rewritten(write_lora(models["eps"], tmp_path / "lora", text=False), strip)
    with pytest.raises(InputError, match="belongs to no part of StableDiffusionPipeline"):
        load_pipeline(lora)


def test_a_layer_that_the_model_lacks_is_refused(models, tmp_path):
    def add(state):
        name = next(each for each in state if each.startswith("unet.down_blocks.0") and "to_q" in each)
        state[name.replace("down_blocks.0", "down_blocks.7")] = state[name].clone()

    lora = rewritten(write_lora(models["eps"], tmp_path / "lora", text=False), add)
    with pytest.raises(InputError, match="1 of the 33 layers are not in its network: down_blocks_7_"):
        load_pipeline(lora)


def test_a_lora_of_a_wider_model_is_refused_by_its_file(models, tmp_path):
    from tiny_pipelines import random_stable_diffusion

    wider = random_stable_diffusion(tmp_path / "wider", width=32)
    lora = write_lora(wider, tmp_path / "lora", text=False)
    (lora / "palate.json").write_text(json.dumps({"base": str(models["eps"])}))
    with pytest.raises(
        InputError,
        match="lora/pytorch_lora_weights.safetensors is not a LoRA .* 32 layers are of other sizes",
    ):
        load_pipeline(lora)


@pytest.mark.parametrize("name", ["lora_unet_down_blocks_0_attentions_0.dora_scale", "bundle_emb.word.string_to_param"])
def test_what_diffusers_reads_without_using_it_is_refused(models, tmp_path, name):
    lora = rewritten(
        write_lora(models["eps"], tmp_path / "lora", text=False), lambda state: state.update({name: torch.ones(1)})
    )
    with pytest.raises(InputError, match=f"does not apply '{name}'"):
        load_pipeline(lora)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_lora_of_a_diverged_run_is_refused_with_the_tensors_name(models, tmp_path, part, value):
    def spoil(state):
        name = next(each for each in state if each.startswith(f"{part}."))
        state[name].view(-1)[3] = value

    lora = rewritten(write_lora(models["eps"], tmp_path / "lora"), spoil)
    with pytest.raises(InputError, match=rf"pytorch_lora_weights.safetensors: not finite: '{part}\..*diverged"):
        load_pipeline(lora)


def test_a_pipeline_that_takes_no_lora_says_so(models, tmp_path, monkeypatch):
    lora = write_lora(models["eps"], tmp_path / "lora")
    monkeypatch.delattr("diffusers.loaders.StableDiffusionLoraLoaderMixin.load_lora_weights")
    monkeypatch.delattr("diffusers.loaders.lora_base.LoraBaseMixin.load_lora_weights")
    with pytest.raises(InputError, match="diffusers' StableDiffusionPipeline does not support LoRAs"):
        load_pipeline(lora)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_model_of_a_diverged_run_is_refused_with_part_and_tensor(models, tmp_path, part):
    pipeline = StableDiffusionPipeline.from_pretrained(models["eps"])
    name, value = next(iter(getattr(pipeline, part).named_parameters()))
    value.data.view(-1)[0] = float("nan")
    pipeline.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=rf"the part '{part}' .*: not finite: '{name}'.*diverged"):
        load_pipeline(tmp_path)
