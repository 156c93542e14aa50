"""What is exported is read by plain diffusers and predicts what the aligned model predicts."""

from __future__ import annotations

import json
import math

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open

from palate.cli.main import main
from palate.core.errors import InputError, PalateError
from palate.models.export_config import ModelExportConfig
from palate.models.load import load_denoiser, load_pipeline, resolve
from palate.models.lora import add_lora, save_lora
from palate.models.model_card import KOHYA_FILE
from palate.models.model_export import export_model

ALPHA, RANK = 6.0, 4


def predict(denoiser):
    x_t, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        return denoiser.predict(x_t, t, denoiser.encode_prompt(["a star"]))


@pytest.fixture(scope="module")
def aligned(models, tmp_path_factory):
    """Makes a LoRA of a family with weights that are not zero, and an alpha that is not its rank."""

    def make(family="eps", **forms):
        folder = tmp_path_factory.mktemp("aligned") / "model"
        denoiser = load_denoiser(models[family])
        add_lora(denoiser.network, RANK, ALPHA, denoiser.lora_targets, **forms)
        generator = torch.Generator().manual_seed(1)
        for name, parameter in denoiser.network.named_parameters():
            if "lora_B" in name:
                parameter.data = torch.randn(parameter.shape, generator=generator) / 5
        folder.mkdir()
        save_lora(denoiser, denoiser.network, folder, resolve(models[family]))
        (folder / "palate.json").write_text(json.dumps({"base": str(models[family]), "method": "dpo"}))
        return folder

    return make


def exported(model, out, **changes):
    return export_model(ModelExportConfig(model=str(model), out=out, **changes))


@pytest.mark.parametrize("family", ["eps", "sdxl"])
@pytest.mark.parametrize("forms", [{}, {"use_rslora": True}], ids=["plain", "rslora"])
def test_a_lora_with_kohya_s_names_is_read_back_with_its_rank_and_alpha(models, aligned, tmp_path, family, forms):
    lora = aligned(family, **forms)
    folder = exported(lora, tmp_path / "kohya", to="kohya")
    plain = load_pipeline(models[family])
    plain.load_lora_weights(folder, weight_name=KOHYA_FILE)
    ours = load_denoiser(lora)
    torch.testing.assert_close(predict(type(ours)(plain)), predict(ours), atol=1e-4, rtol=1e-3)
    assert (predict(ours) - predict(load_denoiser(models[family]))).abs().max() > 1e-2
    with safe_open(folder / KOHYA_FILE, "pt") as file:
        about, alphas = file.metadata(), [name for name in file.keys() if name.endswith(".alpha")]  # noqa: SIM118
        expected = ALPHA * (math.sqrt(RANK) if "use_rslora" in forms else 1)
        assert alphas and all(file.get_tensor(name).item() == expected for name in alphas)
    assert about["ss_network_dim"] == str(RANK) and float(about["ss_network_alpha"]) == expected


@pytest.mark.parametrize("family", ["eps", "sdxl", "sd3"])
def test_a_merged_model_is_a_plain_pipeline_with_the_lora_in_its_weights(aligned, tmp_path, family):
    lora = aligned(family)
    folder = exported(lora, tmp_path / "merged", to="merged")
    absent = {"text_encoder_3": None, "tokenizer_3": None} if family == "sd3" else {}
    ours = load_denoiser(lora)
    plain = type(ours)(DiffusionPipeline.from_pretrained(folder, **absent))
    torch.testing.assert_close(predict(plain), predict(ours), atol=1e-5, rtol=1e-4)
    again = exported(folder, tmp_path / "again")  # a whole pipeline for diffusers is itself
    assert (again / "model_index.json").read_text() == (folder / "model_index.json").read_text()


def test_the_file_for_diffusers_is_the_lora_and_its_card_names_the_base(models, aligned, tmp_path):
    lora = aligned()
    folder = exported(lora, tmp_path / "out")
    name = "pytorch_lora_weights.safetensors"
    assert (folder / name).read_bytes() == (lora / name).read_bytes()
    card = (folder / "README.md").read_text()
    assert card.startswith(f"---\nbase_model: {models['eps']}\n") and "load_lora_weights" in card and "dpo" in card


def test_what_a_format_cannot_have_is_refused_and_leaves_nothing(models, aligned, tmp_path):
    with pytest.raises(InputError, match="transformer.*--to diffusers"):
        exported(aligned("sd3"), tmp_path / "out", to="kohya")
    with pytest.raises(InputError, match="no name for the tensor .*lora_magnitude_vector"):
        exported(aligned(use_dora=True), tmp_path / "out", to="kohya")
    with pytest.raises(InputError, match="is not a LoRA; kohya"):
        exported(models["eps"], tmp_path / "out", to="kohya")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="exists; name a new folder or file"):
        exported(aligned(), tmp_path)


def test_a_folder_is_uploaded_whole_and_a_hub_that_is_out_of_reach_is_one_line(aligned, tmp_path, monkeypatch, capsys):
    sent = {}

    class Hub:
        def create_repo(self, name, exist_ok):
            sent["repo"] = name, exist_ok

        def upload_folder(self, repo_id, folder_path):
            sent["files"] = repo_id, folder_path

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    out = exported(aligned(), tmp_path / "out", push="me/mine")
    assert sent == {"repo": ("me/mine", True), "files": ("me/mine", str(out))}

    def unreachable(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(Hub, "create_repo", unreachable)
    with pytest.raises(PalateError, match=r"the hub did not take me/mine \(no route\); check the network"):
        exported(aligned(), tmp_path / "second", push="me/mine")
    assert (tmp_path / "second" / "README.md").is_file()
    assert main(["export", "--model", str(aligned()), "--out", str(tmp_path / "third"), "--push", "mine"]) == 2
    assert "owner/name" in capsys.readouterr().err and not (tmp_path / "third").exists()
