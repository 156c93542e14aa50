"""Plackett-Luce: the likelihood of a ranking under scores, ties allowed."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.objectives.metrics import Metrics, Partly


def plackett_luce(score: Tensor, ranks: Tensor) -> tuple[Tensor, Metrics]:
    """The negative log-likelihood of each ranking.

    `sum over i of logsumexp(s_i, {s_j : rank_j > rank_i}) - s_i`

    Each item is chosen from itself and all that are ranked strictly below it. Items that share a rank are not compared:
    a tie says nothing of their order, and a set of ties alone has loss 0. With n = 2 it is Bradley-Terry.

    Args:
        score: [B, n], a difference is a log-odds.
        ranks: [B, n], 1 is best, ties share; 0 marks a place that nothing fills.

    Returns:
        The loss [B]; and `accuracy` [B], detached: the share of the ordered pairs that the scores order alike, a tie of
        scores a half, where items do not all tie.

    Reference: Plackett 1975 and Luce 1959, as in Rafailov et al. 2023 (arXiv:2305.18290), appendix A.3, equation 20.
    """
    below = (ranks.unsqueeze(1) > ranks.unsqueeze(2)) & (ranks > 0).unsqueeze(2)  # [B, i, j]: j is ranked below i
    itself = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    choices = score.unsqueeze(1).expand_as(below).masked_fill(~(below | itself), -torch.inf)
    loss = (choices.logsumexp(2) - score).sum(1)
    with torch.no_grad():
        agree = ((score.unsqueeze(2) - score.unsqueeze(1)).sign() + 1) / 2
        ordered = below.sum((1, 2))
        return loss, {"accuracy": Partly((agree * below).sum((1, 2)) / ordered.clamp(min=1), ordered > 0)}
