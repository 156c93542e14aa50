"""Runs in float16, with AdamW in 8 bits and on a quantised base: exact resume, what stays in float32, combinations."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from trained import assert_same_weights, implicit_accuracy, lines, run, run_until_interrupted, weights

from palate.align.config import AlignConfig
from palate.align.encoders import Encoders
from palate.align.methods.dpo import DPOConfig
from palate.align.trainer import Trainer
from palate.core import bitsandbytes_check
from palate.core.config import from_mapping
from palate.core.errors import ConfigError
from palate.models.load import load_denoiser
from palate.training.accelerator import compute_dtype
from palate.training.loss_scale import LossScale

FP16 = {"precision": "fp16"}
SAVING: dict[str, dict[str, Any]] = {
    "fp16": FP16,
    "adamw8bit": {"optimizer": "adamw8bit"},
    "8bit": {"quantize": "8bit"},
    "4bit": {"quantize": "4bit"},
    "all": {**FP16, "optimizer": "adamw8bit", "quantize": "4bit"},
}
OTHER: dict[str, dict[str, Any]] = {
    "dora": {"dora": True},
    "rank-stabilised": {"rank_stabilized": True},
    "ema": {"ema": 0.9},
    "checkpointing": {"gradient_checkpointing": True},
    "adversarial": {"adversarial": 0.1},
    "adafactor": {"optimizer": "adafactor"},
    "streamed": {"latents": "streamed"},
}


@pytest.fixture(autouse=True)
def _installed():
    pytest.importorskip("bitsandbytes")


@pytest.mark.parametrize(
    "more",
    [
        *(
            pytest.param(SAVING[name], id=name, marks=pytest.mark.slow)
            for name in ("fp16", "adamw8bit", "8bit", "4bit")
        ),
        pytest.param(SAVING["all"], id="all"),
        pytest.param({"optimizer": "adamw8bit", "train": "full"}, id="adamw8bit-full"),
        pytest.param({**FP16, "train": "full", "ema": 0.9}, id="fp16-full-ema", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_resumes_bit_for_bit(dpo_config, tmp_path, monkeypatch, more):
    common = {"steps": 9, "log_every": 2, "batch": 5, "draws": 2, **more}
    undisturbed = run(dpo_config(**common))
    config = dpo_config(**common, out=tmp_path / "disturbed", checkpoint_every=4)
    run_until_interrupted(config, monkeypatch, at=8)
    assert_same_weights(undisturbed, run(config))
    assert lines(undisturbed) == lines(config.out)


def test_a_step_that_overflows_is_skipped_and_counted_and_the_others_train(dpo_config, monkeypatch):
    scaled, calls = LossScale.scaled, []

    def overflowing(self, loss):
        calls.append(1)
        return scaled(self, loss) * (float("inf") if len(calls) in (2, 3) else 1)

    monkeypatch.setattr(LossScale, "scaled", overflowing)
    found = lines(run(dpo_config(**FP16, steps=5, beta=10.0, log_every=1)))
    assert [line["skipped"] for line in found] == [0, 1, 1, 0, 0]
    assert [line["loss_scale"] for line in found] == [65536, 65536, 32768, 16384, 16384]
    assert [("gradient_norm" in line) for line in found] == [True, False, False, True, True]
    assert found[3]["loss"] != pytest.approx(found[0]["loss"], abs=1e-9)


@pytest.mark.slow
def test_float16_trains_as_float32_does(world, dpo_config, tmp_path):
    common = {"steps": 40, "batch": 8, "lr": 2e-3, "beta": 200.0}
    runs = {each: run(dpo_config(**common, precision=each, out=tmp_path / each)) for each in ("fp32", "fp16")}
    late = {each: lines(folder)[-1] for each, folder in runs.items()}
    assert late["fp16"]["loss"] == pytest.approx(late["fp32"]["loss"], abs=0.05) and late["fp16"]["loss"] < 0.6
    assert late["fp16"]["gradient_norm"] == pytest.approx(late["fp32"]["gradient_norm"], rel=0.3)
    assert implicit_accuracy(runs["fp16"], world["pairs"]) > 0.9


@pytest.mark.parametrize("train, base", [("lora", torch.float16), ("full", torch.float32)])
def test_a_frozen_base_is_in_float16_and_what_is_trained_in_float32(dpo_config, monkeypatch, train, base):
    seen = {}

    def watched(self, number):
        seen.update(dict(self.network.named_parameters()))

    monkeypatch.setattr(Trainer, "step", watched)
    run(dpo_config(**FP16, train=train, steps=1))
    frozen = {value.dtype for value in seen.values() if not value.requires_grad}
    assert {value.dtype for value in seen.values() if value.requires_grad} == {torch.float32}
    assert frozen == (set() if train == "full" else {base})


@pytest.mark.parametrize("latents", ["cached", "streamed"])
def test_the_autoencoder_computes_in_float32_whatever_the_precision(dpo_config, tmp_path, monkeypatch, latents):
    """SDXL's overflows in float16, as its configuration says (`force_upcast`)."""
    seen, encode = [], Encoders.latents

    def watched(self, images, size):
        found = encode(self, images, size)
        seen.append((self.denoiser.pipeline.vae.dtype, found))
        return found

    monkeypatch.setattr(Encoders, "latents", watched)
    run(dpo_config(**FP16, cache=tmp_path / "cache", latents=latents, steps=1))
    assert seen and all(dtype == torch.float32 and latent.dtype == torch.float32 for dtype, latent in seen)


