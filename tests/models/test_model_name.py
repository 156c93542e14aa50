"""A model's name may have LoRAs and their weights, and the model is what plain diffusers makes of the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from kohya_lora import ALPHA, LAYERS, RANK, kohya
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from single_files import picture

from palate.align.output import portable_name
from palate.core.errors import InputError
from palate.models.export_config import ModelExportConfig
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.models.lora import add_lora, save_lora
from palate.models.lora_file import Lora, split_weight
from palate.models.model_card import KOHYA_FILE
from palate.models.model_export import export_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' Euler scheduler
]
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))


def in_diffusers_names(base: Path, folder: Path, seed: int = 0) -> Path:
    """A random LoRA of a Stable Diffusion's network and text encoder, as diffusers saves it."""
    pipeline: Any = DiffusionPipeline.from_pretrained(base)
    layers = {}
    for part, targets in (("unet", ATTENTION), ("text_encoder", ["q_proj", "fc1"])):
        torch.manual_seed(seed)
        module = getattr(pipeline, part)
        module.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=targets, init_lora_weights=False))
        layers[f"{part}_lora_layers"] = dict(get_peft_model_state_dict(module))
    StableDiffusionPipeline.save_lora_weights(folder, **layers)
    return folder


def in_peft_names(base: Path, folder: Path, part: str) -> Path:
    """A random LoRA of a network as peft saves it, with an alpha that is not its rank."""
    network = getattr(DiffusionPipeline.from_pretrained(base), part)
    torch.manual_seed(3)
    config = LoraConfig(r=RANK, lora_alpha=9, target_modules=ATTENTION, init_lora_weights=False)
    get_peft_model(network, config).save_pretrained(str(folder))
    return folder


def plain(base: Path, *loras: tuple[Path, float]) -> Any:
    """What a user of diffusers does: loads and fuses each file at its weight."""
    pipeline: Any = DiffusionPipeline.from_pretrained(base)
    for file, weight in loras:
        pipeline.load_lora_weights(file.parent, weight_name=file.name)
        parts = [part for part in pipeline._lora_loadable_modules if hasattr(pipeline, part)]
        pipeline.fuse_lora(components=parts, lora_scale=weight)
        pipeline.unload_lora_weights()
    return pipeline


@pytest.mark.parametrize("weight", [0.6, -0.5])
@pytest.mark.parametrize("name", LAYERS)
def test_a_kohya_file_draws_as_in_plain_diffusers_at_its_weight(twins, tmp_path, name, weight):
    file = kohya(twins[name], name, tmp_path / "style.safetensors")
    ours = picture(load_pipeline(f"{twins[name]}+{file}:{weight}"), name)
    assert np.array_equal(ours, picture(plain(twins[name], (file, weight)), name))
    assert np.abs(ours.astype(int) - picture(load_pipeline(twins[name]), name)).max() > 5
    assert not np.array_equal(ours, picture(load_pipeline(f"{twins[name]}+{file}"), name))


@pytest.mark.parametrize("name", LAYERS)
def test_encoders_and_network_that_are_loaded_apart_have_their_parts_of_it(twins, tmp_path, name):
    """As training does, which never has both in memory."""
    model = f"{twins[name]}+{kohya(twins[name], name, tmp_path / 'style.safetensors')}:0.6"
    source, whole = resolve(model), load_pipeline(model)
    apart = {
        "text_encoder": load_denoiser(source, without=(source.network,)).pipeline,
        source.network: load_denoiser(source, without=source.encoders()).pipeline,
    }
    for part, pipeline in apart.items():
        state = getattr(pipeline, part).state_dict()
        assert all(torch.equal(value, state[key]) for key, value in getattr(whole, part).state_dict().items())


def test_each_weight_is_the_base_s_and_what_the_equation_adds(twins, tmp_path):
    """W + weight * (alpha / rank) * up down, of the network and of the text encoder."""
    file = kohya(twins["sd-eps"], "sd-eps", tmp_path / "style.safetensors")
    state, base = load_file(file), load_pipeline(twins["sd-eps"])
    ours = load_pipeline(f"{twins['sd-eps']}+{file}:0.7")
    for part, layer, flat in (
        ("unet", "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", "lora_unet"),
        ("text_encoder", "encoder.layers.0.mlp.fc1", "lora_te_text_model"),
    ):
        flat = f"{flat}_{layer.replace('.', '_')}"
        added = 0.7 * ALPHA / RANK * state[f"{flat}.lora_up.weight"] @ state[f"{flat}.lora_down.weight"]
        before = getattr(base, part).get_submodule(layer).weight
        torch.testing.assert_close(getattr(ours, part).get_submodule(layer).weight, before + added)


