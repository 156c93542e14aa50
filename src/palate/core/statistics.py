"""Estimates with 95% intervals, for images that come in prompts.

An outcome array is [P, N]: row p is a prompt, column k the k-th seed of that prompt. Images of one prompt are alike
(an easy prompt is easy four times over), so they are a cluster, not N independent trials; an interval that ignores
this is too narrow. Two intervals here respect it:

- `rate`: for proportions. Wilson's interval on the effective count, the number of independent images that would know
  as much as these P x N do. With one image a prompt it is the textbook Wilson interval.
- `mean`, `difference`, `ratio`: the bootstrap that resamples whole prompts, where there are `ENOUGH` of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from palate.core.seeds import numpy_generator

CONFIDENCE = 0.95
RESAMPLES = 4000  # an end of a 95% interval then has a Monte-Carlo error of about 0.04 standard errors

ENOUGH = 6
"""Prompts below which the bootstrap has no interval to give: it never leaves the range of what it saw, and of P
independent values all lie on one side of their median with the chance `2^(1 - P)`, which five do 1 time in 16."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval; `n` is how many images or pairs it rests on. NaN is "cannot be known"."""

    value: float
    low: float
    high: float
    n: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain JSON: NaN becomes null."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {**{k: float(v) if math.isfinite(v) else None for k, v in numbers.items()}, "n": self.n}


def wilson(p: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a proportion p seen in n trials.

    `(p + z^2/2n  -+  z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)`

    Written out because `scipy.stats` takes whole counts only, and ties and effective counts are fractions; on whole
    counts the two agree (tested).

    Reference: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    z2 = float(stats.norm.ppf((1 + confidence) / 2)) ** 2
    centre = p + z2 / (2 * n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def effective_count(outcomes: np.ndarray) -> float:
    """How many independent trials know as much about the mean as these clustered ones.

    `p (1 - p) / var(mean)`, the variance estimated from the spread of the prompts' means; shrunk by
    `(z / t)^2`, t with P - 1 degrees of freedom, for the error of that estimate; never more than P N. Where the spread
    says nothing (one prompt, or all prompts alike) each prompt counts once, which is the cautious end. With N = 1 the
    trials are independent and it is P.

    Args:
        outcomes: [P, N] in [0, 1]; ties count a half.

    Reference: Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 1998; with Wilson's interval as in SAS SURVEYFREQ, `TYPE=WILSON`.
    """
    prompts, images = outcomes.shape
    if images == 1:
        return float(prompts)
    p, variance = outcomes.mean(), outcomes.mean(1).var(ddof=1) / prompts if prompts > 1 else 0.0
    if variance < 1e-12:
        return float(prompts)
    tail = (1 + CONFIDENCE) / 2
    shrink = stats.norm.ppf(tail) / stats.t.ppf(tail, prompts - 1)
    return float(min(p * (1 - p) / variance * shrink**2, outcomes.size))


def rate(outcomes: np.ndarray) -> Estimate:
    """The mean of outcomes [P, N] in [0, 1], with Wilson's interval on their effective count."""
    p = float(outcomes.mean())
    return Estimate(p, *wilson(p, effective_count(outcomes)), outcomes.size)


def contest(base: np.ndarray, aligned: np.ndarray) -> np.ndarray:
    """Outcomes [P, N] of paired scores: 1 where aligned scores higher, 0 where base does, 0.5 where they tie.

    Scores that agree to five digits tie: a difference there is float32's rounding, not taste.
    """
    return np.where(np.isclose(base, aligned), 0.5, (aligned > base).astype(float))


def mean(x: np.ndarray, *, seed: int = 0) -> Estimate:
    """The mean of x [P, N], with the prompt bootstrap."""
    return _bootstrap(lambda x, axis: x.mean(axis), (x,), seed)


def difference(base: np.ndarray, aligned: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of aligned minus mean of base, both [P, N] of the same prompts and seeds, with the prompt bootstrap."""
    return _bootstrap(lambda a, b, axis: b.mean(axis) - a.mean(axis), (base, aligned), seed)


def ratio(base: np.ndarray, aligned: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of aligned over mean of base, both [P, N] of the same prompts, with the prompt bootstrap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _bootstrap(lambda a, b, axis: b.mean(axis) / a.mean(axis), (base, aligned), seed)


def expanded_tail(prompts: int) -> float:
    """The share of resamples beyond each end of a 95% interval over P >= 2 prompts.

    Plain percentiles are too narrow by about `sqrt((P - 1)/P) z/t`; this level makes up for it.

    Reference: Hesterberg, "What teachers should know about the bootstrap", The American Statistician 2015 (expanded
    percentile interval).
    """
    t = stats.t.ppf((1 + CONFIDENCE) / 2, prompts - 1)
    return float(stats.norm.cdf(-math.sqrt(prompts / (prompts - 1)) * t))


def _bootstrap(statistic: Callable[..., np.ndarray], samples: tuple[np.ndarray, ...], seed: int) -> Estimate:
    """The expanded percentile interval of a statistic of means, resampling prompts.

    Every prompt has the same number of images, so the mean over images is the mean of the prompts' means, and to
    resample prompts is to resample those. With fewer prompts than `ENOUGH` the ends are NaN.
    """
    columns = tuple(x.mean(1) for x in samples)
    prompts, n = samples[0].shape[0], samples[0].size
    value = float(statistic(*columns, axis=-1))
    if prompts < ENOUGH:
        return Estimate(value, math.nan, math.nan, n)
    low, high = stats.bootstrap(
        columns,
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, 2**22 // prompts),
        paired=True,
        vectorized=True,
        confidence_level=1 - 2 * expanded_tail(prompts),
        method="percentile",
        rng=numpy_generator(seed, "bootstrap"),
    ).confidence_interval
    return Estimate(value, float(low), float(high), n)
