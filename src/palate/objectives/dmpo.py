"""DMPO: the divergence of the model's preference from nearly certain labels, in the other direction than DPO's."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import logsigmoid

from palate.objectives.error import pair_margin
from palate.objectives.link import ranked_correctly


def dmpo(
    error_w: Tensor,
    error_l: Tensor,
    error_w_ref: Tensor,
    error_l_ref: Tensor,
    beta: float,
    alpha: float = 0.01,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The divergence minimisation loss of each pair.

    `p log(p / q) + (1 - p) log((1 - p) / (1 - q))` with `p = sigmoid(margin)` and `q = 1 - alpha`

    This is the divergence KL(model | label); DPO with a smoothing of alpha minimises KL(label | model). It is 0 where p
    equals q, and bounded: a pair that the model is sure to order the other way costs `-log alpha`, and its gradient
    vanishes, so that wrong labels pull little.

    Args:
        error_w, error_l, error_w_ref, error_l_ref: see `dpo` [B].
        beta: see `dpo`; 2000 for SD1.5 and 6000 for SDXL in the paper.
        alpha: probability that a label is wrong, in (0, 0.5).

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` and `margin`, see `dpo`.

    Reference: "Divergence Minimization Preference Optimization for Diffusion Model Alignment" (arXiv:2507.07510).
    """
    margin = pair_margin(error_w, error_l, error_w_ref, error_l_ref, beta)
    right, wrong = margin.sigmoid(), (-margin).sigmoid()
    loss = right * (logsigmoid(margin) - math.log1p(-alpha)) + wrong * (logsigmoid(-margin) - math.log(alpha))
    return loss, {"accuracy": ranked_correctly(margin), "margin": margin.detach()}
