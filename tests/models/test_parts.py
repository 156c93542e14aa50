"""A part of a pipeline is recognised by the files in its folder: variants, shards, and parts without weights."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from tiny_pipelines import random_stable_diffusion

from palate.core.errors import InputError
from palate.models.load import load_denoiser, load_pipeline, resolve

WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}


@pytest.fixture
def copy(models, tmp_path):
    """A copy of a model to change."""
    return shutil.copytree(models["eps"], tmp_path / "copy")


def same_prediction(folder, base, atol=1e-5):
    found, expected = (load_denoiser(each) for each in (folder, base))
    x_t, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        predictions = [each.predict(x_t, t, each.encode_prompt(["a star"])) for each in (found, expected)]
    torch.testing.assert_close(*predictions, atol=atol, rtol=0)


@pytest.mark.parametrize("variant", ["fp16", "non_ema", "bf16"])
def test_a_folder_of_one_variant_alone_loads(copy, models, variant):
    for part, stem in WEIGHTS.items():
        (copy / part / f"{stem}.safetensors").rename(copy / part / f"{stem}.{variant}.safetensors")
    assert resolve(copy).variant() == variant
    same_prediction(copy, models["eps"])


def test_weights_that_were_saved_in_half_precision_load(models, tmp_path):
    pipeline = StableDiffusionPipeline.from_pretrained(models["eps"], dtype=torch.float16)
    pipeline.save_pretrained(tmp_path / "half", variant="fp16")
    same_prediction(tmp_path / "half", models["eps"], atol=0.02)
    assert load_denoiser(tmp_path / "half").network.dtype == torch.float32


def test_plain_weights_are_preferred_to_a_variant(copy, models):
    for part, stem in WEIGHTS.items():
        (copy / part / f"{stem}.non_ema.safetensors").write_bytes(b"")  # must not be read
    assert resolve(copy).variant() is None
    same_prediction(copy, models["eps"])


def test_one_part_may_be_a_variant(copy, models):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").rename(
        copy / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    )
    assert resolve(copy).variant() == "fp16"
    assert resolve(copy).variant(without=["unet"]) is None
    same_prediction(copy, models["eps"])


def test_parts_of_different_variants_are_refused_with_both(copy):
    for part, variant in (("unet", "non_ema"), ("vae", "fp16")):
        file = copy / part / "diffusion_pytorch_model.safetensors"
        file.rename(file.with_name(f"diffusion_pytorch_model.{variant}.safetensors"))
    with pytest.raises(InputError, match="share no variant .*: unet as non_ema, vae as fp16|vae as fp16, unet as non_"):
        load_pipeline(copy)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_load_and_a_missing_one_is_named(models, tmp_path, variant):
    pipeline = StableDiffusionPipeline.from_pretrained(models["eps"])
    pipeline.save_pretrained(tmp_path / "sharded", variant=variant, max_shard_size="100KB")
    folder = tmp_path / "sharded"
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 2 and resolve(folder).variant() == variant
    same_prediction(folder, models["eps"])
    before = resolve(folder).fingerprint("unet")
    shards[1].unlink()
    assert resolve(folder).fingerprint("unet") != before
    with pytest.raises(InputError, match=rf"unet lacks {shards[1].name}, one of {len(shards)} files that .*index"):
        load_pipeline(folder)


def test_a_truncated_shard_is_named(models, tmp_path):
    StableDiffusionPipeline.from_pretrained(models["eps"]).save_pretrained(tmp_path / "s", max_shard_size="100KB")
    shard = sorted((tmp_path / "s" / "unet").glob("*-of-*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{shard.name} is truncated"):
        load_pipeline(tmp_path / "s")


def test_a_model_with_a_safety_checker_loads_and_is_saved_with_it(tmp_path):
    """`CLIPImageProcessorPil` is a processor though no rule about spelling would say so."""
    folder = random_stable_diffusion(tmp_path / "model", safety_threshold=2.0)
    pipeline = load_pipeline(folder)
    assert pipeline.safety_checker is not None
    pipeline.save_pretrained(tmp_path / "again")
    again = load_pipeline(tmp_path / "again")
    assert type(again.feature_extractor) is type(pipeline.feature_extractor)
    assert again.safety_checker.concept_embeds_weights[0] == 2.0


@pytest.mark.parametrize("kind", ["ImageReader", "Gradient", "Scheduling"])
def test_parts_are_recognised_whatever_the_name_of_their_class(tmp_path, kind):
    folder = random_stable_diffusion(tmp_path / "model", safety_threshold=2.0)
    index = json.loads((folder / "model_index.json").read_text())
    for part in ("feature_extractor", "scheduler", "tokenizer", "unet"):
        index[part][1] = kind
    (folder / "model_index.json").write_text(json.dumps(index))
    resolve(folder).check()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(InputError, match=rf"'unet' \({kind}\).*has no weights"):
        resolve(folder).check()


def test_an_encoder_without_plain_weights_is_not_taken_for_a_tokenizer(copy):
    (copy / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="'text_encoder'.*has no weights"):
        load_pipeline(copy)


def test_a_tokenizer_with_a_config_of_its_own_needs_no_weights(copy):
    shutil.copy(copy / "text_encoder" / "config.json", copy / "tokenizer" / "config.json")
    assert load_pipeline(copy).tokenizer is not None


def test_a_hub_repository_with_only_one_variant_is_downloaded_in_it(monkeypatch, copy):
    from diffusers import DiffusionPipeline

    asked = []

    def download(hub_id, variant=None, **options):
        asked.append(variant)
        if variant != "fp16":
            raise OSError("Could not find the necessary `safetensors` weights in {...} (variant=None)")
        return str(copy)

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    assert resolve("owner/half").folder == copy
    assert asked == [None, "fp16"]


def test_the_parts_for_prompts_and_for_images_are_distinguished(tmp_path, models):
    source = resolve(random_stable_diffusion(tmp_path / "model", safety_threshold=2.0))
    assert source.readers() == ["text_encoder", "tokenizer"]
    assert source.encoders() == ["vae", "text_encoder", "tokenizer"]
    assert sorted(resolve(models["sd3"]).readers()) == [
        "text_encoder",
        "text_encoder_2",
        "tokenizer",
        "tokenizer_2",
    ]


def test_a_model_s_identity_changes_with_every_file_that_images_depend_on(copy):
    before = resolve(copy).identity()
    assert resolve(copy).identity() == before
    (copy / "palate.json").write_text('{"steps": 12}')
    with_card = resolve(copy).identity()
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    with_index = resolve(copy).identity()
    (copy / "scheduler" / "scheduler_config.json").write_text("{}")
    assert len({before, with_card, with_index, resolve(copy).identity()}) == 4
