"""The common part of the model families' adapters; each family's file defines what is different."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from palate.models import autoencoder
from palate.models.conditioning import Conditioning
from palate.models.frames import Frames
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

    part: ClassVar[str]

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

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """Empty: the network takes no input about the image itself."""
        return Conditioning()

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of images [B, 3, H, W] in [0, 1]."""
        return autoencoder.encode_images(self.pipeline.vae, images)

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents [B, C, h, w]."""
        return autoencoder.decode_latents(self.pipeline.vae, latents)
