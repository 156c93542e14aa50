"""Reward-weighted likelihood: denoise generated images as far as they are good, and keep to real ones."""

from __future__ import annotations

import torch
from torch import Tensor


def reward_weighted(error: Tensor, reward: Tensor, real: Tensor, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each image.

    `reward * error` on a generated image, `beta * error` on a real one.

    Args:
        error: the policy's error [B].
        reward: of the generated images, in [0, 1] [B]; that of a real image is not read.
        real: whether an image comes from the pretraining distribution [B], bool.
        beta: weight of the pretraining loss.

    Returns:
        The loss [B]; no metrics of its own.

    Reference: Lee et al. 2023 (arXiv:2302.12192), equation 3.
    """
    return torch.where(real, beta, reward) * error, {}
