"""A model in one file draws as the folder of which it was made, and what is exported as one file is read by others."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.loaders import single_file_model
from safetensors import safe_open
from single_files import copied, export, picture
from transformers import CLIPTextConfig, CLIPTextModel
from twins.flux import random_flux

from palate.core.cache_folder import list_entries
from palate.core.errors import InputError, PalateError
from palate.models.export_config import ModelExportConfig
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.models.model_export import export_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' Euler scheduler
]
FAMILIES = ["sd-eps", "sd-v", "sdxl", "sdxl-refiner", "flux-dev", "flux-schnell"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def by_diffusers(file: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What diffusers reads; its converter of FLUX.1 is for networks 3072 wide, and the twin is 16 wide."""
    kind = getattr(diffusers, json.loads((base / "model_index.json").read_text())["_class_name"])
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    code = known["checkpoint_mapping_fn"].__code__
    narrow = code.replace(co_consts=tuple(16 if value == 3072 else value for value in code.co_consts))
    function = types.FunctionType(narrow, known["checkpoint_mapping_fn"].__globals__)
    monkeypatch.setitem(known, "checkpoint_mapping_fn", lambda checkpoint, **_: function(dict(checkpoint)))
    pipeline = kind.from_single_file(str(file), config=str(base), local_files_only=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # diffusers 0.42.1 leaves T5 in training, with its dropout
    return pipeline


@pytest.mark.parametrize("name", FAMILIES)
def test_diffusers_draws_from_the_exported_file_what_the_folder_draws(files, twins, name, monkeypatch):
    plain = by_diffusers(files[name], files.base(name), monkeypatch)
    expected: Any = diffusers.DiffusionPipeline.from_pretrained(files.base(name))
    for part in ("unet", "transformer", "vae", "text_encoder", "text_encoder_2"):
        if getattr(expected, part, None) is not None:
            state = getattr(plain, part).state_dict()
            assert all(torch.equal(value, state[key]) for key, value in getattr(expected, part).state_dict().items())
    assert np.array_equal(picture(plain, name), picture(expected, name))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_single_file_draws_bit_for_bit_what_the_folder_draws(files, twins, name):
    source = resolve(files[name])
    ours, folder = load_pipeline(source), load_pipeline(files.base(name))
    assert np.array_equal(picture(ours, name), picture(folder, name))
    assert source.family == resolve(files.base(name)).family
    for part in source.encoders():
        if part != "tokenizer" and hasattr(getattr(folder, part), "state_dict"):
            state = getattr(ours, part).state_dict()
            assert all(torch.equal(value, state[key]) for key, value in getattr(folder, part).state_dict().items())


def test_open_clip_s_stable_diffusion_2_is_written_and_read(tmp_path, twins, monkeypatch):
    """Its text encoder is 1024 wide, by which it is known from Stable Diffusion 1."""
    pipeline: Any = diffusers.StableDiffusionPipeline.from_pretrained(twins["sd-v"])
    old = pipeline.text_encoder.config.to_dict() | {"hidden_size": 1024, "num_hidden_layers": 1}
    torch.manual_seed(0)
    encoder = CLIPTextModel(CLIPTextConfig(**old))
    unet = diffusers.UNet2DConditionModel.from_config({**pipeline.unet.config, "cross_attention_dim": 1024})
    pipeline.register_modules(text_encoder=encoder, unet=unet)
    pipeline.save_pretrained(tmp_path / "two")
    file = export(tmp_path / "two", tmp_path / "two.safetensors")
    (tmp_path / "palate.json").write_text(json.dumps({"base": "two"}))  # for all files of the folder, relative to it
    with safe_open(file, "pt") as opened:
        assert "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight" in opened.keys()  # noqa: SIM118
    expected = picture(load_pipeline(tmp_path / "two"), "sd-v")
    assert np.array_equal(picture(load_pipeline(file), "sd-v"), expected)
    assert np.array_equal(picture(by_diffusers(file, tmp_path / "two", monkeypatch), "sd-v"), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_file_of_half_precision_keeps_its_numbers(files, twins, tmp_path, dtype):
    file = export(files.base("sdxl"), tmp_path / "half.safetensors", dtype=dtype)
    (tmp_path / "half.palate.json").write_text(json.dumps({"base": str(files.base("sdxl"))}))
    ours = load_pipeline(file, dtype=getattr(torch, dtype)).unet.state_dict()
    expected = load_pipeline(files.base("sdxl"), dtype=getattr(torch, dtype)).unet.state_dict()
    assert all(torch.equal(value, ours[name]) for name, value in expected.items())


def test_it_is_converted_once_and_listed_in_the_cache(files, cache):
    file = files["sd-eps"]
    folder = resolve(file).folder
    before = {each: each.stat().st_mtime_ns for each in folder.rglob("*.safetensors")}
    assert resolve(file).folder == folder and len(before) == 3
    assert before == {each: each.stat().st_mtime_ns for each in folder.rglob("*.safetensors")}
    (entry,) = list_entries(cache)
    assert entry.about == {"kind": "model", "model": str(file), "family": "Stable Diffusion 1"} and entry.in_use


def test_equal_files_share_a_conversion_and_a_changed_one_has_its_own(files, tmp_path, cache):
    one = copied(files["sd-eps"], tmp_path / "one.safetensors")
    two = copied(files["sd-eps"], tmp_path / "two.safetensors")
    assert resolve(one).folder == resolve(two).folder
    identity = resolve(one).identity()
    copied(files["sd-eps"], one, lambda tensors: tensors["model.diffusion_model.out.2.bias"].add_(1))
    assert resolve(one).folder != resolve(two).folder and resolve(one).identity() != identity


def test_a_conversion_that_was_killed_is_not_used(files, monkeypatch, cache):
    import palate.models.single_file as module

    write = module.write_tensors

    def killed(file, *rest):
        if "vae" in str(file):
            raise KeyboardInterrupt
        write(file, *rest)

    monkeypatch.setattr(module, "write_tensors", killed)
    with pytest.raises(KeyboardInterrupt):
        resolve(files["sd-eps"]).check()
    assert not list(cache.rglob("*.safetensors"))
    monkeypatch.undo()
    monkeypatch.setenv("PALATE_CACHE", str(cache))
    load_pipeline(files["sd-eps"])


def test_a_full_disk_is_known_before_anything_is_written(files, monkeypatch, cache):
    monkeypatch.setattr("shutil.disk_usage", lambda _: types.SimpleNamespace(free=10_000))
    with pytest.raises(PalateError, match=r"the converted weights of .*sd-eps.safetensors would take .*PALATE_CACHE"):
        resolve(files["sd-eps"]).check()
    assert not cache.exists()


@pytest.mark.parametrize("alone", [False, True], ids=["with its prefix", "as its authors wrote it"])
def test_parts_that_a_file_lacks_are_those_of_its_base(files, twins, tmp_path, alone):
    """Most files of FLUX.1 have the transformer alone."""

    def strip(tensors):
        for name in list(tensors):
            value = tensors.pop(name)
            if name.startswith("model.diffusion_model."):
                tensors[name.removeprefix("model.diffusion_model.") if alone else name] = value

    base = random_flux(tmp_path / "base")
    file = copied(files["flux-dev"], tmp_path / "flux.safetensors", strip, base)
    folder = resolve(file).folder
    assert (folder / "vae" / "diffusion_pytorch_model.safetensors").is_symlink()
    assert np.array_equal(picture(load_pipeline(file), "flux-dev"), picture(load_pipeline(base), "flux-dev"))


def test_a_file_says_that_its_network_predicts_v(files, twins):
    with safe_open(files["sd-v"], "pt") as opened:
        assert "v_pred" in opened.keys()  # noqa: SIM118
    files["sd-v"].with_name("sd-v.palate.json").write_text(json.dumps({"base": str(twins["sd-eps"])}))
    assert load_pipeline(files["sd-v"]).scheduler.config.prediction_type == "v_prediction"
    assert load_pipeline(files["sd-eps"]).scheduler.config.prediction_type == "epsilon"


def test_a_lora_is_trained_on_a_single_file_and_keeps_its_name(files, tmp_path):
    from palate.align.methods.sft import SFTConfig
    from palate.align.stage import align

    images = tmp_path / "images"
    images.mkdir()
    from PIL import Image

    for number in range(2):
        Image.new("RGB", (16, 16), (90 * number, 20, 60)).save(images / f"{number}.png")
    rows = [{"file_name": f"{number}.png", "prompt": "a star", "seed": number} for number in range(2)]
    (images / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = align(
        SFTConfig(
            model=str(files["sd-eps"]), preferences=str(images), out=tmp_path / "run", steps=2, batch=2, lr=1e-2, rank=2
        )
    )
    assert json.loads((run / "model" / "palate.json").read_text())["base"] == str(files["sd-eps"])
    trained = load_denoiser(run).network.state_dict()
    before = load_denoiser(files["sd-eps"]).network.state_dict()
    assert any(not torch.equal(value, trained[name]) for name, value in before.items())
    merged = export(run, tmp_path / "merged.safetensors")
    (tmp_path / "merged.palate.json").write_text(files["sd-eps"].with_name("sd-eps.palate.json").read_text())
    again = load_pipeline(merged).unet.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in trained.items())


def test_a_base_that_is_out_of_reach_is_one_line_with_the_way_out(files, tmp_path):
    file = copied(files["sdxl"], tmp_path / "community.safetensors")
    (tmp_path / "community.palate.json").unlink()
    with pytest.raises(InputError) as caught:
        resolve(file).check()
    said = str(caught.value)
    assert "\n" not in said and "stabilityai/stable-diffusion-xl-base-1.0, which is neither in the hub's cache" in said
    assert 'in community.palate.json beside the file: {"base": "path/to/folder"}' in said


def test_a_release_in_the_hub_s_cache_is_the_base(files, twins, tmp_path, monkeypatch):
    """Only its files of text are asked for where the file has every part."""
    asked = []

    def snapshot(hub_id, allow_patterns, ignore_patterns):
        asked.append((hub_id, allow_patterns))
        return str(files.base("sdxl"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    file = copied(files["sdxl"], tmp_path / "community.safetensors")
    (tmp_path / "community.palate.json").unlink()
    load_pipeline(file)
    assert {hub_id for hub_id, _ in asked} == {"stabilityai/stable-diffusion-xl-base-1.0"}
    assert not any("safetensors" in pattern for _, patterns in asked for pattern in patterns)


def test_parts_that_a_file_lacks_are_fetched_from_the_hub_and_no_others(files, tmp_path, monkeypatch):
    hub = tmp_path / "hub" / "models--black-forest-labs--FLUX.1-dev" / "snapshots" / "0"
    asked = []

    def snapshot(hub_id, allow_patterns, ignore_patterns):
        """As the hub's client does: a folder with the files so far."""
        asked.append((hub_id, tuple(allow_patterns)))
        for pattern in allow_patterns:
            for file in files.base("flux-dev").glob(pattern):
                target = hub / file.relative_to(files.base("flux-dev"))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        return str(hub)

    def strip(tensors):
        for name in [name for name in tensors if name.startswith("text_encoders.t5xxl.")]:
            del tensors[name]

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    file = copied(files["flux-dev"], tmp_path / "flux.safetensors", strip)
    (tmp_path / "flux.palate.json").unlink()
    expected = picture(load_pipeline(files.base("flux-dev")), "flux-dev")
    assert np.array_equal(picture(load_pipeline(file), "flux-dev"), expected)
    weights = [each for each in asked if any("safetensors" in pattern for pattern in each[1])]
    assert weights == [("black-forest-labs/FLUX.1-dev", ("text_encoder_2/*.safetensors", "text_encoder_2/*.json"))]


def test_families_without_a_shared_layout_cannot_be_one_file(files, twins, tmp_path):
    with pytest.raises(InputError, match=r"a SanaPipeline has no layout of a single file .*; Stable Diffusion 1, "):
        export(twins["sana"], tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"is one file, which --to merged writes"):
        export_model(ModelExportConfig(model=str(files.base("sdxl")), out=tmp_path / "x.safetensors"))
    with pytest.raises(InputError, match=r"push uploads a folder"):
        export(files.base("sdxl"), tmp_path / "x.safetensors", push="me/mine")
    assert not list(tmp_path.glob("*.safetensors"))
