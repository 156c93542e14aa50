"""Alpha-DPO: DPO's likelihood of a pair replaced by an alpha-divergence, which wrong labels disturb less."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from palate.objectives.error import pair_margin
from palate.objectives.link import ranked_correctly


def alpha_dpo(
    error_w: Tensor,
    error_l: Tensor,
    error_w_ref: Tensor,
    error_l_ref: Tensor,
    beta: float,
    alpha: float = 0.9999,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The alpha-divergence between the label and the model's preference for each pair.

    `(p^alpha - (1 - alpha) - alpha p) / (alpha (alpha - 1))` with `p = sigmoid(margin)`

    It is 0 at p = 1, at most `1 / alpha`, and its gradient vanishes where the model is sure of the opposite. As alpha
    approaches 1 it becomes `1 - p + p log p`, and as it approaches 0 `p - 1 - log p`.

    Args:
        error_w, error_l, error_w_ref, error_l_ref: see `dpo` [B].
        beta: see `dpo`.
        alpha: in (0, 1).

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` and `margin`, see `dpo`.

    Reference: "Alpha-DPO" (ICLR 2026), for labels with errors; its alpha is 0.9999.
    """
    margin = pair_margin(error_w, error_l, error_w_ref, error_l_ref, beta)
    right, wrong = margin.sigmoid(), (-margin).sigmoid()
    # p^alpha = p p^(alpha - 1): written so that nothing cancels for an alpha near 1
    power = torch.expm1((alpha - 1) * logsigmoid(margin)) / (alpha - 1)
    return (right * power + wrong) / alpha, {"accuracy": ranked_correctly(margin), "margin": margin.detach()}
