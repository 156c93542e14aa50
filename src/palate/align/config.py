"""What a training run is made of. Imports nothing heavy, so that `palate align dpo --help` answers at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from palate.align.methods.method import Method

FREE = frozenset(
    {
        "cache",
        "checkpoint_every",
        "device",
        "gradient_checkpointing",
        "keep_checkpoints",
        "micro_batch",
        "out",
        "tracker",
    }
)
"""Fields that may change between the parts of one run: the weights do not depend on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """What every offline method shares."""

    model: str
    """Model to train: a built-in name, a folder, a run of `palate align` or a hub id."""
    preferences: str
    """Preferences: a built-in name, a Parquet file, a run of `palate prefer`, a folder of HPDv2 or of pairs."""
    out: Path
    """Run folder; one that was interrupted goes on where it stopped."""
    train: Literal["lora", "full"] = "lora"
    """Train a low-rank adapter, or all weights of the network."""
    rank: int = 16
    """Rank of the adapter."""
    alpha: float | None = None
    """Scale of the adapter times its rank; the rank when left out."""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Ends of the names of the layers that get an adapter; attention projections, as in diffusers' scripts."""
    resolution: int | None = None
    """Pixels a side that images are resized and cropped to; the model's own when left out."""
    steps: int = 2000
    """Optimiser steps; 2000 in Wallace et al. 2023 (Diffusion-DPO), section 5.1."""
    batch: int = 64
    """Examples a step over all processes; 2048 pairs in the paper. Ours is for data sets of thousands."""
    micro_batch: int | None = None
    """Examples of one forward; changes memory, not results. All of a process' share when left out."""
    lr: float | None = None
    """Learning rate. Left out: 1e-4 for an adapter (ours), and for full training the rule of the paper's code."""
    warmup: float = 0.25
    """Share of the steps over which the learning rate rises linearly; 500 of 2000 in the paper, then constant."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """AdamW (the paper's for SD1.5) or Adafactor (its choice for SDXL; less memory)."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay; 0.01 in the paper's code. Adafactor uses none there."""
    clip: float = 1.0
    """Largest norm of the gradient; 1.0 in the paper's code."""
    prompt_dropout: float = 0.2
    """Share of draws trained on the empty prompt, which keeps guidance alive; 0.2 in the paper's code."""
    draws: int | None = None
    """Noises and times a ranked set has before visits to it repeat them; none for fresh ones at every visit, as
    published. The reference is asked once an image and draw, so few draws are cheap, and learnt by heart."""
    adversarial: float = 0.0
    """Weight of an adversarial term beside the method's loss: a discriminator judges the one-step clean estimates of
    preferred images, and learns in turn with the model (ours; see docs/objectives.md). 0 is without."""
    discriminator_lr: float = 2e-4
    """Learning rate of that discriminator."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the network; auto is bf16 where the hardware has it, otherwise fp32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the network with torch.compile; pays off in long runs."""
    seed: int = 0
    """Of all randomness of the run."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""
    cache: Path | None = None
    """Where latents, embeddings and reference errors are kept for later runs; $PALATE_CACHE or ~/.cache/palate."""
    log_every: int = 10
    """Steps between lines of metrics.jsonl, each the mean over its steps."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = 1
    """How many of the latest checkpoints are kept."""
    tracker: Literal["tensorboard", "wandb", "trackio"] | None = None
    """Also send the metrics to one of accelerate's trackers."""

    def __post_init__(self) -> None:
        counts = ("rank", "steps", "batch", "log_every", "checkpoint_every", "keep_checkpoints")
        positive = (*counts, "clip", "discriminator_lr")
        optional = ("alpha", "resolution", "micro_batch", "lr", "draws")
        wrong = [
            f"{name} must be above zero, not {getattr(self, name)}" for name in positive if getattr(self, name) <= 0
        ]
        for name in optional:
            value = getattr(self, name)
            if value is not None and value <= 0:
                wrong.append(f"{name} must be above zero or left out, not {value}")
        if self.adversarial < 0:
            wrong.append(f"adversarial must not be below zero, not {self.adversarial}")
        for name in ("warmup", "prompt_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                wrong.append(f"{name} is a share between 0 and 1, not {getattr(self, name)}")
        if self.micro_batch and self.batch % self.micro_batch:
            wrong.append(f"batch ({self.batch}) must be a multiple of micro_batch ({self.micro_batch})")
        if not self.targets:
            wrong.append("targets must name at least one layer, such as to_q")
        if wrong:
            raise ValueError("; ".join(wrong))

    def method(self) -> Method:
        """The objective, and how it reads ranked sets."""
        raise NotImplementedError(f"{type(self).__name__} belongs to no method; use one of palate.align.methods.config")

    def learning_rate(self) -> float:
        """The learning rate after the warm-up.

        For full training, what the paper's code does: 1e-8 an example of the batch, `--learning_rate 1e-8 --scale_lr`
        (github.com/SalesforceAIResearch/DiffusionDPO), so 2.048e-5 at its batch of 2048. The paper itself prints
        2.048e-8 (Wallace et al. 2023, arXiv:2311.12908, section 5.1). An adapter starts at zero and has few
        parameters, so it needs and stands far more; 1e-4 is our choice (diffusers' DPO script: 1e-5, 10,000 steps).
        """
        return self.lr or (1e-4 if self.train == "lora" else 1e-8 * self.batch)
