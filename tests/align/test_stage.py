"""A run of `palate align`: what it learns, what it writes, and which inputs it refuses."""

import json
import shutil
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from trained import implicit_accuracy, lines, run

from palate.core.errors import ConfigError, InputError
from palate.models.load import load_denoiser
from palate.prefer.load import load_rankings


@pytest.mark.parametrize("train", ["lora", "full"])
@pytest.mark.parametrize("family", ["eps", "v", "sd3"])
def test_dpo_lowers_its_loss_and_ranks_pairs_at_draws_it_never_saw(world, dpo_config, family, train):
    rate = 5e-3 if train == "lora" else 2e-3
    config = dpo_config(model=str(world[family]), train=train, steps=40, lr=rate, warmup=0.1, beta=200.0)
    folder = run(config)
    outcome = json.loads((folder / "summary.json").read_text())["last_tenth"]
    assert outcome["loss"] < 0.6 < lines(folder)[0]["loss"] and outcome["accuracy"] > 0.8
    assert implicit_accuracy(folder, world["pairs"]) > 0.9


def test_sft_lowers_the_error_of_preferred_images(sft_config):
    folder = run(sft_config(steps=40, train="full"))
    assert lines(folder)[-1]["error_image"] < 0.9 * lines(folder)[0]["error_image"]


def test_training_starts_at_log_2_with_the_policy_equal_to_the_reference(dpo_config):
    metrics = lines(run(dpo_config(steps=1, log_every=1)))[0]
    # The reference was asked in other batches: float32 rounding of 1e-7, times beta / 2 = 1000.
    assert metrics["loss"] == pytest.approx(0.693147, abs=1e-3) and metrics["margin"] == pytest.approx(0, abs=1e-3)
    for role in ("winner", "loser"):
        assert metrics[f"error_{role}"] == pytest.approx(metrics[f"error_ref_{role}"], rel=1e-5)
    assert metrics["gradient_norm"] > 0


@pytest.mark.parametrize("family", ["eps", "sd3"])
def test_plain_diffusers_reproduces_the_trained_prediction_from_the_lora(world, dpo_config, family):
    folder = run(dpo_config(model=str(world[family]), steps=10, lr=1e-2, alpha=8.0, rank=4))
    absent = {"text_encoder_3": None, "tokenizer_3": None} if family == "sd3" else {}
    plain = DiffusionPipeline.from_pretrained(world[family], **absent)
    plain.load_lora_weights(folder / "model")
    ours, base = load_denoiser(folder), load_denoiser(world[family])
    x_t, t = torch.randn(2, 4, 8, 8), torch.tensor([0.3, 0.8]) if family == "sd3" else torch.tensor([300, 800])
    conditioning = base.encode_prompt(["1 stars", "2 stars"])
    with torch.no_grad():
        adapter: Any = type(ours)
        expected = adapter(plain).predict(x_t, t, conditioning)
        torch.testing.assert_close(ours.predict(x_t, t, conditioning), expected, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(base.predict(x_t, t, conditioning), expected, atol=1e-3)


def test_full_training_saves_a_pipeline_that_plain_diffusers_opens(world, dpo_config):
    folder = run(dpo_config(train="full"))
    plain, base = (DiffusionPipeline.from_pretrained(path) for path in (folder / "model", world["eps"]))
    assert not torch.equal(plain.unet.conv_in.weight, base.unet.conv_in.weight)
    assert torch.equal(plain.vae.decoder.conv_in.weight, base.vae.decoder.conv_in.weight)
    assert json.loads((folder / "model" / "palate.json").read_text())["base"] == str(world["eps"])


def test_a_missing_part_of_the_model_is_named_before_anything_is_written(world, dpo_config, tmp_path):
    broken = shutil.copytree(world["eps"], tmp_path / "broken")
    shutil.rmtree(broken / "text_encoder")
    config = dpo_config(model=str(broken))
    with pytest.raises(InputError, match="lacks its part 'text_encoder'"):
        run(config)
    assert not config.out.exists()


def test_a_corrupt_image_is_named_before_anything_is_written(dpo_config, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "metadata.csv").write_text("prompt,preferred,rejected\na star,good.png,bad.png\n")
    (folder / "good.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "bad.png").write_bytes(b"")
    config = dpo_config(preferences=str(folder))
    with pytest.raises(InputError, match=r"(good|bad)\.png"):
        run(config)
    assert not config.out.exists()


@pytest.mark.parametrize(
    "changes, message", [({"device": "tpu"}, "no device 'tpu'"), ({"device": "cuda"}, "no device 'cuda'")]
)
def test_a_device_that_is_not_there_is_refused(dpo_config, changes, message):
    if changes["device"] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ConfigError, match=message):
        run(dpo_config(**changes))


@pytest.mark.filterwarnings("default")  # tensorboard's own
def test_metrics_reach_a_tracker_from_a_run(dpo_config):
    pytest.importorskip("tensorboard")
    config = dpo_config(tracker="tensorboard")
    run(config)
    assert list(config.out.rglob("events.out.tfevents*"))


def test_the_fixture_s_examples_have_the_expected_prompts_and_images(world, dpo_config):
    examples = dpo_config().method().examples(load_rankings(world["pairs"]))
    assert len(examples) == 12 and len(examples.images) == 24 and len(examples.prompts) == 6