def test_a_folder_in_diffusers_names_and_several_loras_add_up_in_their_order(twins, tmp_path):
    base = twins["sd-eps"]
    one = in_diffusers_names(base, tmp_path / "one")
    two = kohya(base, "sd-eps", tmp_path / "two.safetensors", seed=5)
    ours = load_pipeline(f"{base}+{one}:0.5+{two}:0.25")
    expected = plain(base, (one / "pytorch_lora_weights.safetensors", 0.5), (two, 0.25))
    assert np.array_equal(picture(ours, "sd-eps"), picture(expected, "sd-eps"))
    source = resolve(f"{base}+{one}:0.5+{two}:0.25")
    assert source.loras == (Lora(one, 0.5), Lora(two, 0.25)) and source.origin().loras == (Lora(one, 0.5),)


@pytest.mark.parametrize("name, part", [("sd-eps", "unet"), ("pixart-sigma", "transformer")])
def test_peft_s_own_format_is_added_at_its_weight(twins, tmp_path, name, part):
    folder = in_peft_names(twins[name], tmp_path / "adapter", part)
    expected: Any = DiffusionPipeline.from_pretrained(twins[name])
    adapted: Any = PeftModel.from_pretrained(getattr(expected, part), str(folder))
    for layer in adapted.modules():
        if hasattr(layer, "scale_layer"):
            layer.scale_layer(0.4)
    merged = adapted.merge_and_unload().state_dict()
    for given in (folder, folder / "adapter_model.safetensors"):
        ours = getattr(load_pipeline(f"{twins[name]}+{given}:0.4"), part).state_dict()
        for key, value in merged.items():
            torch.testing.assert_close(ours[key], value)


def test_a_base_may_be_a_single_file_and_a_card_may_name_all_of_it(files, twins, tmp_path):
    one = kohya(twins["sd-eps"], "sd-eps", tmp_path / "one.safetensors")
    expected = picture(load_pipeline(f"{twins['sd-eps']}+{one}:0.5"), "sd-eps")
    assert np.array_equal(picture(load_pipeline(f"{files['sd-eps']}+{one}:0.5"), "sd-eps"), expected)
    folder = in_diffusers_names(twins["sd-eps"], tmp_path / "two", seed=9)
    card = {"base": f"{files['sd-eps']}+{one}:0.5", "weight": 0.3}
    (folder / "palate.json").write_text(json.dumps(card))
    both = f"{twins['sd-eps']}+{one}:0.5+{folder}:0.3"
    assert np.array_equal(picture(load_pipeline(folder), "sd-eps"), picture(load_pipeline(both), "sd-eps"))
    (folder / "palate.json").write_text(json.dumps({**card, "weight": "strong"}))
    with pytest.raises(InputError, match=r"the weight of the LoRA in .*two/palate.json is 'strong'; give a number"):
        resolve(folder)


def test_weights_are_part_of_what_caches_are_named_by(twins, tmp_path):
    base, file = twins["sd-eps"], kohya(twins["sd-eps"], "sd-eps", tmp_path / "one.safetensors")
    sources = [resolve(base), *(resolve(f"{base}+{file}{weight}") for weight in ("", ":0.5", ":0.6"))]
    for parts in (("unet",), ("text_encoder", "tokenizer")):
        assert len({source.fingerprint(*parts) for source in sources}) == 4
    assert len({source.fingerprint("vae") for source in sources}) == 1
    assert len({source.identity() for source in sources}) == 4
    assert sources[1].identity() == resolve(f"{base}+{file}:1.0").identity()


