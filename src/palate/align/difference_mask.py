"""Masked pairs: of two images that differ on purpose in one place, only that place counts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d


def difference_mask(latents: Tensor, threshold: float) -> Tensor:
    """The weights of the places of n images, with a mean of 1.

    A place counts if the images' latents differ there by more than the threshold in some channel, or beside it: an
    autoencoder's decoder mixes neighbours. Where nothing differs by that much, all places count.

    Args:
        latents: those of the n images of a ranked set [n, C, h, w].
        threshold: in units of the latents, whose standard deviation is about 1.

    Returns:
        Weights [h, w] in float32: zero, or one number.
    """
    spread = (latents.amax(0) - latents.amin(0)).amax(0)
    counts = max_pool2d((spread > threshold).float()[None, None], 3, stride=1, padding=1)[0, 0]
    share = counts.mean()
    return counts / share if share > 0 else torch.ones_like(counts)
