"""Cached and streamed latents and embeddings: both train the same, and only what is needed is computed."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from trained import assert_same_weights, run, run_until_interrupted, weights

from palate.align.encoders import Encoders
from palate.align.methods.listwise import ListwiseConfig
from palate.core.cache_folder import list_entries
from palate.core.errors import PalateError
from palate.models.buckets import Bucket
from palate.models.source import resolve
from palate.prefer.load import load_rankings

SQUARE = Bucket(16, 16)


def rows_of(cache, kind):
    """The tensors of the one cache of a kind."""
    (file,) = cache.glob(f"align/{kind}-*/rows.safetensors")
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # it is no mapping


@pytest.mark.parametrize("family", ["eps", "sd3"])
def test_streamed_training_ends_with_the_weights_of_cached_training(world, dpo_config, tmp_path, family):
    common = {"model": str(world[family]), "train": "full", "steps": 7, "batch": 5, "adversarial": 0.1}
    cached = run(dpo_config(**common, cache=tmp_path / "a"))
    streamed = run(dpo_config(**common, cache=tmp_path / "b", latents="streamed", out=tmp_path / "streamed"))
    assert_same_weights(cached, streamed)
    assert sorted({each.about["kind"] for each in list_entries(tmp_path / "a")}) == ["errors", "latents", "prompts"]
    assert [each.about["kind"] for each in list_entries(tmp_path / "b")] == ["errors"]


def test_streamed_training_of_lists_ends_with_the_weights_of_cached_training(world, config_of, tmp_path):
    common = {"preferences": str(world["lists"]), "steps": 3, "batch": 3, "micro_batch": 1}
    cached = run(config_of(ListwiseConfig, **common))
    assert_same_weights(cached, run(config_of(ListwiseConfig, **common, latents="streamed", out=tmp_path / "streamed")))


def test_a_run_that_began_cached_may_continue_streamed(dpo_config, tmp_path, monkeypatch):
    undisturbed = run(dpo_config(steps=8))
    config = dpo_config(steps=8, out=tmp_path / "disturbed", checkpoint_every=3)
    run_until_interrupted(config, monkeypatch, at=6)
    assert_same_weights(undisturbed, run(dataclasses.replace(config, latents="streamed")))


@pytest.mark.parametrize("name, dtype", [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_16_bit_latents_take_half_the_disk_and_train_the_same_streamed(dpo_config, tmp_path, name, dtype):
    whole = run(dpo_config(steps=2, cache=tmp_path / "whole"))
    narrow = run(dpo_config(steps=2, cache=tmp_path / "narrow", latents_dtype=name, out=tmp_path / "narrow run"))
    wide, kept_narrow = rows_of(tmp_path / "whole", "latents"), rows_of(tmp_path / "narrow", "latents")
    assert kept_narrow["latents"].dtype == dtype and torch.equal(kept_narrow["latents"], wide["latents"].to(dtype))
    streamed = dpo_config(steps=2, latents_dtype=name, latents="streamed", out=tmp_path / "streamed")
    assert_same_weights(narrow, run(streamed))
    assert not all(torch.equal(value, weights(whole)[name]) for name, value in weights(narrow).items())


def test_a_short_run_encodes_only_what_it_needs_and_a_longer_run_the_rest(dpo_config, tmp_path, monkeypatch):
    encoded = []
    latents = Encoders.latents

    def watched(self, images, size):
        encoded.extend(image.digest() for image in images)
        return latents(self, images, size)

    monkeypatch.setattr(Encoders, "latents", watched)
    cache = tmp_path / "cache"
    run(dpo_config(steps=1, cache=cache))
    assert len(encoded) == len(set(encoded)) == 8  # four pairs of twelve
    assert rows_of(cache, "latents")["filled"].sum() == 8
    run(dpo_config(steps=3, cache=cache, out=tmp_path / "longer"))
    assert len(encoded) == len(set(encoded)) == 24


def test_free_disk_space_is_checked_before_anything_is_written(dpo_config, tmp_path, monkeypatch):
    encoded = []
    latents = Encoders.latents
    monkeypatch.setattr(
        Encoders, "latents", lambda self, images, size: encoded.append(len(images)) or latents(self, images, size)
    )
    monkeypatch.setattr(Encoders, "images_at_once", lambda self, size: 1)
    monkeypatch.setattr("palate.core.cache_folder.shutil.disk_usage", lambda _: SimpleNamespace(free=5000))
    config = dpo_config(cache=tmp_path / "cache")
    complaint = (
        r"^the latents of 24 images and the embeddings of 6 prompts would take [\d.]+ kB, and .* has 4.75 kB left; "
        r"give --latents streamed, another --cache, or --latents-dtype fp16$"
    )
    with pytest.raises(PalateError, match=complaint):
        run(config)
    assert sum(encoded) == 4  # the first, which say how large one is


@pytest.mark.parametrize("family", ["eps", "sd3"])
def test_the_other_images_of_a_batch_change_no_bit_of_a_latent(world, family, tmp_path):
    images = load_rankings(world["pairs"], tmp_path).images
    encoders = Encoders(resolve(world[family]), torch.device("cpu"))
    together = encoders.latents([images[number] for number in range(len(images))], SQUARE)
    assert together.is_contiguous()  # as a cache gives them: a network may round otherwise in another memory format
    for numbers in ([5], [3, 20, 7], list(range(17)), list(range(23, -1, -1))):
        assert torch.equal(encoders.latents([images[number] for number in numbers], SQUARE), together[numbers])
    prompts = [f"{number} stars on a blue background" for number in range(20)]
    all_at_once = encoders.conditioning(prompts)
    for number in (0, 7, 19):
        alone = encoders.conditioning([prompts[number]])
        for name in alone.tensors:
            assert torch.equal(alone.dense(name)[0], all_at_once.dense(name)[number])


def test_cache_entries_name_their_model_and_data(world, dpo_config, tmp_path):
    run(dpo_config(steps=1, cache=tmp_path / "cache"))
    for each in list_entries(tmp_path / "cache"):
        assert each.about["model"] == str(world["eps"]) and each.about["data"] == str(world["pairs"])
        assert each.about["pixels"] == 16
