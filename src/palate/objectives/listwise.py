"""Listwise preference over n ranked images: Plackett-Luce on the implicit rewards, ties allowed."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.objectives.error import log_ratio
from palate.objectives.metrics import Metrics
from palate.objectives.plackett_luce import plackett_luce


def listwise(
    error: Tensor, error_ref: Tensor | None, ranks: Tensor, beta: float, anchor: float = 0.0
) -> tuple[Tensor, Metrics]:
    """The negative log-likelihood of each ranking under the policy's implicit rewards.

    `plackett_luce` of the scores `-(beta / 2) (error - error_ref)`; with n = 2 it is `dpo`, or without a reference and
    with an anchor `cpo`.

    Args:
        error: the policy's errors [B, n], all at the same timestep and noise.
        error_ref: the reference's [B, n]; None leaves it out, as in CPO.
        ranks: [B, n], 1 is best, ties share; 0 marks a place that no image fills.
        beta: as of `dpo`.
        anchor: weight of the mean error of the images of rank 1.

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` (share of the ordered pairs that the rewards order alike, a
        tie of rewards a half, where images do not all tie) and `margin` (mean reward of rank 1 above the rest).

    Reference: Rafailov et al. 2023 (arXiv:2305.18290), appendix A.3, equation 20.
    """
    score = beta * log_ratio(error, torch.zeros_like(error) if error_ref is None else error_ref)
    loss, metrics = plackett_luce(score, ranks)
    best, present = (ranks == 1).to(error.dtype), (ranks > 0).to(error.dtype)
    first, rest = _shares(best), _shares(present - best)
    margin = ((first - rest) * score).sum(1).detach()
    return loss + anchor * (first * error).sum(1), {**metrics, "margin": margin}


def _shares(chosen: Tensor) -> Tensor:
    """Of zeros and ones [B, n], weights that give each row's mean over its ones."""
    return chosen / chosen.sum(1, keepdim=True).clamp(min=1)
