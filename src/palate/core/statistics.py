"""Estimates with 95% intervals, for images that are grouped by prompt.

A value array is [P, N]: row p is a prompt, column k the k-th seed of that prompt. Images of one prompt are similar (an
easy prompt is easy for all its images), so they are a cluster and not N independent trials; an interval that ignores
this is too narrow. Two kinds of intervals here take it into account (`core.intervals`):

- of outcomes whose range is known (`rate`, `rate_difference`, `bounded_mean`, `grouped_rate`): mid-P intervals on the
  effective count, the number of independent images that would determine the mean as well as these P x N do;
- of scores (`mean`, `difference`, `ratio`): the outer of Student's t and of the studentised bootstrap over prompts;
  that of a `median` is made from a rate.

`benchmarks/coverage.py` measures how often each contains the true value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from palate.core import intervals
from palate.core.intervals import CONFIDENCE
from palate.core.seeds import numpy_generator

RESAMPLES = 4000  # an end of a 95% interval then has a Monte-Carlo error of about 0.04 standard errors
AT_ONCE = 2**22  # counts that resampling holds at once

ENOUGH = 6
"""Prompts below which scores have no interval, and nothing is called clear: of P independent values all lie on one side
of their median with the chance `2^(1 - P)`, which five do 1 time in 16."""
FEW, ALIKE = "unknown: fewer than six prompts", "unknown: too few prompts differ"


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval; `n` is the number of images or pairs behind it. NaN means unknown."""

    value: float
    low: float
    high: float
    n: int

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def sign(self, zero: float = 0.0) -> int:
        """1 or -1 where the whole interval is above or below `zero`, else 0."""
        return int(self.low > zero) - int(self.high < zero)

    def unknown(self, prompts: int) -> str | None:
        """The reason why the interval over that many prompts is unknown; None where it is known."""
        return FEW if prompts < ENOUGH else None if self.known else ALIKE

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain JSON: NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{k: float(v) if math.isfinite(v) else None for k, v in numbers.items()}, "n": self.n}


def wilson(p: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a proportion p seen in n independent trials.

    `(p + z^2/2n  -+  z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)`

    Written out because `scipy.stats` takes whole counts only, and ties are fractions; on whole counts the two agree
    (tested).

    Reference: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    z2 = float(stats.norm.ppf((1 + confidence) / 2)) ** 2
    centre = p + z2 / (2 * n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def effective_count(outcomes: np.ndarray) -> float:
    """How many independent images would determine the mean of outcomes [P, N] equally well; see `intervals`."""
    return float(intervals.moments(outcomes).images)


def rate(outcomes: np.ndarray) -> Estimate:
    """The mean of outcomes [P, N] in [0, 1], such as right or wrong, or won, tied (a half) or lost."""
    low, high = intervals.bounded(intervals.moments(2 * outcomes - 1))
    return Estimate(float(outcomes.mean()), float(1 + low) / 2, float(1 + high) / 2, outcomes.size)


def rate_difference(base: np.ndarray, aligned: np.ndarray) -> Estimate:
    """The rate of aligned minus that of base, outcomes [P, N] in [0, 1] of the same prompts and seeds."""
    return bounded_mean(aligned - base, 1.0)


def bounded_mean(values: np.ndarray, bound: float) -> Estimate:
    """The mean of values [P, N] that lie in [-bound, bound], such as differences of outcomes."""
    low, high = intervals.bounded(intervals.moments(values / bound))
    return Estimate(float(values.mean()), bound * float(low), bound * float(high), values.size)


def grouped_rate(points: np.ndarray, prompt: np.ndarray) -> Estimate:
    """The mean of points [M] in [0, 1] with their prompts [M], numbered from 0; prompts may differ in size."""
    if not len(points):
        return Estimate(math.nan, math.nan, math.nan, 0)
    low, high = intervals.bounded(intervals.moments_of_groups(2 * points - 1, prompt))
    return Estimate(float(points.mean()), float(1 + low) / 2, float(1 + high) / 2, len(points))


def contest(base: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Outcomes [P, N] of paired scores: 1 where aligned scores higher, 0 where base does, 0.5 where they tie.

    Scores that agree to five digits are a tie: a smaller difference is float32's rounding and not a preference.
    """
    return np.where(_tied(base, aligned), 0.5, (aligned > base).astype(float))


def _tied(base: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Where scores agree to five digits or, near zero, within 1e-8 of the largest score."""
    largest = max(np.abs(base).max(initial=0.0), np.abs(aligned).max(initial=0.0))
    return np.isclose(base, aligned, rtol=1e-5, atol=1e-8 * largest)


def mean(x: np.ndarray, *, seed: int = 0) -> Estimate:
    """The mean of scores x [P, N]."""
    return _studentised(np.ones_like(x, float), x, float(x.mean()), seed)


def median(x: np.ndarray) -> Estimate:
    """The median of scores x [P, N].

    Its interval has the scores at the ends of the interval of the share of scores that are at most the median.

    Reference: Woodruff, "Confidence intervals for medians and other position measures", JASA 1952.
    """
    value = float(np.median(x))
    if x.shape[0] < ENOUGH or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, x.size)
    below = (x < value) + 0.5 * (x == value)
    share = rate(below)
    low = np.quantile(x, max(share.low, 0.0), method="lower")  # the next score outside: in between is too narrow
    high = np.quantile(x, min(share.high, 1.0), method="higher")
    return Estimate(value, float(min(low, value)), float(max(high, value)), x.size)


def difference(base: np.ndarray, aligned: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of aligned minus mean of base, scores [P, N] of the same prompts and seeds.

    Scores that agree to five digits (`contest`) do not widen the interval: their difference is rounding.
    """
    gain = np.where(_tied(base, aligned), 0.0, aligned - base)
    return _studentised(np.ones_like(gain), gain, float(aligned.mean() - base.mean()), seed)


def ratio(base: np.ndarray, aligned: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of aligned over mean of base, both [P, N] of the same prompts."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _studentised(base, aligned, float(aligned.mean() / base.mean()), seed)


def expanded_tail(prompts: int) -> float:
    """The share of resamples beyond each end of a 95% percentile interval over P >= 2 prompts.

    Plain percentiles are too narrow by about `sqrt((P - 1)/P) z/t`; this level compensates for it.

    Reference: Hesterberg, "What teachers should know about the bootstrap", The American Statistician 2015 (expanded
    percentile interval).
    """
    t = stats.t.ppf((1 + CONFIDENCE) / 2, prompts - 1)
    return float(stats.norm.cdf(-math.sqrt(prompts / (prompts - 1)) * t))


def _studentised(base: np.ndarray, aligned: np.ndarray, value: float, seed: int) -> Estimate:
    """The estimate of a ratio of means; all prompts have the same number of images, so prompt means suffice."""
    prompts, n = aligned.shape[0], aligned.size
    if prompts < ENOUGH or not math.isfinite(value):
        return Estimate(value, math.nan, math.nan, n)
    low, high = intervals.studentised(base.mean(1), aligned.mean(1), _resamples(prompts, seed))
    return Estimate(value, float(low), float(high), n)


def _resamples(prompts: int, seed: int) -> Iterator[np.ndarray]:
    """How often each prompt is drawn [R, P], in blocks; `RESAMPLES` rows in all."""
    rng = numpy_generator(seed, "bootstrap")
    block = max(1, AT_ONCE // prompts)
    for start in range(0, RESAMPLES, block):
        some = min(block, RESAMPLES - start)
        yield rng.multinomial(prompts, np.full(prompts, 1 / prompts), some).astype(float)
