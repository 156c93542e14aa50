"""Linear-DPO: a pair's weight falls linearly with its margin, and the reference follows the policy."""

from __future__ import annotations

from torch import Tensor

from palate.objectives.error import pair_margin
from palate.objectives.link import ranked_correctly

SLOPE = 0.2
"""Of the weight, per unit of beta times the difference of errors, in the paper."""


def linear_dpo(
    error_w: Tensor,
    error_l: Tensor,
    error_w_ref: Tensor,
    error_l_ref: Tensor,
    beta: float,
    floor: float = 1e-3,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted difference of errors of each pair.

    `weight (error_w - error_l)` with `weight = clip(1/2 + 0.2 beta D, floor, 1 - floor)`, detached, and
    `D = (error_w - error_l) - (error_w_ref - error_l_ref)`

    DPO's weight is `sigmoid(beta D / 2)`; this one has the same value at 0, and no tails beyond the floor.

    Args:
        error_w, error_l, error_w_ref, error_l_ref: see `dpo` [B].
        beta: 100 for SD1.5 and 500 for SDXL in the paper.
        floor: the smallest weight, in [0, 0.5); 1e-3 for SD1.5 and 0 for SDXL in the paper.

    Returns:
        The loss [B]; and metrics [B], detached: `accuracy` and `margin` (`-(beta / 2) D`), see `dpo`, and `weight`.

    Reference: "Linear-DPO" (arXiv:2605.21123).
    """
    margin = pair_margin(error_w, error_l, error_w_ref, error_l_ref, beta).detach()
    weight = (0.5 - 2 * SLOPE * margin).clamp(floor, 1 - floor)
    return weight * (error_w - error_l), {"accuracy": ranked_correctly(margin), "margin": margin, "weight": weight}
