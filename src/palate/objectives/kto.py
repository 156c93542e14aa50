"""Diffusion-KTO: learns from thumbs up and thumbs down, without pairs."""

from __future__ import annotations

import torch
from torch import Tensor


def gain(error: Tensor, error_ref: Tensor) -> Tensor:
    """How much better than the reference the policy denoises each image [B]: `error_ref - error`."""
    return error_ref - error


def kto(error: Tensor, error_ref: Tensor, liked: Tensor, kl: Tensor, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of each image with a thumb.

    `1 - sigmoid(+-beta (g - kl))` with `g = error_ref - error`, plus for a thumb up and minus for a thumb down.

    The weights that balance unequal numbers of both kinds are the trainer's example weights.

    Args:
        error: the policy's error [B]; each image has its own timestep and noise.
        error_ref: the reference's error [B].
        liked: whether the thumb is up [B], bool.
        kl: the reference point, a scalar without gradient: the mean of g over the whole batch of all processes, and at
            least 0.
        beta: sharpness; 1000 in Diffusion-KTO's code. Unlike `log_ratio`, g has no factor 1/2.

    Returns:
        The loss [B] in (0, 1); and metrics [B], detached: `accuracy` (1 if g is on the thumb's side of the reference
        point, a half if it equals it).

    Reference: Li et al. 2024 (arXiv:2404.04465), Diffusion-KTO, and its code, with the sigmoid utility of Ethayarajh et
    al. 2024 (arXiv:2402.01306).
    """
    side = torch.where(liked, 1.0, -1.0).to(error.dtype)
    above = side * beta * (gain(error, error_ref) - kl)
    return 1 - above.sigmoid(), {"accuracy": (above.detach().sign() + 1) / 2}
