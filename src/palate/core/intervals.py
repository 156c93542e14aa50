"""The ends of 95% intervals of values that are grouped by prompt, as arrays: for one or for many experiments.

`core.statistics` makes estimates from them. Leading axes `...` are experiments; `benchmarks/coverage.py` measures with
thousands of experiments how often the true value is inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy import special, stats

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
Z = float(stats.norm.ppf(1 - TAIL))

Ends: TypeAlias = tuple[np.ndarray, np.ndarray]
_NONE = 1e-9  # a share or a variance of outcomes below this counts as zero


def mid_p(p: np.ndarray, n: np.ndarray) -> Ends:
    """The mid-P interval of a proportion p seen in n trials, both [...]; p n and n may be fractions.

    Its ends are the rates at which the probability of more extreme counts plus half the probability of this count is
    `TAIL`; it is narrower than the Clopper-Pearson interval. Wilson's interval, which is as wide, covers a rate of 0.99
    in as few as 90% of experiments; this one falls below 93% with few trials only (`benchmarks/coverage.py`).

    Reference: Lancaster, "Significance tests in discrete distributions", JASA 1961; Berry and Armitage, "Mid-P
    confidence intervals: a brief review", The Statistician 1995.
    """
    p, n = np.broadcast_arrays(np.asarray(p, float), np.asarray(n, float))
    count = p * n
    none, all_ = count <= _NONE, count >= n - _NONE

    def above(q: np.ndarray) -> np.ndarray:
        """Probability of a larger count plus half that of the same count, at the rate q; it increases with q."""
        same_or_more = np.where(none, 1.0, special.betainc(np.maximum(count, _NONE), n - count + 1, q))
        more = np.where(all_, 0.0, special.betainc(count + 1, np.maximum(n - count, _NONE), q))
        return (same_or_more + more) / 2

    low, high = _root(above, TAIL, p.shape), _root(above, 1 - TAIL, p.shape)
    return np.where(none, 0.0, low), np.where(all_, 1.0, high)


def _root(rising: Callable[[np.ndarray], np.ndarray], level: float, shape: tuple[int, ...]) -> np.ndarray:
    """Where in [0, 1] an increasing function reaches a level, by bisection to 1e-12."""
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(40):
        middle = (low + high) / 2
        under = rising(middle) < level
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return (low + high) / 2


@dataclass(frozen=True)
class Moments:
    """Moments of outcomes in [-1, 1] that are grouped by prompt, all [...].

    Attributes:
        plus, minus: means of the outcomes' positive and negative parts.
        plus_variance, minus_variance: variances of these parts.
        tied: whether any outcome is 0.
        images: the effective count, how many independent images would determine the mean equally well.
    """

    plus: np.ndarray
    minus: np.ndarray
    plus_variance: np.ndarray
    minus_variance: np.ndarray
    tied: np.ndarray
    images: np.ndarray


def moments(x: np.ndarray) -> Moments:
    """The moments of outcomes [..., P, N] in [-1, 1]: P prompts with N images each."""
    prompts, images = x.shape[-2:]
    spread = x.mean(-1).var(-1, ddof=1) / prompts if prompts > 1 else np.zeros(x.shape[:-2])
    count = effective_images(x.var((-2, -1)), spread, prompts, prompts * images)
    plus, minus = np.maximum(x, 0), np.maximum(-x, 0)
    tied = np.asarray((np.abs(x) < _NONE).any((-2, -1)))
    parts = (plus.mean((-2, -1)), minus.mean((-2, -1)), plus.var((-2, -1)), minus.var((-2, -1)))
    return Moments(*parts, tied, count)


def moments_of_groups(x: np.ndarray, prompt: np.ndarray) -> Moments:
    """The moments of outcomes [M] in [-1, 1] with their prompts [M], numbered from 0; prompts may differ in size."""
    sums, counts = np.bincount(prompt, x), np.bincount(prompt)
    sums, counts = sums[counts > 0], counts[counts > 0]
    prompts, total = len(counts), len(x)
    apart = sums - x.mean() * counts  # linearised: a prompt's share of the mean's error, times M
    spread = (apart**2).sum() * prompts / max(1, prompts - 1) / total**2 if prompts > 1 else 0.0
    count = effective_images(x.var(), np.asarray(spread), prompts, total)
    plus, minus = np.maximum(x, 0), np.maximum(-x, 0)
    parts = (plus.mean(), minus.mean(), plus.var(), minus.var(), (np.abs(x) < _NONE).any(), count)
    return Moments(*map(np.asarray, parts))


def effective_images(variance: np.ndarray, spread: np.ndarray, prompts: int, images: int) -> np.ndarray:
    """How many independent images would determine a mean equally well.

    The variance of one image divided by that of the mean, which is estimated from the spread of the prompts' means;
    multiplied by `(z / t)^2`, t with P - 1 degrees of freedom, for the error of that estimate; never more than the
    number of images. Where there is no spread to estimate it from (one prompt, or all prompts equal) each prompt counts
    once, which is the conservative choice; with one image for each prompt the images are independent.

    Args:
        variance: of single images [...].
        spread: of the mean, by its prompts [...].
        prompts: P.
        images: of all prompts together.

    Reference: Rao and Scott, "A simple method for the analysis of clustered binary data", Biometrics 1992, for the
    count; Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 1998, for the shrinking.
    """
    if images == prompts or prompts < 2:
        return np.full(np.shape(variance), float(prompts))
    shrink = (Z / stats.t.ppf(1 - TAIL, prompts - 1)) ** 2
    known = (spread > 1e-12) & (variance > 1e-12)
    count = np.minimum(variance / np.maximum(spread, 1e-12) * shrink, images)
    return np.where(known, count, float(prompts))


def bounded(found: Moments) -> Ends:
    """The interval of the mean of outcomes in [-1, 1], both ends [...].

    The mean is that of the positive parts minus that of the negative parts. Each of the two is a proportion with a
    mid-P interval on its effective number of trials, and the two intervals are combined by the correlation of the
    parts, which is known because they exclude each other. For outcomes without ties (-1 or 1) this is the mid-P
    interval itself, and where nothing was observed on one side (no image got worse) that side still has its width.

    Reference: Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired
    data", Statistics in Medicine 1998, method 10, here with mid-P intervals; Zou and Donner, "Construction of
    confidence limits about effect measures: a general approach", Statistics in Medicine 2008, for why it holds.
    """
    plus, minus = found.plus, found.minus
    low_plus, high_plus = mid_p(plus, _trials(plus, found.plus_variance, found.images))
    low_minus, high_minus = mid_p(minus, _trials(minus, found.minus_variance, found.images))
    scale = np.sqrt(found.plus_variance * found.minus_variance)
    alone = np.where(found.tied, 0.0, -1.0)
    correlation = np.where(scale > _NONE, -plus * minus / np.maximum(scale, _NONE), alone)

    def combined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(first**2 - 2 * correlation * first * second + second**2, 0))

    low = plus - minus - combined(plus - low_plus, high_minus - minus)
    high = plus - minus + combined(high_plus - plus, minus - low_minus)
    return np.maximum(low, -1.0), np.minimum(high, 1.0)


def _trials(share: np.ndarray, variance: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The number of trials with outcomes 0 or 1 that determine the share as well as the given images do."""
    return images * np.where(variance > _NONE, share * (1 - share) / np.maximum(variance, _NONE), 1.0)


