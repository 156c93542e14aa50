"""Listwise preference over n ranked images: Plackett-Luce on the implicit rewards, ties allowed."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.objectives.error import log_ratio


def listwise(
    error: Tensor, error_ref: Tensor | None, ranks: Tensor, beta: float, anchor: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The negative log-likelihood of each ranking under the policy's implicit rewards.

    `sum over i of logsumexp(s_i, {s_j : rank_j > rank_i}) - s_i`, with `s = -(beta / 2) (error - error_ref)`

    Each image is chosen from itself and all that are ranked strictly below it. Images that share a rank are not
    compared: a tie says nothing of their order, and a set of ties alone has loss 0. Without ties this is
    Plackett-Luce; with n = 2 it is `dpo`, or without a reference and anchor `cpo`.

    Args:
        error: the policy's errors [B, n], all at the same timestep and noise.
        error_ref: the reference's [B, n]; None leaves it out, as in CPO.
        ranks: [B, n], 1 is best, ties share; 0 marks a place that no image fills.
        beta: as of `dpo`.
        anchor: weight of the mean error of the images of rank 1.

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` (share of the ordered pairs that the rewards order alike, a
        tie of rewards a half; nan where all images tie) and `margin` (mean reward of rank 1 above the rest).

    Reference: Plackett 1975 and Luce 1959, as in Rafailov et al. 2023 (arXiv:2305.18290), appendix A.3, equation 20.
    """
    score = beta * log_ratio(error, torch.zeros_like(error) if error_ref is None else error_ref)
    present = ranks > 0
    below = (ranks.unsqueeze(1) > ranks.unsqueeze(2)) & present.unsqueeze(2)  # [B, i, j]: j is ranked below i
    itself = torch.eye(ranks.shape[1], dtype=torch.bool, device=ranks.device)
    choices = score.unsqueeze(1).expand_as(below).masked_fill(~(below | itself), -torch.inf)
    best = (ranks == 1).to(error.dtype)
    first = best / best.sum(1, keepdim=True).clamp(min=1)
    loss = (choices.logsumexp(2) - score).sum(1) + anchor * (first * error).sum(1)
    with torch.no_grad():
        agree = ((score.unsqueeze(2) - score.unsqueeze(1)).sign() + 1) / 2
        accuracy = (agree * below).sum((1, 2)) / below.sum((1, 2))
        other = present.to(error.dtype) - best
        rest = other / other.sum(1, keepdim=True).clamp(min=1)
        margin = ((first - rest) * score).sum(1)
    return loss, {"accuracy": accuracy, "margin": margin}
