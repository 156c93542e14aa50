"""The configuration of a training run. Imports nothing heavy, so that `palate align dpo --help` answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from palate.align.validation.config import ValidatedConfig
from palate.training.config import FREE as SHARED_FREE
from palate.training.config import below_zero, not_a_share, not_above_zero

if TYPE_CHECKING:
    from palate.align.methods.method import Method

FREE = SHARED_FREE | {"gradient_checkpointing", "latents", "validation_batch", "encode_on", "preset"}
FREE |= {"check_memory", "estimate", "estimate_json"}
"""Fields that may change between the parts of one run: the weights do not depend on them, up to float rounding."""


@dataclass(frozen=True, kw_only=True)
class AlignConfig(ValidatedConfig):
    """The settings that every offline method has."""

    about: ClassVar[str] = ""  # what the method does, in a few words, for the list of commands

    model: str
    """Model to train: a built-in name, a folder, a single .safetensors file, a run of `palate align` or a hub id; with
    LoRAs beneath, BASE+LORA.safetensors:0.8."""
    preferences: str
    """Preferences: a built-in name, a run of `palate prefer`, or a file or folder in a format that `palate prefer
    import` reads (docs/data.md)."""
    train: Literal["lora", "full"] = "lora"
    """Train a low-rank adapter, or all weights of the network."""
    rank: int = 16
    """Rank of the adapter."""
    alpha: float | None = None
    """The adapter's output is multiplied by alpha / rank; alpha is the rank when left out."""
    targets: tuple[str, ...] | None = None
    """Endings of the names of the layers that get an adapter; when left out, those of the training scripts of the
    model's family (`palate models` lists them)."""
    dora: bool = False
    """Also learn the length of each adapted weight's rows, apart from their direction (DoRA, Liu et al. 2024)."""
    rank_stabilized: bool = False
    """Multiply the adapter's output by alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski 2023), so that a high
    rank learns as fast as a low one."""
    ema: float = 0.0
    """Decay of a moving average of the trained weights, such as 0.999; the average is saved as the model. 0 saves the
    weights of the last step."""
    resolution: int | tuple[int, ...] | None = None
    """Width and height in pixels of the square that images are resized to; images of other shapes get about as many
    pixels. The model's own when left out. Of several, a ranked set is trained at the largest one for which none of its
    images is enlarged, else at the smallest."""
    buckets: bool = True
    """Images keep about their shape: they are cropped and resized to the nearest of some sizes with as many pixels as
    the square (aspect-ratio buckets), all images of a ranked set to the same one. Without it they are cropped to
    squares."""
    timesteps: tuple[int, ...] = ()
    """The only timesteps that are trained, for a model that draws in a few steps: 249 499 749 999 for SDXL-Turbo and
    others of four steps. When left out, those in the model's `palate.json`, or else all."""
    steps: int = 2000
    """Optimiser steps; 2000 in Wallace et al. 2023 (Diffusion-DPO), section 5.1."""
    batch: int = 64
    """Examples per step over all processes; 2048 pairs in the paper. Our default suits data sets of thousands."""
    lr: float | None = None
    """Learning rate. When left out, 1e-4 for an adapter (ours), and for full training the rule of the paper's code."""
    warmup: float = 0.25
    """Share of the steps over which the learning rate rises linearly; 500 of 2000 in the paper, then constant."""
    optimizer: Literal["adamw", "adamw8bit", "adafactor"] = "adamw"
    """AdamW (the paper's for SD1.5), AdamW with its state in 8 bits (Dettmers et al. 2022; a quarter of the memory), or
    Adafactor (the paper's choice for SDXL; less memory)."""
    quantize: Literal["8bit", "4bit"] | None = None
    """Keep the frozen weights of the network's linear layers in 8 or 4 bits and train an adapter on them (QLoRA,
    Dettmers et al. 2023): less memory for a slightly different base."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay; 0.01 in the paper's code. Adafactor uses none there."""
    clip: float = 1.0
    """Largest norm of the gradient; 1.0 in the paper's code."""
    prompt_dropout: float = 0.2
    """Share of draws trained on the empty prompt, so that classifier-free guidance keeps working; 0.2 in the paper's
    code."""
    draws: int | None = None
    """Number of draws (a noise and a time) of a ranked set, after which visits to it repeat them; none for a new draw
    at every visit, as published. The reference's error is computed once per image and draw, so few draws are cheap,
    but the model soon memorises them."""
    weighting: Literal["constant", "min_snr", "debiased", "cosmap"] = "constant"
    """How errors count by their time: constant as in Diffusion-DPO, min_snr (Hang et al. 2023), debiased
    (1 / sqrt(SNR), Yu et al. 2023), or cosmap for flow models (Esser et al. 2024); docs/objectives.md."""
    snr_gamma: float = 5.0
    """Largest signal-to-noise ratio that counts with min_snr; 5 in the paper."""
    adversarial: float = 0.0
    """Weight of an adversarial term that is added to the method's loss: a discriminator judges the one-step clean
    estimates of preferred images and is trained alternately with the model (ours; see docs/objectives.md). 0 turns it
    off."""
    discriminator_lr: float = 2e-4
    """Learning rate of that discriminator."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compile the network with torch.compile; pays off in long runs."""
    latents: Literal["cached", "streamed"] = "cached"
    """cached computes the latents and embeddings that the run needs once and keeps them on disk; streamed computes
    them at every step, and the encoders stay in memory."""
    encode_on: Literal["device", "cpu"] = "device"
    """Where images and prompts are encoded: on the device of the training, or on the CPU, if the encoders do not fit
    into the device's memory; slower, and their numbers may differ in rounding."""
    latents_dtype: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Precision in which latents are kept; fp16 and bf16 take half the disk space."""
    cache: Path | None = None
    """Where latents, embeddings and reference errors are kept for later runs; $PALATE_CACHE or ~/.cache/palate."""
    preset: Literal["8gb", "12gb", "24gb", "80gb"] | None = None
    """Choose micro_batch, gradient_checkpointing, quantize, optimizer and encode_on so that the estimated memory fits
    a card of this size; a value that is given wins over the preset's (docs/align.md)."""
    check_memory: bool = True
    """Refuse a run whose estimated memory is clearly more than what is free."""
    estimate: bool = False
    """Print the memory and time that the run needs, and do not run it."""
    estimate_json: bool = False
    """As estimate, but as one JSON object."""

    def __post_init__(self) -> None:
        if isinstance(self.resolution, tuple) and len(self.resolution) == 1:  # a flag and a file's number are the same
            object.__setattr__(self, "resolution", self.resolution[0])
        super().__post_init__()

    def problems(self) -> Iterator[str]:
        """See `TrainingConfig.problems`."""
        yield from super().problems()
        yield from not_above_zero(self, "rank", "discriminator_lr", "snr_gamma")
        yield from not_above_zero(self, "alpha", "draws", optional=True)
        if self.resolution is not None and not all(each > 0 for each in self.resolutions(0) or (0,)):
            yield f"resolution must be one size or several above zero, not {self.resolution}"
        yield from below_zero(self, "adversarial")
        yield from not_a_share(self, "prompt_dropout")
        if not 0 <= self.ema < 1:
            yield f"ema must be at least 0 and below 1, not {self.ema}"
        if self.train == "full" and (self.dora or self.rank_stabilized):
            yield "dora and rank_stabilized are forms of a low-rank adapter; give --train lora, or leave them out"
        if self.train == "full" and self.quantize:
            yield f"quantize ({self.quantize}) keeps frozen weights in few bits; give --train lora, or leave it out"
        if self.adversarial and self.timesteps:
            yield "adversarial estimates clean images at every timestep; leave it out, or timesteps"
        if self.targets == ():
            yield "targets must name at least one layer, such as to_q"

    def resolutions(self, native: int) -> tuple[int, ...]:
        """The resolutions of the run, of a model whose own one is `native`."""
        given = native if self.resolution is None else self.resolution
        return (given,) if isinstance(given, int) else given

    def method(self) -> Method[Any]:
        """The method that this configures."""
        raise NotImplementedError(f"{type(self).__name__} belongs to no method; use one of palate.align.methods")

    def learning_rate(self) -> float:
        """The learning rate after the warm-up.

        For full training it is what the paper's code does: 1e-8 times the batch size, `--learning_rate 1e-8 --scale_lr`
        (github.com/SalesforceAIResearch/DiffusionDPO), so 2.048e-5 at its batch of 2048. The paper itself prints
        2.048e-8 (Wallace et al. 2023, arXiv:2311.12908, section 5.1). An adapter starts at zero and has few
        parameters, so it needs a far higher rate and remains stable with it; 1e-4 is our choice (diffusers' DPO script:
        1e-5, 10,000 steps).
        """
        return self.lr or (1e-4 if self.train == "lora" else 1e-8 * self.batch)
