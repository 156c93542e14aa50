"""Images to latents and back, through a diffusers AutoencoderKL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def encode_images(vae: Any, images: Tensor) -> Tensor:
    """Latents [B, C, h, w] in float32 of images [B, 3, H, W] in [0, 1], at the scale that the network works on.

    The posterior's mode, not a sample: a latent is then a function of its image alone and can be cached once for all
    runs and seeds. Little is lost, since latent diffusion's autoencoders are trained with a KL weight of only 1e-6
    (Rombach et al. 2022, arXiv:2112.10752, appendix G), so their posteriors have almost no spread.
    """
    latents = encode_mode(vae, images)
    shift, scale = _shift_and_scale(vae, latents)
    return (latents - shift) * scale


@torch.no_grad()
def decode_latents(vae: Any, latents: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [0, 1], float32, of latents in the scale of `encode_images`."""
    shift, scale = _shift_and_scale(vae, latents)
    return decode_raw(vae, latents / scale + shift)


@torch.no_grad()
def encode_mode(vae: Any, images: Tensor) -> Tensor:
    """The mode of the autoencoder's posterior in float32, in the autoencoder's own scale, of images in [0, 1]."""
    return vae.encode((images * 2 - 1).to(vae.device, vae.dtype)).latent_dist.mode().float()


@torch.no_grad()
def decode_raw(vae: Any, latents: Tensor) -> Tensor:
    """Images in [0, 1], float32, of latents in the autoencoder's own scale."""
    return (vae.decode(latents.to(vae.device, vae.dtype)).sample.float() / 2 + 0.5).clamp(0, 1)


def pixels_per_cell(config: Mapping[str, Any]) -> int:
    """The width and height in pixels that one latent cell covers, from the autoencoder's configuration."""
    if "temperal_downsample" in config:  # of a video autoencoder, as diffusers spells it
        return 2 ** len(config["temperal_downsample"])
    if "spatial_compression_ratio" in config:
        return config["spatial_compression_ratio"]
    return 2 ** (len(config["block_out_channels"]) - 1)


def _shift_and_scale(vae: Any, latents: Tensor) -> tuple[Any, Any]:
    """The shift that is subtracted from raw latents, and the factor by which they are then multiplied.

    Some of SDXL's autoencoders (Playground 2.5) have one for each channel.
    """
    mean, std = vae.config.get("latents_mean"), vae.config.get("latents_std")
    if mean is None or std is None:
        return vae.config.get("shift_factor") or 0.0, vae.config.scaling_factor
    shift, spread = (torch.tensor(each, device=latents.device).view(1, -1, 1, 1) for each in (mean, std))
    return shift, vae.config.scaling_factor / spread
