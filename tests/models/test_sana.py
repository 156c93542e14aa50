"""What is Sana's own: the time that its network takes."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from palate.models.load import load_denoiser


def test_the_time_is_whole_as_a_dpm_solver_makes_it_and_not_with_another_scheduler_and_it_is_scaled(twins, monkeypatch):
    denoiser = load_denoiser(twins["sana"])
    pipeline: Any = denoiser.pipeline
    taken: list[torch.Tensor] = []

    def forward(x_t: torch.Tensor, timestep: torch.Tensor, **others: Any) -> tuple[torch.Tensor]:
        taken.append(timestep)
        return (x_t,)

    monkeypatch.setattr(denoiser.network, "forward", forward)
    prompts, sigmas = denoiser.encode_prompt(["a star", "a star"]), torch.tensor([0.9, 0.7496])
    denoiser.predict(torch.zeros(2, 4, 2, 2), sigmas, prompts)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipeline.transformer.register_to_config(timestep_scale=0.001)
    denoiser.predict(torch.zeros(2, 4, 2, 2), sigmas, prompts)
    assert taken[0].tolist() == [900, 749]
    torch.testing.assert_close(taken[1], sigmas)
