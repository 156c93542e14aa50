"""Reward-weighted likelihood: generated images are weighted by their reward, real images by a constant."""

from __future__ import annotations

import torch
from torch import Tensor


def reward_weighted(error: Tensor, reward: Tensor, real: Tensor, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each image.

    `reward * error` for a generated image, `beta * error` for a real one.

    Args:
        error: the policy's error [B].
        reward: the rewards of the generated images [B], in [0, 1]; that of a real image is ignored.
        real: whether an image comes from the pretraining distribution [B], bool.
        beta: weight of the pretraining loss.

    Returns:
        The loss [B], and no metrics.

    Reference: Lee et al. 2023 (arXiv:2302.12192), equation 3.
    """
    return torch.where(real, beta, reward) * error, {}
