"""Plackett-Luce: the likelihood of a ranking under scores, ties allowed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from palate.objectives.metrics import Metrics, PartialMetric
from palate.objectives.safeguard import with_gradient_share

STEP, TAIL = 0.3, 24.0
"""Spacing and lower end of the points at which `_first` evaluates its integral: log-probabilities are exact to 1e-8,
less than the rounding of float32 (tested against sums over all orders); the part below the first point is `exp(-TAIL)`
of the whole, 4e-11."""


def plackett_luce(score: Tensor, ranks: Tensor, share: Tensor | None = None) -> tuple[Tensor, Metrics]:
    """The negative log-likelihood of each ranking.

    Without ties it is `sum over i of logsumexp(s_i, {s_j : rank_j > rank_i}) - s_i`: each item is chosen from itself
    and all items that are ranked below it. With n = 2 it is Bradley-Terry.

    A ranking with ties is a partial ranking: tied items come before all items that are ranked below them, and the order
    among tied items is unknown. Its probability is the sum over all strict rankings that are consistent with it (the
    marginal likelihood), for tied groups of any size. So the probabilities of all rankings with groups of given sizes,
    such as 1, 1, 2, 3, add up to one, and a set in which all items tie has loss 0.

    Args:
        score: the scores [B, n]; a difference of scores is a log-odds.
        ranks: the ranks [B, n]; 1 is best, tied items have the same rank, and 0 marks an unused place.
        share: the share of the gradient of item j that is kept where i is preferred to it [B, i, j], see
            `safeguard.loser_share`; the least of its members for a tied group. The value stays the same.

    Returns:
        The loss [B]; and `accuracy` [B], detached: the share of the ordered pairs that the scores order in the same
        way, where equal scores count as a half. Sets in which all items tie have none.

    Reference: Plackett 1975 and Luce 1959, as in Rafailov et al. 2023 (arXiv:2305.18290), appendix A.3, equation 20;
    ties as Kalbfleisch and Prentice, "Marginal likelihoods based on Cox's regression and life model", Biometrika 1973.
    """
    below = (ranks.unsqueeze(1) > ranks.unsqueeze(2)) & (ranks > 0).unsqueeze(2)  # [B, i, j]: j is ranked below i
    itself = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    same = (ranks.unsqueeze(1) == ranks.unsqueeze(2)) & (ranks > 0).unsqueeze(2)  # [B, i, j]: j ties with i
    seen = score.unsqueeze(1).expand_as(below)  # [B, i, j]: the score of j where i is chosen
    if share is not None:
        seen = with_gradient_share(seen, _least(share, same).masked_fill(itself, 1.0))
    choices = seen.masked_fill(~(below | itself), -torch.inf)
    each = choices.logsumexp(2) - score  # [B, n]: correct for items that tie with no other
    if ranks.shape[1] > 2:  # ties matter only where one more item is ranked below them
        each = _with_ties(each, score, seen, same, below)
    loss = each.sum(1)
    with torch.no_grad():
        agree = ((score.unsqueeze(2) - score.unsqueeze(1)).sign() + 1) / 2
        ordered = below.sum((1, 2))
        return loss, {"accuracy": PartialMetric((agree * below).sum((1, 2)) / ordered.clamp(min=1), ordered > 0)}


def _least(share: Tensor, same: Tensor) -> Tensor:
    """The least share over the items that tie with i [B, i, j]."""
    others = share.unsqueeze(1).masked_fill(~same.unsqueeze(3), torch.inf)  # [B, i, k, j]: of k, which ties with i
    return others.amin(2).where(same.any(2, keepdim=True), share)


def _with_ties(each: Tensor, score: Tensor, seen: Tensor, same: Tensor, below: Tensor) -> Tensor:
    """Each item's part of the loss [B, n]; the part of a tied group is at the place of its first item.

    Nothing here depends on the values of the ranks on the CPU, so that a GPU never waits: places that are not the first
    of a tied group are computed from zeros and not used. Items without ties keep their part bit for bit.
    """
    tied = same.sum(2) > 1
    first = same.int().argmax(2) == torch.arange(score.shape[1], device=score.device)
    counts = tied & first & below.any(2)  # a group with no item below it has probability 1
    rest = seen.masked_fill(~below & counts.unsqueeze(2), -torch.inf).logsumexp(2)
    excess = torch.where(same & counts.unsqueeze(2), score.unsqueeze(1) - rest.unsqueeze(2), 0.0)
    group = torch.where(counts, -_first(excess, same), 0.0)
    return torch.where(tied, group, each)


def _first(excess: Tensor, member: Tensor) -> Tensor:
    """Log-probability [...] that all members of a group are chosen before any other item, in any order.

    Items arrive at exponentially distributed times, with the rates `exp(score)`; the members are first if all of them
    arrive before the first of the other items. With the time written as `exp(x)` divided by the others' total rate, the
    probability is

    `integral over x of exp(x - e^x) * product over members of (1 - exp(-e^(x + excess)))`

    The integrand is smooth and has one maximum, at an x between 0 and `log(members + 1)`. It decreases at least like
    `e^x` below it and faster than any exponential above it, so a sum over equally spaced points converges exponentially
    in their number.

    Args:
        excess: each item's score minus the log of the summed `exp(score)` of the other items [..., n].
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
    """`log(1 - exp(-e^z))` without underflow in float32: it approaches z for small z, and 0 for large z."""
    return torch.where(z < -80, z, torch.log(-torch.expm1(-z.clamp(-80, 4).exp())))
