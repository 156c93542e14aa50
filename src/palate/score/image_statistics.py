"""Statistics of an image, about thirty, which serve as a backbone for rewards that needs no download.

They are low-level features as in the classical work on aesthetics (Datta et al. 2006, "Studying aesthetics in
photographic images using a computational approach"): light, colour, sharpness, texture, composition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from palate.score.base import Images, to_tensor
from palate.score.image import colourfulness, jpeg_kilobytes, luma, sharpness, spectrum

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 160
"""Width and height to which every image is resized: statistics of detail are comparable only at one size."""
LEAST = 1e-5


def image_statistics(images: Images) -> Tensor:
    """Statistics [B, K] of images of any sizes, in the order of `NAMES`."""
    if isinstance(images, torch.Tensor):
        return torch.stack(list(_measure(_resized(images)).values()), 1)
    return torch.cat([image_statistics(to_tensor([image])) for image in images])


def _resized(images: Tensor) -> Tensor:
    return F.interpolate(images.float(), (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)


def _measure(images: Tensor) -> dict[str, Tensor]:
    return {**_light(images), **_colour(images), **_detail(images), **_texture(images), **_composition(images)}


def _light(images: Tensor) -> dict[str, Tensor]:
    """Brightness, contrast and the histogram of luma."""
    grey = luma(images).flatten(1)
    ends = grey.quantile(grey.new_tensor([0.02, 0.25, 0.75, 0.98]), dim=1)
    centred, spread = grey - grey.mean(1, keepdim=True), grey.std(1).clamp(min=LEAST)
    histogram = torch.stack([each.histc(32, 0, 1) for each in grey]) / grey.shape[1]
    return {
        "brightness": grey.mean(1),
        "contrast": spread,
        "shadows": ends[0],
        "highlights": ends[3],
        "midtones": ends[2] - ends[1],
        "skew": centred.pow(3).mean(1) / spread.pow(3),
        "entropy": _entropy(histogram),
        "black": (grey < 0.1).float().mean(1),
        "white": (grey > 0.95).float().mean(1),
    }


def _colour(images: Tensor) -> dict[str, Tensor]:
    """Saturation, chroma, and the variety of hues."""
    red, green, blue = images.unbind(1)
    chroma, saturation = _chroma(images)
    hue = torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue)  # [-pi, pi]
    sector = ((hue / torch.pi + 1) * 6).long().clamp(max=11)  # twelve hues
    weight = chroma.flatten(1) / chroma.flatten(1).sum(1, keepdim=True).clamp(min=LEAST)
    hues = weight.new_zeros(len(images), 12).scatter_add(1, sector.flatten(1), weight)
    return {
        "colourfulness": colourfulness(images),
        "saturation": saturation.mean((1, 2)),
        "saturation_spread": saturation.flatten(1).std(1),
        "chroma": chroma.mean((1, 2)),
        "hues": _entropy(hues),
        "warmth": (red - blue).mean((1, 2)),
        "greenness": (green - (red + blue) / 2).mean((1, 2)),
    }


def _detail(images: Tensor) -> dict[str, Tensor]:
    """Sharpness, edges, the spectrum and the size of the file."""
    across, down = _gradients(luma(images))
    edges = across[:, :-1] + down[:, :, :-1]
    return {
        "sharpness": _log(sharpness(images)),
        "edges": _log(across.mean((1, 2)) + down.mean((1, 2))),
        "edge_density": (edges > 0.1).float().mean((1, 2)),
        "spectrum": spectrum(images),
        "jpeg": _log(jpeg_kilobytes(images)).to(images.device),
    }


def _texture(images: Tensor) -> dict[str, Tensor]:
    """The strength of detail at four scales, and its distribution over 8 x 8 blocks."""
    grey = luma(images).unsqueeze(1)
    bands = {}
    for level in range(1, 5):
        coarse = F.interpolate(F.avg_pool2d(grey, 2**level), (SIDE, SIDE), mode="bilinear")
        bands[f"band_{2**level}"] = _log((grey - coarse).flatten(1).std(1))
    blocks = (F.avg_pool2d(grey.square(), 8) - F.avg_pool2d(grey, 8).square()).clamp(min=0).sqrt().flatten(1)
    return {
        **bands,
        "coarse": F.avg_pool2d(grey, 16).flatten(1).std(1),
        "flat": (blocks < 0.02).float().mean(1),
        "texture": blocks.mean(1),
        "texture_spread": blocks.std(1),
    }


def _composition(images: Tensor) -> dict[str, Tensor]:
    """The centre compared with the whole image (as with a low depth of field), symmetry, and direction."""
    grey, (_, saturation) = luma(images), _chroma(images)
    across, down = _gradients(grey)
    edges, inner = across[:, :-1] + down[:, :, :-1], slice(SIDE // 4, 3 * SIDE // 4)
    inside, everywhere = edges[:, inner, inner].mean((1, 2)), edges.mean((1, 2))
    return {
        "centre_sharpness": _log(inside) - _log(everywhere),
        "centre_brightness": grey[:, inner, inner].mean((1, 2)) - grey.mean((1, 2)),
        "centre_saturation": saturation[:, inner, inner].mean((1, 2)) - saturation.mean((1, 2)),
        "symmetry": -(grey - grey.flip(2)).abs().mean((1, 2)),
        "direction": _log(across.mean((1, 2))) - _log(down.mean((1, 2))),
    }


def _chroma(images: Tensor) -> tuple[Tensor, Tensor]:
    """Chroma and saturation [B, H, W] each, as in HSV."""
    most = images.amax(1)
    chroma = most - images.amin(1)
    return chroma, chroma / most.clamp(min=LEAST)


def _gradients(grey: Tensor) -> tuple[Tensor, Tensor]:
    return grey.diff(dim=2).abs(), grey.diff(dim=1).abs()


def _entropy(shares: Tensor) -> Tensor:
    return -torch.special.xlogy(shares, shares).sum(1)


def _log(values: Tensor) -> Tensor:
    return values.clamp(min=LEAST).log()


NAMES = tuple(_measure(torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))))
