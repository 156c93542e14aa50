"""Training computes nothing twice, holds one network, never waits for the device, and does not depend on the split."""

import dataclasses

import pytest
import torch
from trained import assert_same_weights, lines, run

from palate.align.trainer import Trainer
from palate.models.load import load_denoiser


@pytest.mark.parametrize("family", ["eps", "sd3"])
def test_one_micro_batch_of_eight_equals_eight_of_one_up_to_rounding(world, dpo_config, tmp_path, family):
    common = {"model": str(world[family]), "batch": 8, "steps": 4, "train": "full", "optimizer": "adafactor"}
    whole = run(dpo_config(**common, out=tmp_path / "whole"))
    for size in (1, 4):
        split = run(dpo_config(**common, out=tmp_path / f"split{size}", micro_batch=size))
        # Sums in another order: float32 rounding, carried through four updates of size 1e-3.
        assert_same_weights(whole, split, atol=2e-5, rtol=1e-4)
        for a, b in zip(lines(whole), lines(split)):
            assert a["error_winner"] == pytest.approx(b["error_winner"], rel=1e-4)
            assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=2e-2)


def test_a_later_run_uses_cached_latents_embeddings_and_reference_errors(dpo_config, tmp_path, monkeypatch):
    config = dpo_config(cache=tmp_path / "cache", steps=7)
    run(config)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}
    asked = []
    monkeypatch.setattr("palate.align.encoders.load_denoiser", lambda *_, **__: asked.append("encoders"))
    monkeypatch.setattr("palate.align.batches.denoising_errors", lambda *_: asked.append("reference"))
    run(dataclasses.replace(config, beta=500.0, lr=1e-4, batch=3, out=tmp_path / "again"))
    assert asked == []
    assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.safetensors")}


def test_models_that_differ_in_what_they_predict_share_no_reference_errors(world, dpo_config, tmp_path):
    """The random eps and v models have equal weights: only the scheduler's configuration differs."""
    cache, options = tmp_path / "cache", {"steps": 1, "log_every": 1}
    metrics = {
        family: lines(run(dpo_config(model=str(world[family]), out=tmp_path / family, cache=cache, **options)))[0]
        for family in ("eps", "v")
    }
    assert metrics["v"]["error_winner"] == pytest.approx(metrics["v"]["error_ref_winner"], rel=1e-5)
    assert metrics["v"]["error_ref_winner"] != metrics["eps"]["error_ref_winner"]


def test_the_encoders_are_freed_and_no_second_network_is_loaded(dpo_config, monkeypatch):
    from palate.align import stage

    loaded = []

    def remember(source, **options):
        loaded.append(sorted(options["without"]))
        return load_denoiser(source, **options)

    monkeypatch.setattr(stage, "load_denoiser", remember)
    run(dpo_config())
    assert loaded == [sorted(["vae", "text_encoder", "tokenizer"])]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_step_never_waits_for_a_value_of_a_tensor(dpo_config, monkeypatch, train, precision):
    """Finds calls that would make a GPU's host wait, without a GPU, which `torch.cuda.set_sync_debug_mode` needs."""

    def wait(*_, **__):
        pytest.fail("a step asked a tensor for its value")

    step = Trainer.step

    def watched(self, number):
        with monkeypatch.context() as patch:
            for name in ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__"):
                patch.setattr(torch.Tensor, name, wait)
            step(self, number)

    monkeypatch.setattr(Trainer, "step", watched)
    assert len(lines(run(dpo_config(train=train, micro_batch=2, precision=precision)))) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["auto", "fp16"])
@pytest.mark.parametrize("train", ["lora", "full"])
def test_training_on_cuda_never_synchronises_within_a_step(dpo_config, monkeypatch, train, precision):
    step = Trainer.step

    def watched(self, number):
        torch.cuda.set_sync_debug_mode("error" if number > 1 else "default")  # the first steps set libraries up
        try:
            step(self, number)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Trainer, "step", watched)
    folder = run(dpo_config(train=train, device=None, precision=precision, steps=30, lr=2e-3, beta=200.0))
    assert lines(folder)[-1]["loss"] < 0.6


def test_draws_limit_the_reference_to_one_pass_over_them(dpo_config, tmp_path):
    count = {}
    for draws in (1, 3, None):
        cache = tmp_path / f"cache {draws}"
        run(dpo_config(draws=draws, steps=15, cache=cache, out=tmp_path / f"run {draws}"))  # 60 visits of 12 pairs
        count[draws] = len(list(cache.rglob("errors-*/*.safetensors")))
    assert count == {1: 1, 3: 3, None: 5}


def test_bf16_trains_and_starts_near_log_2(dpo_config):
    folder = run(dpo_config(precision="bf16", log_every=1, beta=100.0))
    assert lines(folder)[0]["loss"] == pytest.approx(0.6931, abs=0.02)  # bf16 keeps 8 bits


def test_gradient_checkpointing_changes_memory_and_nothing_else(dpo_config, tmp_path):
    plain = run(dpo_config())
    assert_same_weights(plain, run(dpo_config(gradient_checkpointing=True, out=tmp_path / "checkpointed")))
