"""The common part of transformers that predict the velocity of a rectified flow."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import FlowSchedule
from palate.models import autoencoder
from palate.models.adapter import PIPELINE_MULTIPLE, Adapter, Configs
from palate.models.conditioning import Conditioning
from palate.models.sizes import Sizes

PATCH = 2
"""The width and height in latent cells of one token in most families."""

GUIDANCE = 3.5
"""The guidance scale in the training of a guidance-distilled network, as in diffusers' training scripts of FLUX.1 and
FLUX.2."""


class FlowTransformer(Adapter):
    """An adapter of a family whose public training scripts draw sigma uniformly and leave it unshifted."""

    part = "transformer"
    parametrization = Parametrization.VELOCITY
    density: ClassVar[Literal["logit-normal", "uniform"]] = "uniform"
    native_cells: ClassVar[int] = 128
    """Width and height in latent cells of the family's released images, if its configuration does not say it."""

    @classmethod
    def sizes(cls, configs: Configs) -> Sizes:
        """Whole tokens, of any number."""
        factor = autoencoder.pixels_per_cell(configs("vae"))
        multiple = math.lcm(PATCH * factor, PIPELINE_MULTIPLE)
        return Sizes(cls.native_cells * factor, multiple)

    def schedule(self, cells: tuple[int, int]) -> FlowSchedule:
        """The same for every size: the shift of the scheduler is for sampling, not for training."""
        return FlowSchedule(1.0, self.density)


def pack(latents: Tensor) -> Tensor:
    """Latents [B, C, h, w] as tokens [B, h/2 w/2, 4 C]: each has 2 x 2 cells, channel by channel."""
    tokens = torch.nn.functional.pixel_unshuffle(latents, PATCH)  # [B, 4 C, h/2, w/2]
    return tokens.flatten(2).transpose(1, 2)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack`: latents [B, C, h, w] with a given height and width in cells."""
    grid = tokens.transpose(1, 2).unflatten(2, (height // PATCH, width // PATCH))
    return torch.nn.functional.pixel_shuffle(grid, PATCH)


def positions(rows: int, columns: int) -> Tensor:
    """The ids of an image's tokens [rows columns, 3]: 0, row, column."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, column], -1).flatten(0, 1)


def embedded_guidance(config: Any, x_t: Tensor, conditioning: Conditioning) -> Tensor | None:
    """The guidance scale as an input of a network [B]: `guidance` of the conditioning, or `GUIDANCE`.

    None if the network takes no such input.

    Args:
        config: configuration of the network.
        x_t: noisy latents [B, C, h, w].
        conditioning: of B images.
    """
    if not config.guidance_embeds:
        return None
    given = conditioning.tensors.get("guidance")
    return given if isinstance(given, Tensor) else torch.full((len(x_t),), GUIDANCE, device=x_t.device)


def time_of(t: Tensor, scheduler: Any) -> Tensor:
    """The times of sigmas t [B] on the scale of a scheduler, from 0 to (usually) 1000.

    A multistep solver (DPM, UniPC) truncates them to whole numbers.

    Args:
        t: sigmas.
        scheduler: its configuration.
    """
    time = t * scheduler.num_train_timesteps
    # A sigma of 0.9 is slightly less in float32, which must not become 899.
    return (time + 1e-3).floor() if "flow_shift" in scheduler else time
