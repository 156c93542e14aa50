"""The arithmetic of weighted sums: the mean of several scorers' scores, each in units of its spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

ROUNDING = 1e-6
"""A spread below this share of the largest score is rounding: float32 has 7 digits, and batches differ in the last."""


def weighted_mean(
    columns: Sequence[Sequence[float]], spreads: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """The weighted mean [n] of scores [n], each in units of its scorer's spread; a constant scorer does not count.

    These are z-scores up to a constant, which cancels in differences between images.

    Args:
        columns: the scores [n] of each scorer, higher is better.
        spreads: the standard deviation of each scorer; 0 for a constant one.
        weights: what each scorer counts against the others, above zero.
    """
    shares = [weight / spread / sum(weights) if spread else 0.0 for weight, spread in zip(weights, spreads)]
    return [sum(share * score for share, score in zip(shares, image)) for image in zip(*columns)]


def weighted_z_scores(columns: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """The weighted mean [n] of z-scores among n images: `sum_k w_k (s_k - mean_k) / std_k / sum_k w_k`.

    A scorer that is constant on the n images, up to the rounding of float32, counts zero. One image alone has 0.

    Args:
        columns, weights: as for `weighted_mean`.

    Reference: Liu et al. 2026 (GDPO, arXiv:2601.05242): each reward is normalised within its group before the weighted
    sum, so that no reward counts more because its numbers are larger; the sum is not normalised again here.

    >>> weighted_z_scores([[1.0, 3.0], [50.0, 10.0]], [3.0, 1.0])
    [-0.5, 0.5]
    """
    means = [fmean(scores) for scores in columns]
    centred = [[score - mean for score in scores] for scores, mean in zip(columns, means)]
    return weighted_mean(centred, [_spread(scores) for scores in columns], weights)


def _spread(scores: Sequence[float]) -> float:
    """The standard deviation of scores [n], zero if it is no more than rounding."""
    spread = pstdev(scores)
    return spread if spread > ROUNDING * max(map(abs, scores)) else 0.0