def test_precisions_share_their_latents_and_quantised_bases_have_errors_of_their_own(dpo_config, tmp_path):
    cache, counts = tmp_path / "cache", []
    for number, more in enumerate([{}, {}, {"quantize": "8bit"}, {"quantize": "4bit"}, FP16]):
        run(dpo_config(**more, cache=cache, steps=1, out=tmp_path / str(number)))
        folders = [path.name.split("-")[0] for path in (cache / "align").iterdir() if path.is_dir()]
        counts.append((folders.count("latents"), folders.count("errors")))
    assert counts == [(1, 1), (1, 1), (1, 2), (1, 3), (1, 4)]


@pytest.mark.parametrize(
    "saving, other",
    [pytest.param(*pair, marks=[] if pair[0] == "all" else pytest.mark.slow) for pair in product(SAVING, OTHER)],
)
def test_every_way_to_save_memory_goes_with_every_other_option(dpo_config, saving, other):
    found = lines(run(dpo_config(**{**SAVING[saving], **OTHER[other]}, steps=2, log_every=1, beta=10.0)))
    assert found[-1]["loss"] != found[0]["loss"]
    assert ("loss_scale" in found[0]) == ("precision" in SAVING[saving])
    assert ("loss_discriminator" in found[0]) == (other == "adversarial")


@pytest.mark.slow
@pytest.mark.parametrize("saving", SAVING)
@pytest.mark.filterwarnings("default")
def test_every_way_to_save_memory_can_be_compiled(dpo_config, tmp_path, saving):
    common = {**SAVING[saving], "steps": 2, "log_every": 1, "beta": 10.0}
    plain, compiled = run(dpo_config(**common)), run(dpo_config(**common, compile=True, out=tmp_path / "compiled"))
    assert lines(compiled)[-1]["loss"] == pytest.approx(lines(plain)[-1]["loss"], abs=1e-2)


def test_a_quantised_base_is_refused_where_it_is_to_be_trained():
    settings = {"model": "tiny-sd", "preferences": "tiny-preferences", "out": "run"}
    with pytest.raises(ConfigError, match=r"quantize .4bit. keeps frozen weights in few bits; give --train lora, or"):
        from_mapping(DPOConfig, {**settings, "train": "full", "quantize": "4bit"})
    with pytest.raises(ConfigError, match="quantize: expected one of '8bit', '4bit'"):
        from_mapping(DPOConfig, {**settings, "quantize": "2bit"})


@pytest.mark.parametrize("more", [{"optimizer": "adamw8bit"}, {"quantize": "4bit"}])
def test_without_bitsandbytes_a_run_ends_before_anything_is_encoded(dpo_config, tmp_path, monkeypatch, more):
    monkeypatch.setattr(bitsandbytes_check, "find_spec", lambda _: None)
    config: AlignConfig = dpo_config(**more, cache=tmp_path / "cache")
    with pytest.raises(ConfigError, match="needs bitsandbytes, .* pip install 'palate.low-memory.'"):
        run(config)
    assert not config.out.exists() and not (tmp_path / "cache").exists()


def test_a_lora_of_a_quantised_base_is_one_for_the_base_in_plain_diffusers(world, dpo_config):
    folder = run(dpo_config(quantize="4bit"))
    assert {value.dtype for value in weights(folder).values()} == {torch.float32}
    plain, ours = DiffusionPipeline.from_pretrained(world["eps"]), load_denoiser(folder)
    plain.load_lora_weights(folder / "model")
    x_t, t, prompt = torch.randn(1, 4, 8, 8), torch.tensor([500]), ours.encode_prompt(["a star"])
    with torch.no_grad():
        theirs = plain.unet(x_t, t, prompt.tensors["embeddings"]).sample
        torch.testing.assert_close(theirs, ours.predict(x_t, t, prompt), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "device, bf16, expected",
    [("cuda", False, torch.float16), ("cuda", True, torch.bfloat16), ("mps", False, torch.float32)],
)
def test_auto_is_float16_on_cuda_cards_without_bfloat16(monkeypatch, device, bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    assert compute_dtype("auto", device) == expected
    assert compute_dtype("fp16", "cpu") == torch.float16


@pytest.mark.gpu
@pytest.mark.parametrize("saving", SAVING)
def test_every_way_to_save_memory_trains_on_cuda(dpo_config, saving):
    options = {"precision": "auto", **SAVING[saving]}
    folder = run(dpo_config(**options, device=None, steps=30, lr=2e-3, beta=200.0))
    assert lines(folder)[-1]["loss"] < 0.65
