"""Weights of the denoising errors by their time."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from palate.diffusion.parametrization import Parametrization
from palate.diffusion.schedule import Schedule

Weighting = Literal["constant", "min_snr", "debiased", "cosmap"]
GAMMA = 5.0
"""Of Min-SNR, in the paper."""


def time_weight(
    kind: Weighting, schedule: Schedule, parametrization: Parametrization, t: Tensor, gamma: float = GAMMA
) -> Tensor:
    """The weight of the errors at times [B].

    | kind | weight | source |
    |---|---|---|
    | `constant` | 1 | |
    | `min_snr` | `min(SNR, gamma)` of the error of x_0: for eps `min(1, gamma / SNR)`, for v \
`min(SNR, gamma) / (SNR + 1)`, for velocities `min(SNR, gamma) sigma^2` | Hang et al. 2023 (arXiv:2303.09556) |
    | `debiased` | `1 / sqrt(SNR)` of the error of eps, and as strong in the other parametrizations | Yu et al. 2023 \
(arXiv:2310.08442) |
    | `cosmap` | `2 / (pi (1 - 2 sigma + 2 sigma^2))`, for flows: as if sigma had the density of cosines | Esser \
et al. 2024 (arXiv:2403.03206), section 3.1 |

    Args:
        kind: the weighting.
        schedule: gives the signal-to-noise ratio, `SNR = (signal / noise)^2`.
        parametrization: what the network predicts.
        t: times [B].
        gamma: the largest SNR that counts; only for Min-SNR.

    Returns:
        Weights [B] in float32, at least 0 and finite.

    Raises:
        ValueError: there is no such weighting.
    """
    signal, noise = schedule.signal(t), schedule.noise(t)
    if kind == "constant":
        return torch.ones_like(signal)
    if kind == "cosmap":
        return 2 / (math.pi * (1 - 2 * noise + 2 * noise**2))
    determinant = parametrization.determinant(schedule, t)
    if kind == "min_snr":
        weight = torch.minimum(signal**2, gamma * noise**2) / determinant**2
    elif kind == "debiased":
        weight = signal * noise / determinant**2
    else:
        raise ValueError(f"unknown weighting {kind!r}; choose from constant, min_snr, debiased, cosmap")
    # of eps at pure noise: Min-SNR is 0 / 0 there, with the limit 1; the other grows without limit
    return weight.nan_to_num(nan=1.0, posinf=0.0)