def test_paths_with_a_plus_win_and_names_are_the_same_from_every_folder(twins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(twins["sd-eps"], "my+model")
    Path("my").mkdir()
    kohya(twins["sd-eps"], "sd-eps", Path("a+b.safetensors"))
    kohya(twins["sd-eps"], "sd-eps", Path("model"), text=False)  # beside which `my+model` is still the folder
    assert resolve("my+model").base == (tmp_path / "my+model").resolve()
    found = resolve("my+model+a+b.safetensors:0.5")
    assert found.base == (tmp_path / "my+model").resolve() and found.loras == (Lora(tmp_path / "a+b.safetensors", 0.5),)
    assert portable_name("my+model+a+b.safetensors:0.5") == f"{tmp_path}/my+model+{tmp_path}/a+b.safetensors:0.5"
    assert portable_name("owner/name+a+b.safetensors") == f"owner/name+{tmp_path}/a+b.safetensors"
    assert portable_name("tiny-sd") == "tiny-sd"


def test_a_weight_is_the_number_after_the_last_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split_weight("a.safetensors:1e-1") == ("a.safetensors", 0.1)
    assert split_weight("a.safetensors:-.5") == ("a.safetensors", -0.5)
    assert split_weight("a.safetensors") == ("a.safetensors", 1.0)
    assert split_weight("a.safetensors:half") == ("a.safetensors:half", 1.0)
    Path("a:2").touch()
    assert split_weight("a:2") == ("a:2", 1.0)


@pytest.mark.parametrize(
    "lora, reason",
    [
        ("stile.safetensors", "there is no LoRA 'stile.safetensors'; did you mean 'style.safetensors'"),
        ("style.safetensors:strong", "the weight 'strong' of style.safetensors is not a number"),
        ("notes.txt", "notes.txt is not a .safetensors file"),
        ("empty", "the folder empty has no LoRA in the formats of diffusers or peft"),
        ("", "no LoRA follows the last +"),
    ],
)
def test_a_name_whose_lora_is_not_there_is_one_clear_line(twins, tmp_path, monkeypatch, lora, reason):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("notes.txt").touch()
    kohya(twins["sd-eps"], "sd-eps", Path("style.safetensors"))
    with pytest.raises(InputError) as caught:
        resolve(f"{twins['sd-eps']}+{lora}")
    assert reason in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def stacked(twins, tmp_path):
    """A run's LoRA on top of a model with somebody's LoRA at a weight: its folder, and the other's file."""
    file = kohya(twins["sd-eps"], "sd-eps", tmp_path / "style.safetensors")
    name, folder = f"{twins['sd-eps']}+{file}:0.5", tmp_path / "run" / "model"
    denoiser = load_denoiser(name)
    add_lora(denoiser.network, RANK, ALPHA, denoiser.lora_targets)
    for key, parameter in denoiser.network.named_parameters():
        if "lora_B" in key:
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    folder.mkdir(parents=True)
    save_lora(denoiser, denoiser.network, folder, resolve(name))
    (folder / "palate.json").write_text(json.dumps({"base": portable_name(name), "method": "dpo"}))
    return folder, file


def test_a_run_on_top_is_exported_alone_with_what_it_needs_or_merged_with_all(twins, stacked, tmp_path, monkeypatch):
    folder, file = stacked
    expected = picture(load_pipeline(folder), "sd-eps")
    own = export_model(ModelExportConfig(model=str(folder.parent), out=tmp_path / "own"))
    lora = "pytorch_lora_weights.safetensors"
    assert (own / lora).read_bytes() == (folder / lora).read_bytes()
    readme = (own / "README.md").read_text()
    assert f"`{file}` at the weight 0.5" in readme and f"base_model: {twins['sd-eps']}\n" in readme
    names: dict[str, Any] = {}
    code = (
        readme.split("```python\n")[1].split("```")[0].replace('load_lora_weights(".")', f'load_lora_weights("{own}")')
    )
    exec(code, names)
    assert np.abs(picture(names["pipe"], "sd-eps").astype(int) - expected).max() <= 1  # the run's LoRA is not fused
    merged = export_model(ModelExportConfig(model=str(folder), out=tmp_path / "merged", to="merged"))
    assert np.array_equal(picture(DiffusionPipeline.from_pretrained(merged), "sd-eps"), expected)
    kohya_file = export_model(ModelExportConfig(model=str(folder), out=tmp_path / "kohya", to="kohya")) / KOHYA_FILE
    together = picture(plain(twins["sd-eps"], (file, 0.5), (kohya_file, 1.0)), "sd-eps")
    assert np.abs(together.astype(int) - expected).max() <= 1


def test_a_name_with_a_lora_is_a_model_in_the_commands(twins, tmp_path, capsys):
    from palate.cli.main import main

    file = kohya(twins["sd-eps"], "sd-eps", tmp_path / "style.safetensors")
    (tmp_path / "prompts.txt").write_text("a star\n")
    name, out = f"{twins['sd-eps']}+{file}:0.8", tmp_path / "images"
    common = ["--prompts", str(tmp_path / "prompts.txt"), "--steps", "2", "--out", str(out)]
    assert main(["generate", "--model", name, *common]) == 0
    capsys.readouterr()
    assert main(["generate", "--model", name.replace(":0.8", ":0.9"), *common]) == 2  # other images than those there
    assert "model" in capsys.readouterr().err
