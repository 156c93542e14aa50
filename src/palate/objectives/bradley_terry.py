"""The Bradley-Terry loss over all pairs of a set's images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from palate.objectives.metrics import Metrics, PartialMetric


def bradley_terry(score: Tensor, share: Tensor) -> tuple[Tensor, Metrics]:
    """The mean cross-entropy over the pairs of each set.

    `-(p log sigmoid(s_i - s_j) + (1 - p) log sigmoid(s_j - s_i))`, where p is the share of people who prefer i: 1 or 0
    for a single ranking, a value between them for votes, a half for a tie.

    Args:
        score: the scores of the images [B, n].
        share: the share of people who prefer i to j [B, n, n], in [0, 1]; `share[i, j] + share[j, i] = 1`; NaN where
            nobody compared them.

    Returns:
        The loss [B], 0 where no pair is compared; and `accuracy` [B], detached: the share of the pairs with a winner
        that the scores order in the same way, where equal scores count as a half. Sets without a winner have none.

    Reference: Bradley & Terry 1952; Wallace et al. 2023 (arXiv:2311.12908), equations 3 and 4; ties as Kirstain et al.
    2023 (arXiv:2305.01569), section 3, who train them towards (1/2, 1/2).
    """
    first, second = torch.triu_indices(score.shape[1], score.shape[1], offset=1, device=score.device)
    margin, p = score[:, first] - score[:, second], share[:, first, second]  # [B, pairs]
    compared = ~p.isnan()
    p = p.nan_to_num()
    loss = -(p * logsigmoid(margin) + (1 - p) * logsigmoid(-margin)) * compared
    won = compared & (p != 0.5)
    agree = ((margin.detach() * (p - 0.5)).sign() + 1) / 2 * won
    winners = won.sum(1)
    accuracy = PartialMetric(agree.sum(1) / winners.clamp(min=1), winners > 0)
    return loss.sum(1) / compared.sum(1).clamp(min=1), {"accuracy": accuracy}