def studentised(base: np.ndarray, aligned: np.ndarray, resamples: Iterable[np.ndarray]) -> Ends:
    """The interval of the ratio of means, aligned's over base's [..., P], both ends [...]; of a mean where base is 1.

    At each end the outer of two: Student's t on the linearised standard error, and the bootstrap-t, which resamples
    prompts and takes the quantiles of `(ratio* - ratio) / error*`. The first is right for symmetric values with heavy
    tails, where the second is too narrow, and the second for skewed ones, where the first misses on one side.

    The ends are nan where all prompts are equal, and where so few differ that a share of resamples as large as `TAIL`
    has no spread: then it is unknown how large a difference may be.

    Args:
        base, aligned: the mean of each prompt's images.
        resamples: blocks [R, P] of how often each prompt is drawn in each resample.

    Reference: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 12.5; Hesterberg, "What teachers
    should know about the bootstrap", The American Statistician 2015, for the comparison on skewed values.
    """
    prompts = base.shape[-1]
    scale = np.abs(base.mean(-1))
    ratio = aligned.mean(-1) / base.mean(-1)
    apart = aligned - ratio[..., None] * base  # its mean is zero
    error = np.sqrt((apart**2).sum(-1) / (prompts - 1) / prompts) / scale
    t = np.concatenate([_resampled_t(base, apart, error, each) for each in resamples], -1)
    first, last = math.floor(TAIL * t.shape[-1]), math.ceil((1 - TAIL) * t.shape[-1]) - 1
    t = np.partition(t, [first, last], -1)
    student = stats.t.ppf(1 - TAIL, prompts - 1)
    bottom, top = np.minimum(t[..., first], -student), np.maximum(t[..., last], student)
    spread = error * scale > _NONE * np.abs(aligned).max(-1)
    known = spread & np.isfinite(bottom) & np.isfinite(top)
    low, high = (np.where(known, ratio - error * np.where(known, end, 0.0), np.nan) for end in (top, bottom))
    return low, high


def _resampled_t(base: np.ndarray, apart: np.ndarray, error: np.ndarray, resamples: np.ndarray) -> np.ndarray:
    """The error of each resample's ratio in units of its own standard error [..., R]; infinite where that is zero."""
    prompts = base.shape[-1]
    columns = (base, apart, apart**2, apart * base, base**2)
    mean, off, square, both, square_base = (np.tensordot(each, resamples, (-1, -1)) / prompts for each in columns)
    shift = off / mean  # of the ratio
    variance = square - 2 * shift * both + shift**2 * square_base  # of what is apart from the resample's own ratio
    own = np.sqrt(np.maximum(variance, 0) / (prompts - 1)) / np.abs(mean)
    there = own > 1e-6 * error[..., None]  # less is rounding
    return np.where(there, shift / np.where(there, own, 1.0), np.copysign(np.inf, off))
