"""The configuration of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Two models, the prompts for both, and the judges."""

    base: str
    """Model to compare with: a built-in name, a folder, a single .safetensors file or a hub id; with LoRAs,
    BASE+LORA.safetensors:0.8."""
    aligned: str
    """Model to judge: as for base, or a run of `palate align`, whose training curves the report then shows."""
    prompts: str
    """Prompt set: a file (txt, jsonl, json, csv or tsv with a prompt column, or .gz of these), or a
    folder of images (its prompts, each once)."""
    out: Path
    """Run folder; one that was interrupted goes on where it stopped."""
    judge: str
    """Judge whose results are reported: any scorer that gave no training signal, such as clip:<model>, or auditor,
    which reads the tiny world."""
    also: tuple[str, ...] = ()
    """Other judges to show; the judge that gave the training signal reveals over-optimisation."""
    images: int = 4
    """Images of each prompt by each model; the k-th has the same seed for both."""
    limit: int | None = None
    """Take only the first so many prompts."""
    seed: int = 0
    """Seed of the images and of the bootstrap."""
    steps: int | None = None
    """Denoising steps; each model's own default when left out."""
    guidance: float | None = None
    """Classifier-free guidance scale; each model's own default when left out."""
    batch: int = 16
    """Images sampled or scored at once; changes memory and speed, not results."""
    device: str | None = None
    """Such as cpu or cuda; the best one there is when left out."""
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    """Type of the models' weights; bfloat16 on a GPU and float32 on a CPU when left out."""

    def __post_init__(self) -> None:
        positive = {"images": self.images, "batch": self.batch, "limit": self.limit, "steps": self.steps}
        if wrong := [f"{name} must be above zero, not {n}" for name, n in positive.items() if n is not None and n <= 0]:
            raise ValueError("; ".join(wrong))
        if self.judge in self.also:
            raise ValueError(f"the judge {self.judge!r} is also in `also`; name other judges there, or none")
