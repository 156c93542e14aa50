"""Diversity within a prompt: whether different seeds still give different images.

Preference tuning can raise scores by drawing almost the same image for all seeds; a win rate does not show that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image


def distance_between_seeds(images: Sequence[Image.Image]) -> float:
    """Mean over all pairs of the root-mean-square difference of RGB in [0, 1]: 0 for copies, 1 for black and white.

    Args:
        images: N images of one prompt, all of one size. The result is NaN for N = 1, which has no pairs.
    """
    from scipy.spatial.distance import pdist

    if len(images) < 2:
        return math.nan
    pixels = np.stack([np.asarray(image.convert("RGB"), np.float32).ravel() for image in images]) / 255  # [N, 3 H W]
    return float(pdist(pixels).mean() / math.sqrt(pixels.shape[1]))
