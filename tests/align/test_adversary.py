"""The adversarial term: it works with any method, alternates, resumes exactly, and has an effect."""

from __future__ import annotations

import pytest
import torch
from trained import assert_same_weights, lines, run, run_until_interrupted

from palate.align.adversary import Discriminator
from palate.align.methods.cpo import CPOConfig
from palate.align.methods.dpo import DPOConfig
from palate.align.methods.kto import KTOConfig
from palate.align.methods.listwise import ListwiseConfig
from palate.align.methods.sft import SFTConfig


@pytest.mark.parametrize("kind", [SFTConfig, DPOConfig, CPOConfig, ListwiseConfig, KTOConfig])
@pytest.mark.parametrize("family", ["eps", "sd3"])
def test_an_adversarial_term_works_with_any_method_and_model(world, config_of, kind, family):
    feedback = {ListwiseConfig: "lists", KTOConfig: "thumbs"}.get(kind, "pairs")
    config = config_of(
        kind, model=str(world[family]), preferences=str(world[feedback]), adversarial=0.1, log_every=1, steps=2
    )
    metrics = lines(run(config))[0]
    assert metrics["loss_discriminator"] == pytest.approx(2 * 0.693, abs=0.3)
    assert 0 <= metrics["discriminator_accuracy"] <= 1 and metrics["adversarial"] > 0


def test_the_discriminator_learns_to_detect_the_estimates_of_a_fixed_policy(sft_config):
    settings = {"steps": 60, "lr": 1e-9, "batch": 12, "adversarial": 1.0, "discriminator_lr": 3e-3}
    metrics = lines(run(sft_config(**settings)))
    assert metrics[-1]["loss_discriminator"] < metrics[0]["loss_discriminator"] - 0.2
    assert metrics[-1]["discriminator_accuracy"] > 0.8


def test_the_policy_learns_to_mislead_a_fixed_discriminator(sft_config, tmp_path):
    settings = {"train": "full", "steps": 40, "lr": 1e-3, "batch": 12, "discriminator_lr": 1e-9}
    judged = {}
    for weight in (1e-6, 10.0):
        metrics = lines(run(sft_config(**settings, adversarial=weight, out=tmp_path / str(weight))))
        judged[weight] = metrics[-1]["adversarial"]
    assert judged[10.0] < judged[1e-6] - 0.05


def test_an_interrupted_run_resumes_the_discriminator_too(dpo_config, tmp_path, monkeypatch):
    common = {"steps": 7, "adversarial": 0.5, "train": "full", "discriminator_lr": 1e-2}
    undisturbed = run(dpo_config(**common))
    config = dpo_config(**common, out=tmp_path / "disturbed", checkpoint_every=3)
    run_until_interrupted(config, monkeypatch, at=6)
    assert_same_weights(undisturbed, run(config))


def test_the_split_of_the_batch_changes_nothing(dpo_config, tmp_path):
    common = {"batch": 8, "steps": 3, "train": "full", "optimizer": "adafactor", "adversarial": 0.5}
    whole = run(dpo_config(**common, out=tmp_path / "whole"))
    split = run(dpo_config(**common, out=tmp_path / "split", micro_batch=2))
    assert_same_weights(whole, split, atol=2e-5, rtol=1e-4)


def test_the_prompt_and_the_noise_level_reach_the_logit():
    torch.manual_seed(0)
    network, latents = Discriminator(4, 8), torch.randn(2, 4, 8, 8)
    signal, prompts = torch.tensor([0.2, 0.9]), torch.randn(2, 8)
    logit = network(latents, signal, prompts)
    assert logit.shape == (2,)
    assert not torch.allclose(logit, network(latents, signal.flip(0), prompts))
    assert not torch.allclose(logit, network(latents, signal, prompts.flip(0)))


def test_a_weight_below_zero_is_refused(dpo_config):
    with pytest.raises(ValueError, match="adversarial must be zero or more, not -1.0"):
        dpo_config(adversarial=-1.0)
