"""How large the demonstration is. The defaults fit two cores and eight minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The size of the demonstration."""

    out: Path = Path("runs/demo")
    """Run folder; one that was interrupted goes on where it stopped."""
    prompts: int = 96
    """Prompts whose new images the simulated people compare, in addition to the comparisons that come with Palate."""
    steps: int = 300
    """Optimiser steps of Diffusion-DPO."""
    unseen: int = 96
    """Unseen prompts that both models generate images for in the evaluation."""
    images: int = 4
    """Images of each prompt."""
    seed: int = 0
    """Seed of all random draws."""

    def __post_init__(self) -> None:
        if wrong := [n for n in ("prompts", "steps", "unseen", "images") if getattr(self, n) <= 0]:
            raise ValueError("; ".join(f"{name} must be above zero, not {getattr(self, name)}" for name in wrong))
        if self.images < 2:
            raise ValueError(f"images must be at least 2 for people to compare, not {self.images}")
