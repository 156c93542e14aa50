"""What is CogView4's own: the time before the shift, prompts of unequal length, and sizes and crop."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import CogView4Pipeline

from palate.generate.sampler import Sampler
from palate.models.frames import Frames
from palate.models.load import load_denoiser

SHORT, LONG = "a star", "a blue star on a green background"


def test_prompts_of_unequal_length_give_in_one_batch_the_pictures_that_each_gives_alone(twins):
    sampler = Sampler(twins["cogview-4"], device="cpu", steps=2, guidance=4.0, height=16, width=32)
    together = sampler.sample([SHORT, LONG, SHORT], [0, 1, 2])
    pipeline: Any = CogView4Pipeline.from_pretrained(twins["cogview-4"])
    pipeline.set_progress_bar_config(disable=True)
    for seed, (prompt, ours) in enumerate(zip([SHORT, LONG, SHORT], together)):
        call = {"height": 16, "width": 32, "num_inference_steps": 2, "guidance_scale": 4.0}
        theirs = pipeline(prompt, generator=torch.Generator().manual_seed(seed), **call).images[0]
        assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)).max() <= 1


def test_the_network_takes_the_time_before_the_shift_that_the_scheduler_makes(twins, monkeypatch):
    denoiser = load_denoiser(twins["cogview-4"])
    scheduler, taken = denoiser.pipeline.scheduler, []

    def forward(timestep: torch.Tensor, hidden_states: torch.Tensor, **others: Any) -> tuple[torch.Tensor]:
        taken.append(timestep)
        return (hidden_states,)

    monkeypatch.setattr(denoiser.network, "forward", forward)
    times = torch.tensor([1000.0, 667.0, 334.0, 1.0])
    mu = 0.75 * (32 / 256) ** 0.5 + 0.25  # of 4 x 8 tokens
    scheduler.set_timesteps(timesteps=times.tolist(), sigmas=(times / 1000).tolist(), mu=mu)
    sigmas = scheduler.sigmas[:4]
    assert (sigmas[1:3] * 1000 - times[1:3]).abs().min() > 100  # the shift is not small
    denoiser.predict(torch.zeros(4, 4, 8, 16), sigmas, denoiser.encode_prompt([SHORT] * 4))
    torch.testing.assert_close(torch.cat(taken), times, atol=1e-2, rtol=1e-4)


def test_the_size_and_crop_of_an_image_reach_the_network(twins):
    denoiser = load_denoiser(twins["cogview-4"])
    x_t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    t, prompts = torch.tensor([0.4, 0.6]), denoiser.encode_prompt([SHORT, LONG])
    whole, cropped = Frames.whole(2, 16, 16), Frames.crops([(16, 16), (64, 16)], 16, 16)

    def predict(frames: Frames) -> torch.Tensor:
        with torch.no_grad():
            return denoiser.predict(x_t, t, prompts.merged(denoiser.image_conditioning(frames)))

    with torch.no_grad():
        assert torch.equal(predict(whole), denoiser.predict(x_t, t, prompts))
    assert torch.equal(predict(cropped)[0], predict(whole)[0])
    assert not torch.allclose(predict(cropped)[1], predict(whole)[1], atol=1e-4)
