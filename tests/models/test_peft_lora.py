"""A LoRA in peft's own format is used completely, as peft uses it, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from palate.core.errors import InputError
from palate.models.export_config import ModelExportConfig
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.models.lora import add_lora, save_lora, without_adapter
from palate.models.lora_file import PEFT_CONFIG, PEFT_FILE
from palate.models.model_export import export_model

X_T = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))


def predict(denoiser: Any) -> torch.Tensor:
    with torch.no_grad():
        return denoiser.predict(X_T, torch.tensor([10, 700]), denoiser.encode_prompt(["a star", "two circles"]))


def trained(base: Any, folder: Path, **forms: bool) -> Any:
    """A model with a strong LoRA, which is saved in a folder."""
    denoiser = load_denoiser(base)
    add_lora(denoiser.network, rank=2, alpha=8, targets=denoiser.lora_targets, **forms)
    torch.manual_seed(1)
    for parameter in denoiser.network.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.3)
    save_lora(denoiser, denoiser.network, folder, resolve(base))
    (folder / "palate.json").write_text(json.dumps({"base": str(base)}))
    return denoiser


@pytest.mark.parametrize("forms", [{}, {"use_dora": True}, {"use_rslora": True}], ids=["lora", "dora", "rslora"])
def test_a_model_with_it_predicts_what_was_trained_and_is_the_base_where_it_is_switched_off(twins, tmp_path, forms):
    denoiser = trained(twins["pixart-sigma"], tmp_path, **forms)
    base, ours = predict(load_denoiser(twins["pixart-sigma"])), predict(load_denoiser(tmp_path))
    torch.testing.assert_close(ours, predict(denoiser), atol=1e-5, rtol=1e-4)
    assert (ours - base).abs().max() > 0.01
    with without_adapter(denoiser.network):
        assert torch.equal(predict(denoiser), base)
    assert not any("lora" in name for name, _ in load_denoiser(tmp_path).network.named_modules())


def as_its_readme_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The pipeline that the code in the README of a folder loads."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(Path("README.md").read_text().split("```python\n")[1].split("```")[0], names)
    return names["pipe"]


def test_a_lora_on_top_of_another_adds_to_it_also_by_the_readme(twins, tmp_path, monkeypatch):
    first = trained(twins["pixart-sigma"], tmp_path / "first")
    second = trained(tmp_path / "first", tmp_path / "second")
    source = resolve(tmp_path / "second")
    assert source.base == twins["pixart-sigma"] and [lora.path.name for lora in source.loras] == ["first", "second"]
    torch.testing.assert_close(predict(load_denoiser(source)), predict(second), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(predict(first), predict(second), atol=1e-3)
    plain = type(second)(as_its_readme_says(tmp_path / "second", monkeypatch))
    torch.testing.assert_close(predict(plain), predict(second), atol=1e-5, rtol=1e-4)


def test_it_changes_the_network_alone_and_its_settings_are_part_of_the_identity(twins, tmp_path):
    trained(twins["pixart-sigma"], tmp_path)
    base, found = resolve(twins["pixart-sigma"]), resolve(tmp_path)
    assert base.fingerprint(*base.encoders()) == found.fingerprint(*found.encoders())
    before = found.fingerprint("transformer")
    assert base.fingerprint("transformer") != before
    change(tmp_path, lora_alpha=16)
    assert resolve(tmp_path).fingerprint("transformer") != before


def test_a_network_that_was_trained_on_top_is_not_given_it_again_and_encoders_load_alone(twins, tmp_path):
    trained(twins["pixart-sigma"], tmp_path)
    network = load_denoiser(tmp_path).network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    parts: dict[str, Any] = {"transformer": network}
    assert all(torch.equal(v, before[k]) for k, v in load_pipeline(tmp_path, **parts).transformer.state_dict().items())
    assert len(load_denoiser(tmp_path, without=["transformer"]).encode_prompt(["a star"])) == 1


def change(folder: Path, **settings: Any) -> None:
    file = folder / PEFT_CONFIG
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def rewrite(folder: Path, edit: Any) -> None:
    tensors = load_file(folder / PEFT_FILE)
    edit(tensors)
    save_file(tensors, folder / PEFT_FILE)


def nan(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values())).view(-1)[0] = float("nan")


def deeper(tensors: dict[str, torch.Tensor]) -> None:
    name = next(iter(tensors))
    tensors[name.replace("blocks.0", "blocks.7")] = tensors[name].clone()


def narrower(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = tensors[name][:, :-1].contiguous()


@pytest.mark.parametrize(
    "edit, reason",
    [
        (nan, "not finite"),
        (deeper, "1 of the 17 layers are not in its network"),
        (lambda tensors: tensors.pop(next(iter(tensors))), "1 of the 16 layers have one of their two matrices alone"),
        (narrower, "is not a LoRA for .* a PixArtSigmaPipeline: 1 of the 16 layers are of other sizes there"),
    ],
    ids=["nan", "a layer that the model lacks", "a tensor is missing", "another width"],
)
def test_what_cannot_be_used_whole_is_refused(twins, tmp_path, edit, reason):
    trained(twins["pixart-sigma"], tmp_path)
    rewrite(tmp_path, edit)
    with pytest.raises(InputError, match=f"{PEFT_FILE}.*{reason}"):
        load_pipeline(tmp_path)


def test_another_kind_of_adapter_is_refused_by_its_name(twins, tmp_path):
    trained(twins["pixart-sigma"], tmp_path)
    change(tmp_path, peft_type="LOHA")
    with pytest.raises(InputError, match="not a LoRA but an adapter of the type 'LOHA'"):
        load_pipeline(tmp_path)


def test_tensors_without_their_settings_are_not_a_model(twins, tmp_path):
    trained(twins["pixart-sigma"], tmp_path)
    (tmp_path / PEFT_CONFIG).unlink()
    with pytest.raises(InputError, match=f"neither model_index.json nor .*{PEFT_FILE}"):
        resolve(tmp_path)


def test_an_export_has_both_files_and_the_code_that_loads_them(twins, tmp_path, monkeypatch):
    denoiser = trained(twins["pixart-sigma"], tmp_path / "model")
    out = export_model(ModelExportConfig(model=str(tmp_path / "model"), out=tmp_path / "out"))
    assert {file.name for file in out.iterdir()} == {PEFT_FILE, PEFT_CONFIG, "README.md"}
    plain = type(denoiser)(as_its_readme_says(out, monkeypatch))
    torch.testing.assert_close(predict(plain), predict(denoiser), atol=1e-5, rtol=1e-4)
