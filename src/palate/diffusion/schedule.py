"""Noise schedules: `x_t = signal(t) x_0 + noise(t) eps`, and the distribution of `t` in training.

`t` is always a [B] tensor. Variance-preserving: an integer timestep, 0 is the cleanest. Flow: sigma in [0, 1], 0 is
clean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """A Gaussian path from data to noise."""

    def signal(self, t: Tensor) -> Tensor:
        """The factor of x_0 at `t` [B], as [B] float32."""
        ...

    def noise(self, t: Tensor) -> Tensor:
        """The factor of eps at `t` [B], as [B] float32."""
        ...

    def sample_t(self, u: Tensor) -> Tensor:
        """Maps `u` [B], uniform in [0, 1), to times of training [B]: the quantile function of their distribution."""
        ...

    def add_noise(self, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t [B, C, H, W] from x_0 and eps [B, C, H, W] at `t` [B]."""
        ...


def broadcast(per_image: Tensor, like: Tensor) -> Tensor:
    """A [B] tensor viewed as [B, 1, ...], so that it can be multiplied with `like` [B, ...]."""
    return per_image.view(-1, *(1,) * (like.ndim - 1))


class _GaussianPath:
    """The common part of both schedules: the path is linear in x_0 and eps."""

    def add_noise(self: Schedule, x_0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t [B, C, H, W] from x_0 and eps [B, C, H, W] at `t` [B]."""
        return broadcast(self.signal(t), x_0) * x_0 + broadcast(self.noise(t), eps) * eps


@dataclass(frozen=True, eq=False)
class VarianceSchedule(_GaussianPath):
    """Variance-preserving: `signal^2 + noise^2 = 1` at each of T integer timesteps.

    Args:
        alphas_cumprod: signal^2 [T], as in a diffusers scheduler.
        trained: the only timesteps of training; all T when left out.

    Reference: Ho et al. 2020 (arXiv:2006.11239), equation 4.
    """

    alphas_cumprod: Tensor
    trained: tuple[int, ...] = ()

    @classmethod
    def of_few_steps(cls, alphas_cumprod: Tensor, trained: tuple[int, ...]) -> VarianceSchedule:
        """The schedule of a model that draws in a few steps, and that is trained at the timesteps of these alone.

        If the last timestep T - 1 is one of them it becomes pure noise, from which such a model starts, and the others
        move with it: signal is shifted to 0 at T - 1 and scaled to what it was at 0.

        Reference: Lin et al. 2023 (arXiv:2305.08891), algorithm 1; so does the code of Diffusion-DPO for SDXL-Turbo.
        """
        if len(alphas_cumprod) - 1 not in trained:
            return cls(alphas_cumprod, trained)
        signal = alphas_cumprod.sqrt()
        return cls(((signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])) ** 2, trained)

    def signal(self, t: Tensor) -> Tensor:
        """sqrt(alphas_cumprod[t]) [B]."""
        return self._signal_squared(t).sqrt()

    def noise(self, t: Tensor) -> Tensor:
        """sqrt(1 - alphas_cumprod[t]) [B]."""
        return (1 - self._signal_squared(t)).sqrt()

    def sample_t(self, u: Tensor) -> Tensor:
        """Uniform over 0 .. T-1, as Diffusion-DPO (arXiv:2311.12908, equation 14), or over those that are trained."""
        if not self.trained:
            return (u * len(self.alphas_cumprod)).long()
        return torch.tensor(self.trained, device=u.device)[(u * len(self.trained)).long()]

    def _signal_squared(self, t: Tensor) -> Tensor:
        return self.alphas_cumprod.to(t.device)[t].float()


@dataclass(frozen=True)
class FlowSchedule(_GaussianPath):
    """Rectified flow: `x_t = (1 - sigma) x_0 + sigma eps`.

    Training uses logit-normal sigmas, `sigmoid(N(0, 1))`, or uniform ones, moved towards noise by the model's own
    `shift s`: `sigma -> s sigma / (1 + (s - 1) sigma)`.

    Args:
        shift: s; 1 changes nothing.
        density: of sigma before the shift.

    Reference: Esser et al. 2024 (arXiv:2403.03206): logit-normal in section 3.1 (rf/lognorm(0.00, 1.00) ranked first
    in table 1), the shift in equation 23 (s = 3 for Stable Diffusion 3).
    """

    shift: float = 1.0
    density: Literal["logit-normal", "uniform"] = "logit-normal"

    @classmethod
    def of(
        cls, config: Mapping[str, Any], tokens: int, density: Literal["logit-normal", "uniform"] = "logit-normal"
    ) -> FlowSchedule:
        """The schedule of a diffusers `FlowMatchEulerDiscreteScheduler`.

        Args:
            config: configuration of the scheduler: one `shift` for all sizes, or with `use_dynamic_shifting` a shift
                that depends on the size through `mu`, which is linear in the number of tokens.
            tokens: number of tokens of an image in the network.
            density: of sigma before the shift.
        """
        if not config.get("use_dynamic_shifting"):
            return cls(config["shift"], density)
        share = (tokens - config["base_image_seq_len"]) / (config["max_image_seq_len"] - config["base_image_seq_len"])
        mu = config["base_shift"] + share * (config["max_shift"] - config["base_shift"])
        return cls(mu if config.get("time_shift_type") == "linear" else math.exp(mu), density)

    def signal(self, t: Tensor) -> Tensor:
        """1 - sigma [B]."""
        return 1 - t.float()

    def noise(self, t: Tensor) -> Tensor:
        """sigma [B]."""
        return t.float()

    def sample_t(self, u: Tensor) -> Tensor:
        """The u-quantile of the shifted density [B]."""
        sigma = u.double() if self.density == "uniform" else torch.special.ndtri(u.double()).sigmoid()
        return (self.shift * sigma / (1 + (self.shift - 1) * sigma)).float()
