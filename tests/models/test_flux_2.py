import torch
from diffusers import Flux2KleinPipeline

from palate.models.load import load_denoiser
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
