"""The settings that every training has. Imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FREE = frozenset({"cache", "checkpoint_every", "device", "keep_checkpoints", "micro_batch", "out", "tracker"})
"""Fields that may change between the parts of one run: the weights do not depend on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The settings that every training has."""

    out: Path
    """Run folder; an interrupted run continues where it stopped."""
    steps: int = 1000
    """Optimiser steps."""
    batch: int = 64
    """Examples per step over all processes."""
    micro_batch: int | None = None
    """Examples per forward pass; changes memory, not results. A process's whole share when left out."""
    lr: float | None = None
    """Learning rate after the warm-up; 1e-4 when left out."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises linearly."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or falling to zero linearly or along half a cosine."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay."""
    clip: float = 1.0
    """Largest norm of the gradient; a larger one is scaled down to it."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Arithmetic of the network; auto is bf16 where the hardware has it, fp16 on other CUDA cards, otherwise fp32.
    With fp16 the loss is scaled, and a step whose gradients overflow is skipped."""
    seed: int = 0
    """Seed of all randomness of the run."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""
    cache: Path | None = None
    """Where computed inputs are kept for later runs; $PALATE_CACHE or ~/.cache/palate."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl, each the mean over its steps."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = 1
    """How many of the latest checkpoints are kept."""
    tracker: Literal["tensorboard", "wandb", "trackio"] | None = None
    """Send the metrics to one of accelerate's trackers as well."""

    def __post_init__(self) -> None:
        if wrong := list(self.problems()):
            raise ValueError("; ".join(wrong))

    def problems(self) -> Iterator[str]:
        """A message for each wrong value; a subclass adds those of its own fields."""
        yield from not_above_zero(self, "steps", "batch", "clip", "log_every", "checkpoint_every", "keep_checkpoints")
        yield from not_above_zero(self, "micro_batch", "lr", optional=True)
        yield from below_zero(self, "weight_decay")
        yield from not_a_share(self, "warmup")
        if self.micro_batch and self.batch % self.micro_batch:
            yield f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})"

    def learning_rate(self) -> float:
        """The learning rate after the warm-up."""
        return self.lr or 1e-4

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ...: a linear rise over the warm-up, then the schedule.

        Reference of the cosine: Loshchilov and Hutter 2017 (arXiv:1608.03983), equation 5, without restarts.
        """
        risen = self.learning_rate() * min(1.0, (step + 1) / max(self.warmup_steps(), 1))
        left = min(1.0, (self.steps - step) / max(self.steps - self.warmup_steps(), 1))  # of the fall, 1 before it
        falling = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
        return risen * falling[self.schedule]

    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises."""
        return round(self.warmup * self.steps)


def not_above_zero(config: Any, *names: str, optional: bool = False) -> Iterator[str]:
    """A message for each field that is not above zero (NaN is not); an optional field may be None."""
    for name in names:
        value = getattr(config, name)
        if not ((optional and value is None) or value > 0):
            yield f"{name} must be above zero{' or left out' * optional}, not {value}"


def below_zero(config: Any, *names: str) -> Iterator[str]:
    """A message for each field that is below zero, or NaN."""
    for name in names:
        if not getattr(config, name) >= 0:
            yield f"{name} must be zero or more, not {getattr(config, name)}"


def not_a_share(config: Any, *names: str) -> Iterator[str]:
    """A message for each field that is outside [0, 1]."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            yield f"{name} must be a share between 0 and 1, not {getattr(config, name)}"
