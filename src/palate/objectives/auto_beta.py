"""A beta that follows the size of the margins, so that a loss neither saturates nor stays linear."""

from __future__ import annotations

import math

import torch
from torch import Tensor

START = 2000.0
"""Beta of the first steps, Diffusion-DPO's for SD1.5. All margins are about zero then, so that beta only multiplies the
gradient, and AdamW divides by its size."""
LARGEST = 1e6
"""Ours: 200 times SDXL's published beta. Margins smaller than this one can see are rounding."""
DECAY = 0.99
"""Of the moving average of the margins' size over steps."""


def auto_beta(size: Tensor | None, target: float) -> Tensor:
    """The beta at which a margin of average size has the gradient factor `target`: a scalar, detached.

    DPO's gradient has the factor `sigmoid(-m)`. It is `target` at `m = -logit(target)`, and m is beta times what it is
    at a beta of 1; so `beta = -logit(target) / mean |m at beta 1|`.

    Args:
        size: the mean absolute margin at a beta of 1, a scalar; None where there is none yet.
        target: the gradient factor of an average pair that is ordered correctly, in (0, 0.5).

    Reference: an idea of SimpleTuner's DPO, whose target is 0.2 and whose margins have no factor 1/2.
    """
    if size is None:
        return torch.tensor(START)
    wanted = math.log1p(-target) - math.log(target)
    return (wanted / size.detach()).clamp(max=LARGEST)
