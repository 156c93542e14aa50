"""Soft votes as margins: a pair's beta grows with the share of the raters who prefer its winner."""

from __future__ import annotations

from torch import Tensor

SHARPNESS = 10.0
"""Of the difference of shares, as in SmPO: beta is that of a pair whose winner 55% of the raters prefer."""


def soft_beta(beta: float | Tensor, share: Tensor) -> Tensor:
    """The beta of each pair [B]: `10 (2 share - 1) beta`, which is zero where the raters are divided.

    Args:
        beta: see `SHARPNESS`.
        share: the share of raters who prefer the winner [B], in [0, 1].

    Reference: Lu et al. 2025, "Smoothed Preference Optimization via ReNoise Inversion" (arXiv:2506.02698), whose share
    is the probability of a reward model.
    """
    return SHARPNESS * (2 * share - 1) * beta
