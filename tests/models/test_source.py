import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from palate.core.errors import InputError
from palate.core.plugins import Plugin
from palate.models import source as source_module
from palate.models.load import load_denoiser, load_pipeline, resolve


@pytest.fixture
def broken(models, tmp_path):
    """A copy of a model to break."""
    return shutil.copytree(models["eps"], tmp_path / "broken")


def test_a_folder_resolves_to_itself(models):
    assert resolve(models["eps"]).base == models["eps"].resolve()


def test_a_plug_in_s_model_name_resolves_to_its_folder(models, monkeypatch):
    monkeypatch.setattr(source_module, "plugins", lambda: Plugin(models=models))
    assert resolve("eps").base == models["eps"]


def test_a_hub_id_resolves_without_a_request_to_the_hub():
    assert resolve("owner/name").base == "owner/name"


def test_a_hub_id_that_cannot_be_downloaded_is_a_clear_error():
    with pytest.raises(InputError, match="'runs/dpo' is not a folder here, and cannot be downloaded"):
        load_pipeline("runs/dpo")


def test_a_part_that_diffusers_cannot_open_is_a_clear_error(broken):
    (broken / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "NoTokenizer"}')
    (broken / "tokenizer" / "tokenizer.json").write_text("nonsense")
    with pytest.raises(InputError, match="diffusers cannot open the model in"):
        load_pipeline(broken)


def test_an_unknown_name_is_refused_with_the_nearest_builtin(models, monkeypatch):
    monkeypatch.setattr(source_module, "plugins", lambda: Plugin(models=models))
    with pytest.raises(InputError, match="no model named 'sd33'; did you mean 'sd3'"):
        resolve("sd33")


def test_a_missing_path_is_not_taken_for_a_hub_id():
    with pytest.raises(InputError, match="no model named './missing'"):
        resolve("./missing")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a model"):
        resolve(tmp_path)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(broken, part):
    shutil.rmtree(broken / part)
    with pytest.raises(InputError, match=f"lacks its part '{part}'"):
        load_pipeline(broken)


@pytest.mark.parametrize("name", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_a_missing_file_of_a_part_is_named(broken, name):
    (broken / name).unlink()
    with pytest.raises(InputError, match=name.split("/")[1]):
        load_pipeline(broken)


def test_a_part_without_weights_is_named(broken):
    (broken / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InputError, match="'unet'.*has no weights"):
        load_pipeline(broken)


def test_pickled_weights_are_refused_with_the_fix(broken):
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(InputError, match="pickled weights only; save it with safe_serialization"):
        load_pipeline(broken)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0nonsense"])
def test_unreadable_weights_are_named(broken, content):
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="unet/diffusion_pytorch_model.safetensors is not a readable safetensors"):
        load_pipeline(broken)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_lack_tensors_are_refused_before_they_are_read(broken, part):
    """Diffusers and transformers only warn, and draw with random numbers."""
    file = next((broken / part).glob("*.safetensors"))
    tensors = load_file(file)
    gone = [name for name in sorted(tensors) if name.endswith("bias")][:4]
    save_file({name: value for name, value in tensors.items() if name not in gone}, file, {"format": "pt"})
    with pytest.raises(InputError, match=rf"the part '{part}' .* lacks 4 tensors .*: {gone[0]}, .* and 1 more; fetch"):
        resolve(broken).check()
    resolve(broken).check(without=(part,))


def test_an_autoencoder_of_2022_has_all_its_tensors(models, broken):
    """With the names of attention that the released ones have, and that diffusers renames."""
    file = broken / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for ours, theirs in old.items():
        tensors = {name.replace(f".{ours}.", f".{theirs}."): value for name, value in tensors.items()}
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, file, {"format": "pt"})
    expected = load_pipeline(models["eps"]).vae.state_dict()
    found = load_pipeline(broken).vae.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.parametrize("change", [{"block_out_channels": "wide"}, {"cross_attention_dim": [1, 2, 3]}])
def test_a_configuration_that_makes_no_network_is_named(broken, change):
    file = broken / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match=r"unet/config.json is not the configuration of a UNet2DConditionModel"):
        load_pipeline(broken)


def test_truncated_weights_are_named(broken):
    weights = broken / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="vae/diffusion_pytorch_model.safetensors is truncated"):
        load_pipeline(broken)


def test_a_part_that_is_not_wanted_may_be_missing(broken):
    shutil.rmtree(broken / "vae")
    assert load_pipeline(broken, without=("vae",)).vae is None


def test_a_family_without_an_adapter_is_refused(broken):
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "ShapEPipeline"}))
    with pytest.raises(InputError, match="ShapEPipeline, which Palate does not train: this pipeline is not known"):
        load_denoiser(broken)


def test_a_pipeline_that_diffusers_does_not_know_is_refused_with_the_nearest_family(broken):
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionXXLPipeline"}))
    expected = (
        "a StableDiffusionXXLPipeline, which diffusers .* does not know; did you mean 'StableDiffusionXLPipeline'"
    )
    with pytest.raises(InputError, match=expected):
        resolve(broken).check()
    with pytest.raises(InputError, match=expected):
        load_pipeline(broken)


def test_a_fingerprint_changes_with_the_weights_and_not_with_the_folder(models, broken):
    original, copy = resolve(models["eps"]), resolve(broken)
    assert original.fingerprint("unet") == copy.fingerprint("unet")
    assert original.fingerprint("unet") != original.fingerprint("vae")
    weights = broken / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert original.fingerprint("unet") != copy.fingerprint("unet")


def test_a_lora_folder_without_the_name_of_its_base_is_refused(tmp_path):
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"no palate.json that names its base"):
        resolve(tmp_path)


def test_loras_that_are_each_other_s_base_are_refused(tmp_path):
    for name, base in (("one", "other"), ("other", "one")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pytorch_lora_weights.safetensors").write_bytes(b"")
        (tmp_path / name / "palate.json").write_text(json.dumps({"base": str(tmp_path / base)}))
    with pytest.raises(InputError, match="by the palate.json in .*other, the LoRA in .*one is its own base"):
        resolve(tmp_path / "one")
