"""Files of the families without a table are read by diffusers' own loader, with all other parts from the base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from single_files import picture

from palate.core.errors import InputError
from palate.models.load import load_pipeline, resolve

pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def z_image_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As ComfyUI has them: one projection for queries, keys and values."""
    renames = {"all_final_layer.2-1.": "final_layer.", "all_x_embedder.2-1.": "x_embedder.", "to_out.0.": "out."}
    renames |= {".norm_k.": ".k_norm.", ".norm_q.": ".q_norm."}
    found: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        for ours, theirs in renames.items():
            name = name.replace(ours, theirs)
        if ".to_q." in name:
            value = torch.cat([value, state[name.replace("to_q", "to_k")], state[name.replace("to_q", "to_v")]])
            name = name.replace("to_q", "qkv")
        if ".to_k." not in name and ".to_v." not in name:
            found[f"model.diffusion_model.{name}"] = value.contiguous()
    return found


NAMES: dict[str, Any] = {"z-image": z_image_names, "qwen-image": dict}


def written(base: Path, name: str, file: Path, **more: torch.Tensor) -> Path:
    """The network of a twin in one file, with the name of the twin beside it."""
    (weights,) = (base / "transformer").glob("*.safetensors")
    save_file(NAMES[name](load_file(weights)) | more, file, {"format": "pt"})
    file.with_name(f"{file.stem}.palate.json").write_text(json.dumps({"base": str(base)}))
    return file


@pytest.mark.parametrize("name", NAMES)
def test_a_network_alone_draws_bit_for_bit_with_the_other_parts_of_its_base(twins, tmp_path, name):
    file = written(twins[name], name, tmp_path / "network.safetensors")
    folder = resolve(file).folder
    assert (folder / "vae" / "diffusion_pytorch_model.safetensors").is_symlink()
    assert not any(each.is_symlink() for each in (folder / "transformer").iterdir())
    assert np.array_equal(picture(load_pipeline(file), name), picture(load_pipeline(twins[name]), name))


def test_what_is_missing_or_would_not_be_used_is_one_line_and_leaves_nothing(twins, tmp_path, cache):
    base = twins["qwen-image"]
    extra = {"vae.decoder.conv1.weight": torch.zeros(1)}
    with pytest.raises(InputError, match=r"a.safetensors, a file of Qwen-Image, has other parts .*: vae.decoder.conv1"):
        resolve(written(base, "qwen-image", tmp_path / "a.safetensors", **extra)).check()
    file = written(base, "qwen-image", tmp_path / "b.safetensors")
    tensors = load_file(file)
    gone = "transformer_blocks.0.attn.to_q.weight"
    save_file({name: value for name, value in tensors.items() if name != gone}, file)
    with pytest.raises(InputError, match=rf"b.safetensors, a file of Qwen-Image, lacks 1 tensors .*: {gone}; fetch"):
        resolve(file).check()
    save_file({**tensors, gone: torch.zeros(3, 3)}, file)
    with pytest.raises(InputError, match=rf"has 1 tensors of other shapes: {gone}; its base .* another size"):
        resolve(file).check()
    (tmp_path / "b.palate.json").write_text(json.dumps({"base": str(twins["sdxl"])}))
    with pytest.raises(InputError, match=r"b.safetensors, a file of Qwen-Image, .* not of the family of .*sdxl"):
        resolve(file).check()
    (tmp_path / "b.palate.json").unlink()
    with pytest.raises(InputError, match=r"configuration and tokenizers are those of .*, which is neither in the hub"):
        resolve(file).check()
    assert not list(cache.rglob("*.safetensors"))


def test_the_release_of_a_file_is_the_one_that_diffusers_takes(twins, tmp_path):
    file = written(twins["z-image"], "z-image", tmp_path / "z.safetensors")
    (tmp_path / "z.palate.json").unlink()
    with pytest.raises(InputError, match=r"those of [\w.-]+/[\w.-]+, which"):
        resolve(file).check()
