"""Numbers that overflow are refused when they are encoded, before anything is kept; caches go with their libraries."""

from __future__ import annotations

import shutil

import pytest
from safetensors.torch import load_file, save_file
from trained import run

from palate.align.encoders import Encoders
from palate.align.prepare import identity_of
from palate.core import cache_folder
from palate.core.errors import InputError
from palate.core.finite import NotFiniteError


def scaled(model, folder, part, name, factor):
    """A copy of a model in which the tensor of a part that has such a name is multiplied."""
    copy = shutil.copytree(model, folder)
    (file,) = (copy / part).glob("*.safetensors")
    weights = load_file(file)
    (key,) = (key for key in weights if f".{key}".endswith(f".{name}"))
    save_file({**weights, key: weights[key] * factor}, file, metadata={"format": "pt"})
    return copy


LATENTS = pytest.mark.parametrize("latents", ["cached", "streamed"])


@LATENTS
def test_latents_that_overflow_are_refused_with_the_image_and_nothing_is_kept(world, dpo_config, tmp_path, latents):
    half_way = scaled(world["eps"], tmp_path / "half way", "vae", "encoder.conv_out.weight", 1e30)
    model = scaled(half_way, tmp_path / "model", "vae", "quant_conv.weight", 1e30)
    config = dpo_config(model=str(model), latents=latents, cache=tmp_path / "cache")
    complaint = r"the latents of \d of row \d+ of .*pairs\.parquet: not finite: .*leave the image out, or give a model"
    with pytest.raises(NotFiniteError, match=complaint):
        run(config)
    assert not config.out.exists() and not list((tmp_path / "cache").rglob("*.safetensors"))


@LATENTS
def test_latents_that_are_too_large_for_fp16_name_the_flag(world, dpo_config, tmp_path, latents):
    model = scaled(world["eps"], tmp_path / "model", "vae", "quant_conv.weight", 1e8)
    config = dpo_config(model=str(model), latents=latents, cache=tmp_path / "cache", steps=1)
    narrow = dpo_config(**{**vars(config), "latents_dtype": "fp16"})
    with pytest.raises(NotFiniteError, match="not finite: .*; give --latents-dtype fp32 or bf16"):
        run(narrow)
    assert not config.out.exists()


@LATENTS
def test_embeddings_that_overflow_are_refused_with_the_prompt(world, dpo_config, tmp_path, latents):
    model = scaled(world["eps"], tmp_path / "model", "text_encoder", "final_layer_norm.weight", 3.4e38)
    config = dpo_config(model=str(model), latents=latents, cache=tmp_path / "cache")
    with pytest.raises(NotFiniteError, match=r"the embeddings of '.*': not finite: 'embeddings': .*text encoder"):
        run(config)
    assert not config.out.exists() and not list((tmp_path / "cache").rglob("prompts-*/rows.safetensors"))


def test_errors_of_the_base_that_overflow_are_refused_and_not_kept(world, dpo_config, tmp_path):
    model = scaled(world["eps"], tmp_path / "model", "unet", "conv_out.weight", 1e30)
    config = dpo_config(model=str(model), cache=tmp_path / "cache")
    with pytest.raises(NotFiniteError, match="the reference errors of the model at draw 0: not finite: .*network"):
        run(config)
    assert not config.out.exists() and not list((tmp_path / "cache").rglob("errors-*/*.safetensors"))


@LATENTS
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_base_with_a_number_that_is_not_finite_leaves_no_run_folder(world, dpo_config, tmp_path, part, latents):
    name = {"unet": "conv_out.weight", "vae": "quant_conv.weight", "text_encoder": "final_layer_norm.weight"}[part]
    model = scaled(world["eps"], tmp_path / "model", part, name, float("nan"))
    config = dpo_config(model=str(model), latents=latents, cache=tmp_path / "cache")
    with pytest.raises(InputError, match=rf"the weights of the part '{part}' of the model in .*: not finite"):
        run(config)
    assert not config.out.exists()


@pytest.mark.parametrize("library, changed", [("diffusers", (True, True)), ("transformers", (False, True))])
def test_another_version_of_a_library_makes_caches_of_its_own(world, dpo_config, monkeypatch, library, changed):
    import torch

    from palate.align.learned import examples_of
    from palate.models.buckets import Bucket, BucketGrid, ImageBuckets
    from palate.models.source import resolve

    config = dpo_config()
    examples, encoders = examples_of(config, config.method()), Encoders(resolve(config.model), torch.device("cpu"))
    grid = BucketGrid(((Bucket(16, 16),),))
    buckets = ImageBuckets.of(grid, examples.images.size, examples.image, examples.key)
    before, installed = identity_of(encoders, examples, buckets), cache_folder.version
    assert identity_of(encoders, examples, buckets) == before
    monkeypatch.setattr(cache_folder, "version", lambda name: "999.0" if name == library else installed(name))
    assert tuple(one != other for one, other in zip(before, identity_of(encoders, examples, buckets))) == changed


def test_a_run_after_an_upgrade_encodes_again_and_mixes_nothing(dpo_config, tmp_path, monkeypatch):
    encoded = []
    latents = Encoders.latents
    monkeypatch.setattr(
        Encoders, "latents", lambda self, images, size: encoded.append(len(images)) or latents(self, images, size)
    )
    cache = tmp_path / "cache"
    run(dpo_config(steps=1, cache=cache))
    assert sum(encoded) == 8
    monkeypatch.setattr(cache_folder, "version", lambda _: "999.0")
    run(dpo_config(steps=1, cache=cache, out=tmp_path / "after"))
    assert sum(encoded) == 16
    kinds = [each.about["kind"] for each in cache_folder.list_entries(cache)]
    assert {kind: kinds.count(kind) for kind in kinds} == {"latents": 2, "prompts": 2, "errors": 2}
