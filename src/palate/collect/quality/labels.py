"""Answers as labels of units: which image is best, which of two is better, or the rank or stars of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from palate.collect.quality.study_record import UNKNOWN, Record


@dataclass(frozen=True)
class Labels:
    """M labels that measured answers give to units; raters agree where they give a unit one label.

    Attributes:
        answer: [M] the number of the answer that gives the label; of a comparison of two ratings, the first of the two.
        unit: [M] the number of the thing that is labelled; the same for all raters.
        prompt: [M] the number of the unit's prompt.
        label: [M] the label.
    """

    answer: np.ndarray
    unit: np.ndarray
    prompt: np.ndarray
    label: np.ndarray

    def of(self, chosen: np.ndarray) -> Labels:
        """The labels of chosen answers [V]."""
        rows = chosen[self.answer]
        return Labels(self.answer[rows], self.unit[rows], self.prompt[rows], self.label[rows])


@dataclass(frozen=True)
class Compared(Labels):
    """Labels of two images each: 1 where the first is better, -1 where the second is, 0 of a tie.

    Attributes:
        first, second: [M] the systems of the two images, or UNKNOWN.
    """

    first: np.ndarray
    second: np.ndarray


def choices(ranks: np.ndarray) -> np.ndarray:
    """The place [V] of the only image with rank 1 in ranks [V, n]; n for a tie, where several have it."""
    best = ranks == 1
    return np.where(best.sum(1) == 1, best.argmax(1), ranks.shape[1])


def opinions(record: Record, question: str) -> Labels:
    """The labels that alpha is computed from: the best place (or a tie), each image's rank, or its stars."""
    if record.task != "ranking":
        stars = record.answers.stars.get(question)
        ranks = record.answers.ranks[question]
        return _of_items(record, choices(ranks) if stars is None else stars[:, 0])
    rows = np.flatnonzero(record.measured)
    ranks, item = record.answers.ranks[question][rows], record.answers.item[rows]
    n = ranks.shape[1]
    unit = item[:, None] * n + np.arange(n)
    return Labels(np.repeat(rows, n), unit.ravel(), np.repeat(record.items.prompt[item], n), ranks.ravel())


def verdicts(record: Record, question: str) -> Labels:
    """The labels that a majority is computed from: the best place (or a tie), or the better of two images."""
    if record.task in ("pairwise", "best"):
        return _of_items(record, choices(record.answers.ranks[question]))
    return compared(record, question)


def compared(record: Record, question: str) -> Compared:
    """The comparisons of two images that the answers contain.

    A ranking gives all its pairs. In a best of n, images that were not chosen are not compared with each other. A
    rating is compared with the same rater's other ratings of the same prompt.
    """
    rows = np.flatnonzero(record.measured)
    if record.task == "rating":
        return _of_stars(record, rows, record.answers.stars[question][:, 0])
    ranks, item = record.answers.ranks[question][rows], record.answers.item[rows]
    a, b = np.triu_indices(ranks.shape[1], 1)
    sign = np.sign(ranks[:, b] - ranks[:, a])
    said = np.ones_like(sign, bool)
    if record.task == "best":
        said = (sign != 0) | (ranks.max(1, initial=1) == 1)[:, None]
    unit = item[:, None] * len(a) + np.arange(len(a))
    prompt = np.broadcast_to(record.items.prompt[item][:, None], sign.shape)
    answer = np.broadcast_to(rows[:, None], sign.shape)
    systems = record.items.system[item]
    return Compared(answer[said], unit[said], prompt[said], sign[said], systems[:, a][said], systems[:, b][said])


def between_systems(found: Compared) -> np.ndarray:
    """[M] Whether a comparison is between two different systems, both known."""
    return (found.first != UNKNOWN) & (found.second != UNKNOWN) & (found.first != found.second)


def _of_items(record: Record, label: np.ndarray) -> Labels:
    rows = np.flatnonzero(record.measured)
    item = record.answers.item[rows]
    return Labels(rows, item, record.items.prompt[item], label[rows])


def _of_stars(record: Record, rows: np.ndarray, stars: np.ndarray) -> Compared:
    items, rater, item = record.items, record.answers.rater, record.answers.item
    rows = rows[np.lexsort((item[rows], items.prompt[item[rows]], rater[rows]))]
    group = rater[rows] * len(items.prompts) + items.prompt[item[rows]]  # rows of one rater and prompt
    pairs, apart = [], 1
    while (alike := np.flatnonzero(group[apart:] == group[:-apart])).size:
        pairs.append((rows[alike], rows[alike + apart]))
        apart += 1
    a, b = np.concatenate(pairs, 1) if pairs else np.empty((2, 0), int)
    unit, sign = item[a] * len(items.ids) + item[b], np.sign(stars[a] - stars[b])
    return Compared(a, unit, items.prompt[item[a]], sign, items.system[item[a], 0], items.system[item[b], 0])
