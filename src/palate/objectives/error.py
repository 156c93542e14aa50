"""The denoising error, from which every offline objective is computed."""

from __future__ import annotations

from torch import Tensor


def mean_error(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """The squared error of each image, averaged over its elements, in float32.

    `error[b] = mean over C,H,W of (prediction - target)^2`

    The mean, not the sum: under this convention Diffusion-DPO's published beta (2000 for SD1.5, 5000 for SDXL) works.

    Args:
        prediction: the network's raw output [B, C, H, W].
        target: the correct output, in the same parametrization [B, C, H, W].
        mask: weights of the places of each image [B, H, W], with a mean of 1; all the same when left out.

    Returns:
        Errors [B], in float32 (float64 stays float64).
    """
    squared = _residual(prediction, target).square()
    return (squared if mask is None else squared * mask.unsqueeze(1)).flatten(1).mean(1)


def mean_products(prediction: Tensor, target: Tensor, n: int, mask: Tensor | None = None) -> Tensor:
    """The mean products of the residuals of each two of n images, `mean over C,H,W of r_i r_j`, detached.

    Args:
        prediction, target, mask: see `mean_error`, for B times n images; those of one set are adjacent.
        n: images in a set.

    Returns:
        Products [B, n, n], in float32 (float64 stays float64); the errors are on the diagonal.
    """
    residual = _residual(prediction.detach(), target)
    if mask is not None:
        residual = residual * mask.sqrt().unsqueeze(1)
    rows = residual.flatten(1).unflatten(0, (-1, n))  # [B, n, C H W]
    return rows @ rows.transpose(1, 2) / rows.shape[-1]


def _residual(prediction: Tensor, target: Tensor) -> Tensor:
    precise = target.float() if target.element_size() < 4 else target
    return prediction.to(precise.dtype) - precise


def log_ratio(error: Tensor, error_ref: Tensor) -> Tensor:
    """The implicit log-ratio `log p(x_0 | c) / p_ref(x_0 | c)` of each image, per unit of the published beta.

    `-(error - error_ref) / 2`

    The half comes from the Gaussian log-density and is part of the published recipe: dropping it, as some public
    scripts do, doubles the effect of beta.

    Reference: Wallace et al. 2023 (arXiv:2311.12908), equation 14 and its released code.
    """
    return -(error - error_ref) / 2


def pair_margin(
    error_w: Tensor, error_l: Tensor, error_w_ref: Tensor, error_l_ref: Tensor, beta: float | Tensor
) -> Tensor:
    """Beta times the difference of the log-ratios of winner and loser [B]: the margin of every DPO-like loss.

    Args:
        error_w, error_l, error_w_ref, error_l_ref, beta: see `dpo.dpo`.
    """
    return beta * (log_ratio(error_w, error_w_ref) - log_ratio(error_l, error_l_ref))
