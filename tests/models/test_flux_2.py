import json
from shutil import copytree

import pytest
import torch
from diffusers import Flux2KleinPipeline

from palate.core.errors import InputError
from palate.models.conditioning import Conditioning
from palate.models.flux_2 import Flux2Dev
from palate.models.load import load_denoiser, load_pipeline
from palate.models.lora import add_lora


def test_a_latent_cell_is_a_patch_of_the_autoencoder_s_and_normalised_by_its_batch_norm(twins):
    denoiser = load_denoiser(twins["flux2-klein"])
    images = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    plain = Flux2KleinPipeline.from_pretrained(twins["flux2-klein"])
    expected = plain._encode_vae_image(images * 2 - 1, None)  # type: ignore[arg-type]  # the mode needs no generator
    assert expected.shape == (2, 16, 4, 6)
    torch.testing.assert_close(denoiser.encode(images), expected.detach())


def test_a_distilled_model_is_never_guided(twins):
    assert load_denoiser(twins["flux2-klein"]).negates(4.0)
    assert not load_denoiser(twins["flux2-klein-distilled"]).negates(4.0)


def test_both_kinds_of_blocks_get_a_lora_though_one_s_output_is_a_list_of_layers(twins):
    denoiser = load_denoiser(twins["flux2-klein"])
    add_lora(denoiser.network, 2, 2.0, denoiser.lora_targets)
    adapted = {name.rpartition(".lora_A")[0] for name, _ in denoiser.network.named_parameters() if "lora_A" in name}
    double = {f"transformer_blocks.0.attn.{end}" for end in ("to_q", "to_k", "to_v", "to_out.0")}
    assert adapted == double | {f"single_transformer_blocks.0.attn.{end}" for end in ("to_qkv_mlp_proj", "to_out")}


def test_the_scale_that_dev_is_trained_at_is_that_of_the_training_script(twins):
    denoiser = load_denoiser(twins["flux2-dev"])
    x_t = torch.randn(2, 16, 4, 6, generator=torch.Generator().manual_seed(0))
    t, conditioning = torch.tensor([0.3, 0.8]), denoiser.encode_prompt(["a star", None])
    with torch.no_grad():
        found = denoiser.predict(x_t, t, conditioning)
        same, other = (
            denoiser.predict(x_t, t, conditioning.merged(Conditioning({"guidance": torch.full((2,), scale)})))
            for scale in (3.5, 1.0)
        )
    assert torch.equal(found, same) and not torch.allclose(found, other)


def with_processor(folder, target):
    """A copy of a model whose prompts are read by the processor of the release."""
    copy = copytree(folder, target)
    index = json.loads((copy / "model_index.json").read_text())
    index["tokenizer"] = ["transformers", "PixtralProcessor"]
    (copy / "model_index.json").write_text(json.dumps(index))
    return copy


def test_the_package_that_the_processor_of_dev_needs_is_named_before_anything_is_loaded(twins, tmp_path, monkeypatch):
    monkeypatch.setattr(Flux2Dev, "needs", ("no_such_package",))
    load_denoiser(twins["flux2-dev"])  # read by a tokenizer, which needs nothing
    with pytest.raises(InputError, match=r"FLUX\.2 dev needs no_such_package: pip install no_such_package"):
        load_denoiser(with_processor(twins["flux2-dev"], tmp_path / "model"))


def test_a_pipeline_with_a_part_that_cannot_be_imported_is_refused_in_a_line(twins, tmp_path):
    with pytest.raises(InputError, match="diffusers cannot open the model"):
        load_pipeline(with_processor(twins["flux2-dev"], tmp_path / "model"))
