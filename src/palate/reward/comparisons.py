"""Measures how well scores predict people's comparisons: accuracy, ties, calibration, rank correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

from palate.core.statistics import Estimate, grouped_rate, ratio
from palate.records.columns import Rankings

BINS = 10
COMPARED_DIRECTLY = 64  # up to so many images of a prompt, all pairs are compared; more images are sorted


class TieThreshold(NamedTuple):
    """Margins below `value` predict a tie; `chosen_on` names the pairs on which the threshold was chosen."""

    value: float
    chosen_on: str


THESE = "these pairs"  # a threshold that is chosen on the tested pairs themselves makes the scores look better


@dataclass(frozen=True, eq=False)
class Comparisons:
    """M pairs of images that people compared.

    Attributes:
        prompt: the number of each pair's prompt [M].
        margin: the score of the first image minus that of the second [M].
        label: 1 if the ranking prefers the first, 0 if it prefers the second, 0.5 for a tie [M].
        share: the share of the raters who prefer the first [M]; equal to the label if there are no votes.
    """

    prompt: np.ndarray
    margin: np.ndarray
    label: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, rankings: Rankings, scores: np.ndarray) -> Comparisons:
        """Every pair of ranked sets [S], with scores [S, n] of each set's images; unused places are ignored."""
        sets, n = np.arange(len(rankings)), scores.shape[1]
        first, second = np.triu_indices(n, 1)
        label, share = (rankings.shares(sets, n, votes)[:, first, second] for votes in (False, True))
        compared = ~np.isnan(label)
        margin = scores[:, first] - scores[:, second]
        _, prompt = np.unique(rankings.prompt, return_inverse=True)
        of_pair = np.broadcast_to(prompt[:, None], label.shape)
        return cls(*(column[compared] for column in (of_pair, margin, label, share)))

    def __len__(self) -> int:
        return len(self.margin)

    def accuracy(self) -> Estimate:
        """Share of the pairs with a winner that the scores order in the same way; equal scores count as a half.

        The interval resamples prompts.
        """
        won = self.label != 0.5
        agree = (np.sign(self.margin) * np.sign(self.label - 0.5) + 1) / 2
        return self._share(agree, won)

    def agreement(self) -> Estimate:
        """Share of the raters' votes that agree with the scores, ties a half; the interval resamples prompts."""
        return self._share(0.5 + np.sign(self.margin) * (self.share - 0.5), np.ones(len(self), dtype=bool))

    def with_ties(self, threshold: float) -> Estimate:
        """Accuracy with ties: a margin below the threshold predicts a tie; if only one of both is a tie, it is a half.

        Reference: Kirstain et al. 2023 (arXiv:2305.01569), section 4: a point for the same answer, half a point where
        either is a tie, none otherwise.
        """
        return self._share(self._points(threshold), np.ones(len(self), dtype=bool))

    def summary(self, threshold: TieThreshold | None = None) -> dict[str, Any]:
        """All of these numbers in plain JSON; without the accuracy if no pair has a winner.

        Args:
            threshold: the threshold of ties; the best one on these pairs when left out, which the summary reports.
        """
        ties = int((self.label == 0.5).sum())
        found: dict[str, Any] = {"pairs": len(self), "prompts": len(np.unique(self.prompt)), "ties": ties}
        if ties < len(self):
            found["accuracy"] = self.accuracy().to_dict()
        found["agreement with votes"] = self.agreement().to_dict()
        if threshold is None and (best := self.tie_threshold()) is not None:
            threshold = TieThreshold(best, THESE)
        if threshold:
            found |= {"tie threshold": threshold.value, "tie threshold chosen on": threshold.chosen_on}
            found["accuracy with ties"] = self.with_ties(threshold.value).to_dict()
        return {**found, "calibration": self.calibration()}

    def tie_threshold(self) -> float | None:
        """The threshold with the highest accuracy with ties; None if there are no ties."""
        if not (self.label == 0.5).any():
            return None
        margin = np.abs(self.margin)
        above = np.nextafter(margin.max(), math.inf)  # predicts that everything ties
        tried = np.concatenate([[0.0], np.quantile(margin, np.linspace(0, 1, 101)), [above]])
        return float(max(tried, key=lambda threshold: self._points(threshold).mean()))

    def calibration(self) -> dict[str, Any]:
        """Whether `sigmoid(margin)` equals the share of people who agree.

        Returns:
            `curve`: for each bin of predicted shares in [0.5, 1], the mean predicted and observed (`seen`) share, and
            the number of pairs; `error`: the expected calibration error, the mean distance of the two (Guo et al. 2017,
            arXiv:1706.04599); `slope`: the factor of the margins that calibrates them best, 1 if they are calibrated.
        """
        predicted = 1 / (1 + np.exp(-np.abs(self.margin)))
        seen = np.where(self.margin >= 0, self.share, 1 - self.share)
        place = np.minimum(((predicted - 0.5) * 2 * BINS).astype(int), BINS - 1)
        curve = [
            {"predicted": float(predicted[here].mean()), "seen": float(seen[here].mean()), "pairs": int(here.sum())}
            for here in (place == number for number in range(BINS))
            if here.any()
        ]
        error = sum(abs(each["predicted"] - each["seen"]) * each["pairs"] for each in curve) / len(self)
        return {"curve": curve, "error": error, "slope": self._slope()}

    def _slope(self) -> float:
        scale = float(np.abs(self.margin).mean()) or 1.0

        def loss(log_slope: float) -> float:
            margin = math.exp(log_slope) * self.margin / scale
            return float((self.share * np.logaddexp(0, -margin) + (1 - self.share) * np.logaddexp(0, margin)).mean())

        found: Any = optimize.minimize_scalar(loss, bounds=(-7, 7), method="bounded")
        return math.exp(found.x) / scale

    def _points(self, threshold: float) -> np.ndarray:
        predicted = np.where(np.abs(self.margin) < threshold, 0.5, np.sign(self.margin) / 2 + 0.5)
        return 1 - np.abs(predicted - self.label)

    def _share(self, points: np.ndarray, counted: np.ndarray) -> Estimate:
        return grouped_rate(points[counted], self.prompt[counted])


