"""What the tests of every family ask of a twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from tiny_pipelines import tiny_text_config, tiny_tokenizer
from torch import Tensor
from transformers import CLIPTextModel, Gemma2Config, Gemma2Model


@dataclass(frozen=True)
class Twin:
    """A family's pipeline, small.

    Attributes:
        build: saves a random one in a folder.
        latents: of what the pipeline's scheduler steps on, those of the adapter [B, C, h, w], for a picture of a height
            and width in pixels.
        guidance: the call's arguments of each way to guide, with the scale by which the adapter is to guide.
        size: (height, width) in pixels of a picture that is not square.
        square: pixels a side of the smallest picture that is.
        options: more arguments of the call.
        prompts: two prompts of unequal length.
        frame: the call's arguments that give the height and width of the picture.
        draws: whether the pipeline draws from a prompt alone.
        needs: packages without which it is not tested.
    """

    build: Callable[[Path], Path]
    latents: Callable[[Any, Tensor, int, int], Tensor] = lambda pipeline, latents, height, width: latents
    guidance: tuple[tuple[Mapping[str, Any], float], ...] = (
        ({"guidance_scale": 1.0}, 1.0),
        ({"guidance_scale": 4.0}, 4.0),
    )
    size: tuple[int, int] = (16, 24)
    square: int = 16
    options: Mapping[str, Any] = field(default_factory=dict)
    prompts: tuple[str, str] = ("two red circles", "a blue star on a green background")
    frame: Callable[[int, int], Mapping[str, Any]] = lambda height, width: {"height": height, "width": width}
    draws: bool = True
    needs: tuple[str, ...] = ()


def flow_vae(**options: Any) -> AutoencoderKL:
    """An autoencoder without quantising convolutions, of factor 2."""
    settings: dict[str, Any] = dict(  # diffusers declares every tuple as one of a single element
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D", "DownEncoderBlock2D"),
        up_block_types=("UpDecoderBlock2D", "UpDecoderBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.3611,
        shift_factor=0.1159,
    )
    return AutoencoderKL(**{**settings, **options})


def eight_fold_vae(**options: Any) -> AutoencoderKL:
    """As `flow_vae`, of factor 8."""
    levels = 4
    return flow_vae(
        block_out_channels=(4,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        **options,
    )


def tiny_gemma_2(vocabulary: int) -> Gemma2Model:
    """A text encoder of Gemma 2's class, 32 wide."""
    return Gemma2Model(
        Gemma2Config(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=16,
        )
    )


def tiny_clip_text(tokenizer: Any) -> CLIPTextModel:
    """A text encoder of CLIP's class."""
    return CLIPTextModel(tiny_text_config(tokenizer))


def seeded(**options: Any) -> Any:
    """The tokenizer of all twins, after torch's generator was seeded for their weights."""
    torch.manual_seed(0)
    return tiny_tokenizer(**options)
