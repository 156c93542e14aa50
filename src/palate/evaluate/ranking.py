"""The order of sources of images by score, and whether the difference between neighbours is clear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.core import statistics
from palate.core.statistics import Estimate

if TYPE_CHECKING:
    from palate.records.image_folder import ImageRecord
    from palate.score.base import Scorer

Scores = Mapping[tuple[str, str, str], float]
"""Scores by the source's name, the prompt and the image's file name."""


@dataclass(frozen=True)
class Source:
    """The images of one source that are compared, and counts of what is left out.

    Attributes:
        images: by prompt; all sources have the same prompts in the same order.
        prompts_left_out: the number of its prompts that another source lacks.
        images_left_out: the number of its images of those prompts.
        bad_rows: the number of its images that are missing or broken.
    """

    name: str
    folder: Path
    images: Mapping[str, Sequence[ImageRecord]]
    prompts_left_out: int
    images_left_out: int
    bad_rows: int


@dataclass(frozen=True)
class Placed:
    """A source in the order: its score, and the scores of its images by prompt."""

    source: Source
    score: Estimate
    scores: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Step:
    """The comparison of two neighbours in the order.

    Attributes:
        difference: how much better the one ahead scores, paired by prompt.
        win_rate: the share of prompts at which the one ahead scores better; a tie counts a half.
    """

    ahead: str
    behind: str
    difference: Estimate
    win_rate: Estimate

    @property
    def clear(self) -> bool:
        """Whether the difference's interval excludes zero; with fewer than `ENOUGH` prompts there is none."""
        return self.difference.sign() > 0

    @property
    def word(self) -> str:
        """Whether the step is clear, in words."""
        return self.difference.unknown(self.difference.n) or ("clear" if self.clear else "not clear")


@dataclass(frozen=True)
class Order:
    """The sources, the best one first, and the steps between neighbours."""

    scorer: str
    higher_is_better: bool
    prompts: tuple[str, ...]
    placed: tuple[Placed, ...]
    steps: tuple[Step, ...]


def find_order(scorer: Scorer, sources: Sequence[Source], scores: Scores) -> Order:
    """Orders sources by the mean over prompts of the mean over a prompt's images; equal ones keep the given order."""
    of = {
        s.name: {p: [scores[s.name, p, record.file_name] for record in records] for p, records in s.images.items()}
        for s in sources
    }
    means = {name: np.array([[fmean(values)] for values in prompts.values()]) for name, prompts in of.items()}  # [P, 1]
    sign = 1 if scorer.higher_is_better else -1
    ranked = sorted(sources, key=lambda source: -sign * means[source.name].mean())

    def placed(source: Source) -> Placed:
        images = sum(map(len, source.images.values()))
        return Placed(source, replace(statistics.mean(means[source.name]), n=images), of[source.name])

    def step(ahead: str, behind: str) -> Step:
        outcomes = statistics.contest(sign * means[behind], sign * means[ahead])
        gains = np.where(outcomes == 0.5, 0.0, sign * (means[ahead] - means[behind]))  # float rounding is no gain
        return Step(ahead, behind, statistics.mean(gains), statistics.rate(outcomes))

    steps = tuple(step(ahead.name, behind.name) for ahead, behind in pairwise(ranked))
    return Order(scorer.name, scorer.higher_is_better, tuple(sources[0].images), tuple(map(placed, ranked)), steps)


def summarise_order(order: Order) -> dict[str, Any]:
    """The contents of `summary.json`; estimates are `{"value", "low", "high", "n"}`, null where unknown."""
    left_out = ("prompts_left_out", "images_left_out", "bad_rows")
    return {
        "scorer": order.scorer,
        "higher_is_better": order.higher_is_better,
        "prompts": len(order.prompts),
        "images": sum(each.score.n for each in order.placed),
        "order": [each.source.name for each in order.placed],
        "sources": {
            each.source.name: {
                "place": place,
                "folder": str(each.source.folder),
                "score": each.score.to_dict(),
                "images": each.score.n,
                **{name: getattr(each.source, name) for name in left_out},
            }
            for place, each in enumerate(order.placed, 1)
        },
        "neighbours": [
            {
                "ahead": step.ahead,
                "behind": step.behind,
                "difference": step.difference.to_dict(),
                "win_rate": step.win_rate.to_dict(),
                "clear": step.clear,
                "word": step.word,
            }
            for step in order.steps
        ],
    }
