"""Diffusion-CPO: a preference loss without a reference, stabilised by the winner's own likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.objectives.error import log_ratio
from palate.objectives.link import Link, link_loss, ranked_correctly

PAPER_BETA = 0.1
"""Beta in the experiments of Xu et al. 2024, where it multiplies log-likelihoods; the likelihood term has weight 1."""


def likelihood_anchor(beta: float | Tensor, weight: float = 1.0) -> float | Tensor:
    """The anchor that is as strong as the paper's negative log-likelihood with the given weight (lambda).

    There the margin is `PAPER_BETA (log p_w - log p_l)`, and here it is `-(beta / 2) (error_w - error_l)`. So
    `log p = -(beta / 2) error / PAPER_BETA`, and the negative log-likelihood of the winner is `error_w` times
    `beta / (2 PAPER_BETA)`: 5 beta, 10,000 for a beta of 2000.

    Reference: Xu et al. 2024 (arXiv:2401.08417), section 3.
    """
    return weight * beta / (2 * PAPER_BETA)


def cpo(
    error_w: Tensor,
    error_l: Tensor,
    beta: float | Tensor,
    anchor: float | Tensor,
    link: Link = "sigmoid",
    smoothing: float | Tensor = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The contrastive preference loss of each pair, applied to diffusion.

    `-log sigmoid(-(beta / 2) (error_w - error_l)) + anchor * error_w`

    This is DPO with a uniform reference: it needs no base model, but only the second term keeps the policy close to the
    data.

    Args:
        error_w: the policy's error on the winner [B].
        error_l: its error on the loser, at the same timestep and noise [B].
        beta: factor of the difference of errors, in the convention of `dpo`; one, or one for each pair [B].
        anchor: weight of the winner's error; `likelihood_anchor` gives one that is as strong as the paper's.
        link: `sigmoid` as published, or another of `link.link_loss`.
        smoothing: share of pairs that are assumed to be ranked wrongly, or of each pair's raters [B].

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` and `margin`, see `dpo`.

    Reference: Xu et al. 2024 (arXiv:2401.08417), section 3: `L_prefer + L_NLL`.
    """
    zero = torch.zeros_like(error_w)
    margin = beta * (log_ratio(error_w, zero) - log_ratio(error_l, zero))
    loss = link_loss(margin, link, smoothing) + anchor * error_w
    return loss, {"accuracy": ranked_correctly(margin), "margin": margin.detach()}
