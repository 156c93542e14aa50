"""Diffusion-SDPO's safeguard: the loser's gradient is made so small that the winner's error does not rise."""

from __future__ import annotations

from torch import Tensor


def loser_share(error_w: Tensor, product: Tensor, mu: float) -> Tensor:
    """The share of the loser's gradient that is kept, elementwise, detached.

    `clip((1 - mu) error_w / product, 0, 1)` where the product is above zero, else 1

    A step against the gradients of `error_w - share error_l` changes the winner's output by its own residual `r_w` and
    by the loser's `r_l`, so the winner's error changes in proportion to `-(error_w - share mean(r_w r_l))`. With this
    share it falls by at least `mu` of what the winner's gradient alone gives, to first order and as far as both outputs
    answer to the weights in the same way.

    One share for each pair; the authors' code has one for a micro-batch, so that it depends on how a batch is split.

    Args:
        error_w: the policy's error on the winners, `mean r_w^2`.
        product: the mean product of both residuals, `mean(r_w r_l)`, in the shape of `error_w`.
        mu: in [0, 1); 0 keeps all that does not make the winner's error rise. The paper's: 0.9 for SD1.5, 0.6 for SDXL.

    Reference: Fu et al. 2025, "Diffusion-SDPO: Safeguarded Direct Preference Optimization for Diffusion Models"
    (arXiv:2511.03317).
    """
    error_w, product = error_w.detach(), product.detach()
    harmful = product > 0
    share = (1 - mu) * error_w / product.where(harmful, error_w.new_ones(()))
    return share.clamp(0, 1).where(harmful, error_w.new_ones(()))


def with_gradient_share(value: Tensor, share: Tensor) -> Tensor:
    """The same values, bit for bit, whose gradients are multiplied by `share` (without a gradient itself)."""
    fixed = value.detach()
    return fixed + share * (value - fixed)
