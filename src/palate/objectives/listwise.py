"""Listwise preference over n ranked images: Plackett-Luce on the implicit rewards, ties allowed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from palate.objectives.error import log_ratio
from palate.objectives.metrics import Metrics
from palate.objectives.plackett_luce import plackett_luce


class Rankers(NamedTuple):
    """What the raters of each set said.

    Attributes:
        ranks: K rankings of each set [B, K, n]; see `plackett_luce`.
        weight: the share of the raters who gave each of them [B, K]; adds up to 1, and 0 marks an unused place.
    """

    ranks: Tensor
    weight: Tensor


def listwise(
    error: Tensor,
    error_ref: Tensor | None,
    ranks: Tensor,
    beta: float | Tensor,
    anchor: float = 0.0,
    rankers: Rankers | None = None,
    share: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """The negative log-likelihood of each ranking under the policy's implicit rewards.

    `plackett_luce` of the scores `-(beta / 2) (error - error_ref)`; with n = 2 it is `dpo`, or without a reference and
    with an anchor `cpo`.

    Args:
        error: the policy's errors [B, n], all at the same timestep and noise.
        error_ref: the reference's [B, n]; None leaves it out, as in CPO.
        ranks: the ranks [B, n]; 1 is best, tied images have the same rank, and 0 marks an unused place.
        beta: see `dpo`.
        anchor: weight of the mean error of the images of rank 1.
        rankers: soft votes: the loss is the mean over the raters of the loss of each one's own ranking, with n = 2 that
            of `link_loss` with each pair's own smoothing. `ranks` are left to the anchor and the metrics.
        share: see `plackett_luce`.

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` (the share of the ordered pairs that the rewards order in
        the same way, where equal rewards count as a half; sets in which all images tie have none) and `margin` (the
        mean reward of rank 1 minus the mean reward of the rest).

    Reference: Rafailov et al. 2023 (arXiv:2305.18290), appendix A.3, equation 20.
    """
    score = beta * log_ratio(error, torch.zeros_like(error) if error_ref is None else error_ref)
    loss, metrics = plackett_luce(score, ranks, share)
    if rankers is not None:
        loss = _mean_of_rankers(score, rankers, share)
    best, present = (ranks == 1).to(error.dtype), (ranks > 0).to(error.dtype)
    first, rest = _shares(best), _shares(present - best)
    margin = ((first - rest) * score).sum(1).detach()
    return loss + anchor * (first * error).sum(1), {**metrics, "margin": margin}


def _mean_of_rankers(score: Tensor, rankers: Rankers, share: Tensor | None) -> Tensor:
    """The mean loss [B] over the raters' rankings."""
    count = rankers.ranks.shape[1]
    repeated = None if share is None else share.repeat_interleave(count, 0)
    each, _ = plackett_luce(score.repeat_interleave(count, 0), rankers.ranks.flatten(0, 1), repeated)
    return (rankers.weight * each.view(-1, count)).sum(1)


def _shares(chosen: Tensor) -> Tensor:
    """Weights [B, n] that compute a mean over the chosen places of each row; `chosen` [B, n] is zeros and ones."""
    return chosen / chosen.sum(1, keepdim=True).clamp(min=1)
