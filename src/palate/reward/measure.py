"""How well scores foretell people's comparisons: accuracy, ties, calibration, rank correlation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, stats

from palate.core.statistics import Estimate, ratio
from palate.records.columns import Rankings

BINS = 10


@dataclass(frozen=True, eq=False)
class Comparisons:
    """M pairs of images that people compared.

    Attributes:
        prompt: the number of each pair's prompt [M].
        margin: the score of the first less that of the second [M].
        label: 1 where the ranking prefers the first, 0 the second, 0.5 a tie [M].
        share: of the raters, how many prefer the first [M]; the label where there are no votes.
    """

    prompt: np.ndarray
    margin: np.ndarray
    label: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, rankings: Rankings, scores: np.ndarray) -> Comparisons:
        """Every pair of ranked sets [S], by scores [S, n] of each set's images; places beyond these are not read."""
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
        """Share of the pairs with a winner that the scores order alike, a tie of scores a half; prompts resampled."""
        won = self.label != 0.5
        agree = (np.sign(self.margin) * np.sign(self.label - 0.5) + 1) / 2
        return self._share(agree, won)

    def agreement(self) -> Estimate:
        """Share of single raters' votes that the scores agree with, ties a half; prompts resampled."""
        return self._share(0.5 + np.sign(self.margin) * (self.share - 0.5), np.ones(len(self), dtype=bool))

    def with_ties(self, threshold: float) -> Estimate:
        """Accuracy that counts ties: margins below a threshold tell a tie; one that is told or true alone is a half.

        Reference: Kirstain et al. 2023 (arXiv:2305.01569), section 4: a point for the same answer, half a point where
        either is a tie, none otherwise.
        """
        return self._share(self._points(threshold), np.ones(len(self), dtype=bool))

    def summary(self, threshold: float | None = None) -> dict[str, Any]:
        """All of these in plain JSON.

        Args:
            threshold: of ties; the best one on these very pairs when left out.
        """
        threshold = self.tie_threshold() if threshold is None else threshold
        found = {"pairs": len(self), "prompts": len(np.unique(self.prompt)), "ties": int((self.label == 0.5).sum())}
        measured: dict[str, Any] = {
            "accuracy": self.accuracy().to_dict(),
            "agreement with votes": self.agreement().to_dict(),
        }
        if threshold is not None:
            measured |= {"tie threshold": threshold, "accuracy with ties": self.with_ties(threshold).to_dict()}
        return {**found, **measured, "calibration": self.calibration()}

    def tie_threshold(self) -> float | None:
        """The threshold with most points; None where nothing ties."""
        if not (self.label == 0.5).any():
            return None
        tried = np.concatenate([[0.0], np.quantile(np.abs(self.margin), np.linspace(0, 1, 101))])
        return float(max(tried, key=lambda threshold: self._points(threshold).mean()))

    def calibration(self) -> dict[str, Any]:
        """Whether `sigmoid(margin)` is the share of people who agree.

        Returns:
            `curve`: for each bin of foretold shares in [0.5, 1], the mean foretold, the mean seen, and how many pairs;
            `error`: the expected calibration error, the mean distance of the two (Guo et al. 2017, arXiv:1706.04599);
            `slope`: what the margins would have to be multiplied by to be calibrated best, 1 if they are.
        """
        foretold = 1 / (1 + np.exp(-np.abs(self.margin)))
        seen = np.where(self.margin >= 0, self.share, 1 - self.share)
        place = np.minimum(((foretold - 0.5) * 2 * BINS).astype(int), BINS - 1)
        curve = [
            {"foretold": float(foretold[here].mean()), "seen": float(seen[here].mean()), "pairs": int(here.sum())}
            for here in (place == number for number in range(BINS))
            if here.any()
        ]
        error = sum(abs(each["foretold"] - each["seen"]) * each["pairs"] for each in curve) / len(self)
        return {"curve": curve, "error": error, "slope": self._slope()}

    def _slope(self) -> float:
        scale = float(np.abs(self.margin).mean()) or 1.0

        def loss(log_slope: float) -> float:
            margin = math.exp(log_slope) * self.margin / scale
            return float((self.share * np.logaddexp(0, -margin) + (1 - self.share) * np.logaddexp(0, margin)).mean())

        found: Any = optimize.minimize_scalar(loss, bounds=(-7, 7), method="bounded")
        return math.exp(found.x) / scale

    def _points(self, threshold: float) -> np.ndarray:
        told = np.where(np.abs(self.margin) < threshold, 0.5, np.sign(self.margin) / 2 + 0.5)
        return 1 - np.abs(told - self.label)

    def _share(self, points: np.ndarray, counted: np.ndarray) -> Estimate:
        sums, counts = (
            np.bincount(self.prompt[counted], weights, minlength=self.prompt.max() + 1)
            for weights in (points[counted], None)
        )
        asked = counts > 0
        found = ratio(counts[asked, None].astype(float), sums[asked, None])
        return Estimate(found.value, found.low, found.high, int(counts.sum()))


def spearman(rankings: Rankings, scores: np.ndarray) -> float:
    """Mean over sets of three images or more of Spearman's correlation of scores [S, n] and ranking; nan for none."""
    found = []
    for number in np.flatnonzero(rankings.told_apart & (rankings.size > 2)):
        rank = rankings.rank[rankings.start[number] : rankings.start[number + 1]]
        score = scores[number, : len(rank)]
        if len(set(score)) > 1:
            found.append(_spearman(score, -rank))
    return float(np.mean(found)) if found else math.nan


def _spearman(first: Any, second: Any) -> float:
    found: Any = stats.spearmanr(first, second)
    return float(found.statistic)


def order_of(score: np.ndarray, grade: np.ndarray, prompt: np.ndarray) -> dict[str, Any]:
    """How well scores [N] order graded images [N], over all of them and within each prompt.

    Returns:
        `spearman` over all; and `pairs` of images of one prompt with different grades, with the `pair accuracy`, a tie
        of scores a half, where there are any.
    """
    found: dict[str, Any] = {}
    if len(set(score)) > 1 and len(set(grade)) > 1:
        found["spearman"] = _spearman(score, grade)
    first, second = np.triu_indices(len(score), 1)
    inside = (prompt[first] == prompt[second]) & (grade[first] != grade[second])
    first, second = first[inside], second[inside]
    if len(first):
        _, place = np.unique(prompt[first], return_inverse=True)
        label = (grade[first] > grade[second]).astype(float)
        pairs = Comparisons(place, score[first] - score[second], label, label)
        found |= {"pairs": len(pairs), "pair accuracy": pairs.accuracy().to_dict()}
    return found
