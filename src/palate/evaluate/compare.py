"""Comparison of two models: the judges' values of images of the same prompts and seeds, and their summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.core import statistics
from palate.core.finite import require_finite
from palate.core.statistics import Estimate
from palate.evaluate.judge import HEADLINES, RATES

if TYPE_CHECKING:
    from palate.records.images import StoredImage


@dataclass(frozen=True)
class Paired:
    """One number for each image of both models, [P, N] each: row p is a prompt, column k its k-th seed."""

    base: np.ndarray
    aligned: np.ndarray

    def __post_init__(self) -> None:
        if self.base.ndim != 2 or self.base.shape != self.aligned.shape:
            raise ValueError(
                f"paired values must be [P, N] of one shape, not {self.base.shape} and {self.aligned.shape}"
            )

    @property
    def gain(self) -> np.ndarray:
        """Aligned minus base, [P, N]."""
        return self.aligned - self.base

    def of(self, prompts: np.ndarray | list[int]) -> Paired:
        """The rows of the given prompts."""
        return Paired(self.base[prompts], self.aligned[prompts])


@dataclass(frozen=True)
class Change:
    """A measure before and after, and the paired difference."""

    base: Estimate
    aligned: Estimate
    difference: Estimate

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Plain JSON, by the names of the fields."""
        return {side: getattr(self, side).to_dict() for side in ("base", "aligned", "difference")}


def change(measure: str, values: Paired, seed: int = 0) -> Change:
    """Estimates of one measure: `rate` where each image is right or wrong, else `mean`; the difference is paired."""
    base, aligned = values.base, values.aligned
    if measure in RATES:
        return Change(statistics.rate(base), statistics.rate(aligned), statistics.rate_difference(base, aligned))
    means = [statistics.mean(side, seed=seed) for side in (base, aligned)]
    return Change(means[0], means[1], statistics.difference(base, aligned, seed=seed))


@dataclass(frozen=True)
class Verdict:
    """One judge's values of all images; in `preference` the higher value wins.

    Raises:
        NotFiniteError: a value is NaN or infinite.
    """

    judge: str
    preference: Paired
    measures: Mapping[str, Paired]

    def __post_init__(self) -> None:
        for name, values in {"preference": self.preference, **self.measures}.items():
            sides = {"base": values.base, "aligned": values.aligned}
            require_finite(f"{name} by the judge {self.judge}", sides, fix="look at those images [prompt, image]")

    @property
    def outcomes(self) -> np.ndarray:
        """[P, N]: 1 where the aligned image wins its pair, 0 where the base's does, 0.5 for a tie."""
        return statistics.contest(self.preference.base, self.preference.aligned)


@dataclass(frozen=True)
class Comparison:
    """All values that an evaluation measured, before statistics are computed.

    Attributes:
        base, aligned: names of the two models.
        prompts: the P prompts.
        images: for `"base"` and `"aligned"`, P rows of N images; the k-th images of a row have the same seed.
        verdicts: of the judge whose results are reported, then of the other judges.
        diversity: [P, 1], distance between the images of a prompt (`diversity.distance_between_seeds`).
        seed: the seed of the bootstrap.
    """

    base: str
    aligned: str
    prompts: tuple[str, ...]
    images: Mapping[str, tuple[tuple[StoredImage, ...], ...]]
    verdicts: tuple[Verdict, ...]
    diversity: Paired
    seed: int = 0

    @property
    def judged(self) -> Verdict:
        """The verdict of the judge whose results are reported."""
        return self.verdicts[0]


def summarise_comparison(comparison: Comparison, seconds: Mapping[str, float] | None = None) -> dict[str, Any]:
    """The contents of `summary.json`.

    Every estimate is `{"value", "low", "high", "n"}` with the ends of a 95% interval, null where these are unknown.
    Rates, the win rate and their differences have mid-P intervals on the effective count; scores and diversity have the
    outer of Student's t and the studentised bootstrap over prompts (`core.statistics`).

    Args:
        comparison: the measured values.
        seconds: the duration of each stage.
    """
    judged, *others = comparison.verdicts
    seed, diversity = comparison.seed, comparison.diversity
    return {
        **_findings(judged, seed),
        "diversity": {
            "base": statistics.mean(diversity.base, seed=seed).to_dict(),
            "aligned": statistics.mean(diversity.aligned, seed=seed).to_dict(),
            "ratio": statistics.ratio(diversity.base, diversity.aligned, seed=seed).to_dict(),
        },
        "seconds": dict(seconds or {}),
        "judge": judged.judge,
        "also": {
            other.judge: {
                **_findings(other, seed),
                "gap": {name: estimate.to_dict() for name, estimate in gap(judged, other, seed).items()},
            }
            for other in others
        },
    }


def gap(judged: Verdict, other: Verdict, seed: int = 0) -> dict[str, Estimate]:
    """How much larger the gain is by `other` than by `judged`, for the measures they share and for the win rate.

    When `other` gave the training signal, a growing gap is reward over-optimisation: the model learned the judge.
    """
    found = {}
    for measure in HEADLINES:
        if measure != "score" and measure in judged.measures and measure in other.measures:
            ours, theirs = judged.measures[measure].gain, other.measures[measure].gain
            rated = measure in RATES  # then a gain lies in [-1, 1]
            found[measure] = (
                statistics.bounded_mean(theirs - ours, 2.0) if rated else statistics.difference(ours, theirs, seed=seed)
            )
    return {**found, "win_rate": statistics.bounded_mean(other.outcomes - judged.outcomes, 1.0)}


def _findings(verdict: Verdict, seed: int) -> dict[str, Any]:
    outcomes = verdict.outcomes
    counts = {name: int((outcomes == worth).sum()) for name, worth in (("wins", 1.0), ("ties", 0.5), ("losses", 0.0))}
    changes = {m: change(m, verdict.measures[m], seed).to_dict() for m in HEADLINES if m in verdict.measures}
    return {**changes, "win_rate": {**statistics.rate(outcomes).to_dict(), **counts}}
