"""The forms of a LoRA, and the average of weights that is saved: what plain diffusers loads is what was trained."""

from __future__ import annotations

import pytest
import torch
from trained import assert_same_weights, run, run_until_interrupted, weights

from palate.models.load import load_denoiser, load_pipeline


def predict(denoiser):
    x_t, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    with torch.no_grad():
        return denoiser.predict(x_t, t, denoiser.encode_prompt(["a star"]))


@pytest.mark.parametrize("forms", [{"dora": True}, {"rank_stabilized": True}, {"dora": True, "rank_stabilized": True}])
def test_each_form_of_an_adapter_is_loaded_by_plain_diffusers_and_fused_whole(dpo_config, world, forms):
    folder = run(dpo_config(**forms, rank=4, alpha=2.0))
    ours = load_denoiser(folder)  # fused
    plain = load_pipeline(world["eps"])
    plain.load_lora_weights(folder / "model")
    theirs = type(ours)(plain)
    torch.testing.assert_close(predict(theirs), predict(ours), atol=1e-4, rtol=1e-3)
    assert (predict(ours) - predict(load_denoiser(world["eps"]))).abs().max() > 1e-3
    assert any("magnitude" in name for name in weights(folder)) == ("dora" in forms)


def test_dora_begins_at_the_base_model(dpo_config, world):
    folder = run(dpo_config(dora=True, steps=1, lr=1e-12, warmup=0.0))
    base = predict(load_denoiser(world["eps"]))
    torch.testing.assert_close(predict(load_denoiser(folder)), base, atol=1e-5, rtol=1e-4)


def test_the_saved_model_is_the_average_and_lies_between_the_base_and_the_last_weights(sft_config, world, tmp_path):
    common = {"train": "full", "steps": 6, "warmup": 0.0}
    last = weights(run(sft_config(**common)))
    average = weights(run(sft_config(**common, ema=0.9, out=tmp_path / "average")))
    base = load_pipeline(world["eps"]).unet.state_dict()
    moved = averaged = 0.0
    for name, value in base.items():
        moved += (last[f"unet/{name}"] - value).abs().sum().item()
        averaged += (average[f"unet/{name}"] - value).abs().sum().item()
    assert 0.2 * moved < averaged < 0.98 * moved


def test_a_run_with_an_average_resumes_bit_for_bit(dpo_config, tmp_path, monkeypatch):
    undisturbed = run(dpo_config(steps=8, ema=0.7))
    config = dpo_config(steps=8, ema=0.7, out=tmp_path / "disturbed", checkpoint_every=3)
    run_until_interrupted(config, monkeypatch, at=6)
    assert_same_weights(undisturbed, run(config))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ema": 1.0}, "ema must be at least 0 and below 1, not 1.0"),
        ({"train": "full", "dora": True}, "dora and rank_stabilized are forms of a low-rank adapter"),
    ],
)
def test_what_does_not_go_together_is_refused(dpo_config, changes, message):
    with pytest.raises(ValueError, match=message):
        dpo_config(**changes)
