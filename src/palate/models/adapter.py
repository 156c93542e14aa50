"""What most families share; the file of a family says what is different about it."""

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
"""The configuration of a part of a pipeline by its name."""

PIPELINE_MULTIPLE = 8
"""Pixels a side of which diffusers' pipelines take multiples, whatever their autoencoder."""


class Adapter:
    """A network and a diffusers `AutoencoderKL` behind the `Denoiser` protocol; the rest is the family's.

    Args:
        pipeline: of diffusers; it may lack parts that are not asked for.
    """

    part: ClassVar[str]

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline
        self.network = getattr(pipeline, self.part)

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Which pictures the model takes, from its configuration alone.

        A UNet of diffusers takes any number of cells; its pipelines take multiples of 8 pixels only.
        """
        factor = autoencoder.pixels_per_cell(configs("vae"))
        return Sizes(native=configs(cls.part)["sample_size"] * factor, multiple=math.lcm(factor, PIPELINE_MULTIPLE))

    def image_conditioning(self, frames: Frames) -> Conditioning:
        """Nothing: the network is given nothing about the image itself."""
        return Conditioning()

    def encode(self, images: Tensor) -> Tensor:
        """Latents [B, C, h, w] of images [B, 3, H, W] in [0, 1]."""
        return autoencoder.encode_images(self.pipeline.vae, images)

    def decode(self, latents: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [0, 1] of latents [B, C, h, w]."""
        return autoencoder.decode_latents(self.pipeline.vae, latents)