def spearman(rankings: Rankings, scores: np.ndarray) -> float | None:
    """The mean over sets of at least three images of Spearman's correlation of scores [S, n] and ranking.

    Returns:
        None if there are no such sets.
    """
    found = []
    for number in np.flatnonzero(rankings.has_preference & (rankings.size > 2)):
        rank = rankings.rank[rankings.start[number] : rankings.start[number + 1]]
        score = scores[number, : len(rank)]
        if len(set(score)) > 1:
            found.append(_spearman(score, -rank))
    return float(np.mean(found)) if found else None


def _spearman(first: Any, second: Any) -> float:
    found: Any = stats.spearmanr(first, second)
    return float(found.statistic)


def order_of(score: np.ndarray, grade: np.ndarray, prompt: np.ndarray) -> dict[str, Any]:
    """Measures how well scores [N] order graded images [N], over all images and within each prompt.

    Returns:
        `spearman` over all images; and, if there are pairs of images of one prompt with different grades, their number
        `pairs` and the `pair accuracy`, in which equal scores count as a half.
    """
    found: dict[str, Any] = {}
    if len(set(score)) > 1 and len(set(grade)) > 1:
        found["spearman"] = _spearman(score, grade)
    _, place = np.unique(prompt, return_inverse=True)
    ends = np.bincount(place).cumsum()[:-1]
    groups = np.split(np.argsort(place, kind="stable"), ends)
    points, pairs = np.array([_alike(score[each], grade[each]) for each in groups]).T
    if pairs.any():
        compared = pairs > 0
        accuracy = ratio(pairs[compared, None], points[compared, None])
        found |= {"pairs": int(pairs.sum())}
        found["pair accuracy"] = Estimate(accuracy.value, accuracy.low, accuracy.high, int(pairs.sum())).to_dict()
    return found


def _alike(score: np.ndarray, grade: np.ndarray) -> tuple[float, float]:
    """Counts the pairs of N images with different grades that the scores order in the same way; a tie is a half.

    Returns:
        That count, and the number of such pairs; the time is N log N for many images.
    """
    n = len(score)
    pairs = n * (n - 1) / 2 - _tied(grade)
    if not pairs:
        return 0.0, 0.0
    if n <= COMPARED_DIRECTLY:
        signs = (np.sign(each[:, None] - each) for each in (score, grade))
        surplus = np.prod([*signs], axis=0).sum() / 2  # pairs in the same order minus pairs in the opposite order
    else:
        untied = n * (n - 1) / 2 - _tied(score)
        tau: Any = stats.kendalltau(score, grade) if untied else None
        surplus = round(tau.statistic * math.sqrt(pairs) * math.sqrt(untied)) if untied else 0  # by tau-b's definition
    return (pairs + surplus) / 2, pairs


def _tied(values: np.ndarray) -> float:
    """The number of pairs of equal values among N."""
    counts = np.unique(values, return_counts=True)[1].astype(float)
    return float((counts * (counts - 1) / 2).sum())
