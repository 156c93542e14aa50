"""Plackett-Luce: the likelihood of a ranking under scores, ties allowed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from palate.objectives.metrics import Metrics, PartialMetric

STEP, TAIL = 0.3, 24.0
"""Of the points that stand for `_first`'s integral: with them log-probabilities are right to 1e-8, less than float32
rounds (tested against sums over all orders); below the first point lies `exp(-TAIL)` of the whole, 4e-11."""


def plackett_luce(score: Tensor, ranks: Tensor) -> tuple[Tensor, Metrics]:
    """The negative log-likelihood of each ranking.

    Without ties `sum over i of logsumexp(s_i, {s_j : rank_j > rank_i}) - s_i`: each item is chosen from itself and all
    that are ranked below it. With n = 2 it is Bradley-Terry.

    A ranking with ties is a partial ranking: tied items come before all that are ranked below them, and nothing is said
    of the order among them. Its probability is the sum over all strict rankings that it leaves open (the marginal
    likelihood), whatever the size of a tied group. So the probabilities of all rankings with groups of given sizes,
    such as 1, 1, 2, 3, add up to one, and a set of ties alone has loss 0.

    Args:
        score: [B, n], a difference is a log-odds.
        ranks: [B, n], 1 is best, ties share; 0 marks a place that nothing fills.

    Returns:
        The loss [B]; and `accuracy` [B], detached: the share of the ordered pairs that the scores order alike, a tie of
        scores a half, where items do not all tie.

    Reference: Plackett 1975 and Luce 1959, as in Rafailov et al. 2023 (arXiv:2305.18290), appendix A.3, equation 20;
    ties as Kalbfleisch and Prentice, "Marginal likelihoods based on Cox's regression and life model", Biometrika 1973.
    """
    below = (ranks.unsqueeze(1) > ranks.unsqueeze(2)) & (ranks > 0).unsqueeze(2)  # [B, i, j]: j is ranked below i
    itself = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    choices = score.unsqueeze(1).expand_as(below).masked_fill(~(below | itself), -torch.inf)
    each = choices.logsumexp(2) - score  # [B, n]: of items that share their rank with none
    if ranks.shape[1] > 2:  # the fewest of which two can tie and one be ranked below them
        each = _with_ties(each, score, ranks, below)
    loss = each.sum(1)
    with torch.no_grad():
        agree = ((score.unsqueeze(2) - score.unsqueeze(1)).sign() + 1) / 2
        ordered = below.sum((1, 2))
        return loss, {"accuracy": PartialMetric((agree * below).sum((1, 2)) / ordered.clamp(min=1), ordered > 0)}


def _with_ties(each: Tensor, score: Tensor, ranks: Tensor, below: Tensor) -> Tensor:
    """Each item's part of the loss [B, n]; a tied group's whole part stands at its first item.

    Nothing here waits for what the ranks are, so that a GPU is never stopped: places that begin no tied group are
    computed from zeros and not used. Items that tie with none keep their part bit for bit.
    """
    same = (ranks.unsqueeze(1) == ranks.unsqueeze(2)) & (ranks > 0).unsqueeze(2)  # [B, i, j]: j ties with i
    tied = same.sum(2) > 1
    first = same.int().argmax(2) == torch.arange(ranks.shape[1], device=ranks.device)
    counts = tied & first & below.any(2)  # a group with nothing below it says nothing
    rest = score.unsqueeze(1).masked_fill(~below & counts.unsqueeze(2), -torch.inf).logsumexp(2)
    excess = torch.where(same & counts.unsqueeze(2), score.unsqueeze(1) - rest.unsqueeze(2), 0.0)
    group = torch.where(counts, -_first(excess, same), 0.0)
    return torch.where(tied, group, each)


def _first(excess: Tensor, member: Tensor) -> Tensor:
    """Log-probability [...] that all members of a group are chosen before any other item, in whatever order.

    Items arrive at exponential times, at the rates `exp(score)`; the members are first if all of them arrive before the
    first of the rest does. With the time as `exp(x)` over the rest's rate that is

    `integral over x of exp(x - e^x) * product over members of (1 - exp(-e^(x + excess)))`

    The integrand is smooth, has one peak, at an x between 0 and `log(members + 1)`, falls at least like `e^x` below and
    faster than any exponential above, so a sum over equally spaced points converges exponentially in their number.

    Args:
        excess: each item's score minus the log of the rest's summed `exp(score)` [..., n].
        member: which items are in the group [..., n].

    Reference: DeLong, Guirguis and So, "Efficient computation of subset selection probabilities with application to Cox
    regression", Biometrika 1994; Trefethen and Weideman, "The exponentially convergent trapezoidal rule", SIAM Review
    2014.
    """
    end = math.log(member.shape[-1] + 1) + 4
    x = torch.arange(-TAIL, end, STEP, dtype=excess.dtype, device=excess.device)
    arrived = _log_arrived(x + excess.unsqueeze(-1)) * member.unsqueeze(-1)  # [..., n, points]
    return (arrived.sum(-2) + x - x.exp()).logsumexp(-1) + math.log(STEP)


def _log_arrived(z: Tensor) -> Tensor:
    """`log(1 - exp(-e^z))`, which is z far below zero and zero above, without underflow in float32."""
    return torch.where(z < -80, z, torch.log(-torch.expm1(-z.clamp(-80, 4).exp())))
