"""Images as the inputs of published scorers: PIL's own bicubic resize, and a differentiable twin for tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from palate.records.decode import rgb
from palate.score.base import Images, to_tensor

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
"""Height and width in pixels."""
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of each channel, as OpenAI's CLIP and its kin normalise them."""


def normalized(images: Tensor, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD) -> Tensor:
    """Images [B, 3, H, W] minus a mean and divided by a standard deviation of each channel."""
    middle, spread = (images.new_tensor(each).view(3, 1, 1) for each in (mean, std))
    return (images - middle) / spread


def cropped(images: Images, side: int) -> Tensor:
    """The shortest side resized to `side`, and the centre cut out: [B, 3, S, S] in [0, 1].

    The sizes and the place of the crop are those of torchvision's `Resize` and `CenterCrop`.
    """

    def fit(size: Size) -> Size:
        height, width = size
        return (side, side * width // height) if height <= width else (side * height // width, side)

    def cut(image: Tensor) -> Tensor:
        top, left = (round((length - side) / 2) for length in image.shape[-2:])
        return image[..., top : top + side, left : left + side]

    return _each(images, lambda image: cut(_resize(image, fit)))


def padded(images: Images, side: int, antialias: bool = True) -> Tensor:
    """The longest side resized to `side`, and black around the shorter ones: [B, 3, S, S] in [0, 1].

    Args:
        images: B images.
        side: S.
        antialias: whether an image that becomes smaller is smoothed first, as PIL does.
    """

    def fit(size: Size) -> Size:
        scale = side / max(size)
        return round(size[0] * scale), round(size[1] * scale)

    def surround(image: Tensor) -> Tensor:
        high, wide = (side - length for length in image.shape[-2:])
        return F.pad(image, (wide // 2, wide - wide // 2, high // 2, high - high // 2))

    if not antialias and not isinstance(images, torch.Tensor):
        return torch.cat([surround(_resize(to_tensor([image]), fit, False)) for image in images])
    return _each(images, lambda image: surround(_resize(image, fit, antialias)))


def _each(images: Images, change: Callable[[Images], Tensor]) -> Tensor:
    """One batch of the changed images; PIL images may differ in size and are changed one by one."""
    if isinstance(images, torch.Tensor):
        return change(images.float())
    return torch.cat([change([image]) for image in images])


def _resize(images: Images, fit: Callable[[Size], Size], antialias: bool = True) -> Tensor:
    """A tensor, or one PIL image, with bicubic interpolation; an image that has its size already is not changed."""
    if isinstance(images, torch.Tensor):
        size = fit((images.shape[-2], images.shape[-1]))
        if size == tuple(images.shape[-2:]):
            return images
        resized = F.interpolate(images, size, mode="bicubic", antialias=antialias, align_corners=False)
        return resized.clamp(0, 1) if antialias else resized
    image: Image.Image = rgb(images[0])
    height, width = fit((image.height, image.width))
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
