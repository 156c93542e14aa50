"""Converts another code's beta: between public codes the same number may mean 2CHW times as much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ConvertBetaConfig:
    """How the other code computes the margin from its errors."""

    beta: float
    """The other code's beta."""
    reduction: Literal["mean", "sum"] = "mean"
    """How it reduces the squared errors of an image's elements to one error."""
    half: bool = True
    """Whether it multiplies the errors' difference by a half: `-0.5 * beta * (...)`."""
    channels: int = 4
    """Channels of a latent; used only when the reduction is a sum."""
    height: int = 64
    """Height of a latent: pixels divided by 8 for Stable Diffusion; used only when the reduction is a sum."""
    width: int = 64
    """Width of a latent; used only when the reduction is a sum."""
    timesteps: int = 1
    """The paper's factor T (equation 14) where the other code multiplies by it; 1 where it is folded into beta."""

    def __post_init__(self) -> None:
        sizes = ("beta", "channels", "height", "width", "timesteps")
        if wrong := [name for name in sizes if getattr(self, name) <= 0]:
            raise ValueError("; ".join(f"{name} must be above zero, not {getattr(self, name)}" for name in wrong))


def convert_beta(other: ConvertBetaConfig) -> float:
    """The beta under which Palate's margin, `-(beta / 2) (mean errors' difference)`, equals the other code's.

    A sum over C x H x W elements is that many times the mean, and a code without the half has twice Palate's factor.
    """
    elements = other.channels * other.height * other.width if other.reduction == "sum" else 1
    return other.beta * other.timesteps * elements * (1 if other.half else 2)
