"""The common part of the model families' adapters; each family's file defines what is different."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from palate.models import autoencoder
from palate.models.conditioning import Conditioning
from palate.models.frames import Frames
from palate.models.negative import GuidancePasses
from palate.models.sizes import Sizes

Configs = Callable[[str], dict[str, Any]]
"""Gives the configuration of a part of a pipeline by the part's name."""

PIPELINE_MULTIPLE = 8
"""Diffusers' pipelines take only widths and heights that are multiples of this, whatever their autoencoder."""


class Adapter:
    """Implements `Denoiser` for a network with a diffusers `AutoencoderKL`; a subclass adds what its family needs.

    Args:
        pipeline: a diffusers pipeline; it may lack parts that are not used.
    """

    title: ClassVar[str]
    """The models of the family, in plain words."""
    part: ClassVar[str]
    native_sizes: ClassVar[tuple[int, ...]] = (1024,)
    """Widths and heights in pixels of the pictures for which the family's models were released."""
    guidance: ClassVar[str] = "classifier-free"
    """How the scale of guidance has its effect."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages that a model of the family needs and that Palate does not install by itself."""
    needed_by: ClassVar[str | None] = None
    """The class of the part that needs these packages, if a model may do without it."""
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    """Endings of the names of the layers that get a LoRA by default: the projections of every attention layer, as in
    diffusers' own training scripts."""
    guidance_name: ClassVar[str] = "guidance_scale"
    """The name of the guidance scale among the pipeline's arguments, if it is one of them."""
    guidance_passes: ClassVar[GuidancePasses] = "halves"
    """How the pipeline calls the network where it guides; see `models.negative`."""
    takes_timesteps: ClassVar[bool] = False
    """Whether training can be limited to some timesteps, by a method `train_only`; see `models.few_steps`."""
    draws_from_prompt: ClassVar[bool] = True
    """Whether the pipeline draws from a prompt alone."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.network = getattr(pipeline, self.part)

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """The image sizes that the model takes, from its configuration alone.

        A UNet of diffusers takes latents of any size; its pipelines take multiples of 8 pixels only.
        """
        factor = autoencoder.pixels_per_cell(configs("vae"))
        return Sizes(native=configs(cls.part)["sample_size"] * factor, multiple=math.lcm(factor, PIPELINE_MULTIPLE))

    @classmethod
    def refusal(cls, configs: Configs) -> str | None:
        """Why Palate does not train a model with this configuration; None if it does."""
        return None

    @classmethod
    def before_prompt(cls, tokenizer: Any) -> str:
        """The text that the pipeline puts before a prompt, and that counts towards its limit of tokens.

        Args:
            tokenizer: the pipeline's, which may have a template of conversations.
        """
        return ""

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """Empty: the network takes no input about the image itself."""
        return Conditioning()

    def default_guidance(self) -> float:
        """The pipeline's own scale of guidance."""
        return inspect.signature(self.pipeline.__call__).parameters[self.guidance_name].default

    def guide(self, scale: float) -> dict[str, Any]:
        """The pipeline's arguments with which it guides at a scale."""
        return {self.guidance_name: scale}

    def batch_group(self, conditioning: Conditioning) -> int:
        """A number of one encoded prompt: the pipeline draws only prompts with an equal number in one batch."""
        return 0

    def negates(self, scale: float) -> bool:
        """Whether the pipeline also computes a prediction for the negative prompt, at a given guidance scale."""
        return scale > 1

    def guided(self, positive: Tensor, negative: Tensor, scale: float) -> Tensor:
        """Classifier-free guidance of predictions [B, C, h, w] for a prompt and for none.

        Reference: Ho and Salimans 2022 (arXiv:2207.12598), in the form of Saharia et al. 2022 (arXiv:2205.11487),
        equation 2.
        """
        return negative + scale * (positive - negative)

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of images [B, 3, H, W] in [0, 1]."""
        return autoencoder.encode_images(self.pipeline.vae, images)

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents [B, C, h, w]."""
        return autoencoder.decode_latents(self.pipeline.vae, latents)

    def prompt_inputs(self, conditioning: Conditioning) -> dict[str, Any]:
        """The arguments with which the pipeline takes encoded prompts; `negative_` is added for negative ones."""
        return {"prompt_embeds": conditioning.dense("embeddings")}

    def pipeline_inputs(self, conditioning: Conditioning, negative: Conditioning | None) -> dict[str, Any]:
        """The arguments with which the pipeline takes encoded prompts and negative prompts; see `Denoiser`."""
        inputs = self.prompt_inputs(conditioning)
        if negative is not None:
            inputs |= {f"negative_{name}": value for name, value in self.prompt_inputs(negative).items()}
            if "negative_prompt" in inspect.signature(self.pipeline.__call__).parameters:
                inputs["negative_prompt"] = None  # its default may be a text, which is refused beside these
        return inputs
