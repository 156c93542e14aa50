"""MaPO: a margin between likelihood-like scores of winner and loser, without a reference."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from palate.objectives.link import ranked_correctly

SCALE = 0.5  # s of the paper's code
SHARPNESS = 1000.0  # of the margin, in the paper's code


def likelihood_score(error: Tensor, scale: float = SCALE) -> Tensor:
    """`s e / (exp(s e) - 1)`, elementwise: 1 for an error e of 0, and decreasing to 0 as the error grows."""
    scaled = scale * error
    exact = scaled / torch.expm1(scaled).where(scaled != 0, torch.ones_like(scaled))
    return exact.where(scaled != 0, torch.ones_like(scaled))


def mapo(
    error_w: Tensor, error_l: Tensor, beta: float = 0.1, sharpness: float = SHARPNESS
) -> tuple[Tensor, dict[str, Tensor]]:
    """The margin-aware loss of each pair.

    `error_w - beta * log sigmoid(sharpness (f(error_w) - f(error_l)))` with `f = likelihood_score`

    Args:
        error_w: the policy's error on the winner [B].
        error_l: its error on the loser, at the same timestep and noise [B].
        beta: weight of the margin relative to the winner's own error; 0.1 in the paper's code.
        sharpness: factor of the margin; 1000 in the paper's code, where errors differ by thousandths.

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` and `margin`, see `dpo`.

    Reference: Hong et al. 2024 (arXiv:2406.06424), "Margin-aware Preference Optimization", and its code.
    """
    margin = sharpness * (likelihood_score(error_w) - likelihood_score(error_l))
    loss = error_w - beta * logsigmoid(margin)
    return loss, {"accuracy": ranked_correctly(margin), "margin": margin.detach()}
