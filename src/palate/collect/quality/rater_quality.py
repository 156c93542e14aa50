"""The quality of each rater's answers, and reasons to look at a rater."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from palate.collect.config import Task
from palate.collect.quality.labels import choices, verdicts
from palate.collect.quality.measures import with_majority
from palate.collect.quality.study_record import Record
from palate.core.statistics import Estimate, wilson

LEAST = 20
"""The minimum number of answers for a judgement of a rater's pace, sides, agreement or skips. With pairs, `LEANING`
needs at least 17 of 20 on one side, which happens by chance to fewer than one careful rater in 300."""
FEW = 4
"""The minimum number of gold items or mirrored repeats for a judgement: anybody may make one mistake, or two."""
HASTY = 1.0
"""An answer in less time than this, in seconds, is hasty. People read about four words a second (238 a minute:
Brysbaert 2019, Journal of Memory and Language 109), so in one second nobody reads a prompt and looks at two images."""
LEANING = 0.1
"""A rater leans to a position if the whole interval of its share is more than this above chance. Sides are balanced, so
a rater who looks at the images has no reason to prefer one."""
ALWAYS = 0.95
"""From this share of one position on, the images cannot have mattered; the other answers are taken for mistakes."""
PEOPLE = 0.84
"""How often one person agrees with the majority of nine others on which of two images is better (HPDv2's test set)."""
GOLD = 0.8
"""A rater fails gold if the whole interval of the share is below this. Gold is meant to be easier than the ordinary
pairs of `PEOPLE`."""
APART = 0.15
"""A rater disagrees with the others if the whole interval of their agreement is more than this below the mean of all
raters. It is about half the distance from people, who agree on `PEOPLE` of pairs, to somebody who guesses, who agrees
on 0.5. A different taste alone does not cause so large a difference."""
SKIPPING = 0.3
"""A rater skips often if the share of skips and flags is above this."""


@dataclass(frozen=True)
class RaterQuality:
    """The quality of one rater's answers; unless stated otherwise, of those that are neither gold nor repeats.

    Attributes:
        votes: the number of answers.
        seconds: the median time of an answer.
        hasty: the share, of answers with a known time, that took less than `HASTY`.
        first: the share of answers in which the best image was at the first (left) position, without ties.
        gold: the share of gold items with the known answer, by the first question.
        mirror: the share of mirrored repeats with the same answer by place; stars that differ by one are the same.
        agreement: the share of verdicts that are those of most others; its interval counts screens, not pairs.
        skips, flags: how many there were, on all screens.
        words: the reasons to look at the rater; empty for most.
    """

    name: str
    quarantined: bool
    votes: int
    seconds: float
    hasty: Estimate
    first: Estimate
    gold: Estimate
    mirror: Estimate
    agreement: Estimate
    skips: int
    flags: int
    words: tuple[str, ...]


@dataclass(frozen=True)
class _Shares:
    """[V] what each answer contributes to a measure, NaN where it contributes nothing; `position` is [V, n]."""

    position: np.ndarray
    gold: np.ndarray
    mirror: np.ndarray
    agreed: np.ndarray
    judged: np.ndarray


def raters(record: Record) -> tuple[RaterQuality, ...]:
    """A row for each rater, in the order in which they were added."""
    shares = _Shares(_positions(record), _gold(record), _mirror(record), *_agreement(record))
    counted = record.counted
    usual = _ratio(shares.agreed[counted], shares.judged[counted])
    asides = Counter((each.rater, each.kind) for each in record.asides)
    by_rater = np.argsort(record.answers.rater, kind="stable")
    bounds = np.searchsorted(record.answers.rater[by_rater], np.arange(1, len(record.raters)))
    return tuple(
        _rater(record, shares, number, rows, usual, (asides[number, "skip"], asides[number, "flag"]))
        for number, rows in zip(range(len(record.raters)), np.split(by_rater, bounds))
    )


def _rater(
    record: Record, shares: _Shares, number: int, mine: np.ndarray, usual: float, asides: tuple[int, int]
) -> RaterQuality:
    """One row; `mine` are the numbers of the rater's answers, `asides` the counts of their skips and flags."""
    own = mine[record.measured[mine]]
    position, judged = shares.position[own], own[shares.judged[own] > 0]
    positions = [share(column) for column in position[~np.isnan(position[:, 0])].T]
    seconds = _known(record.answers.seconds[own])
    agreement = _ratio(shares.agreed[judged], shares.judged[judged])
    row = RaterQuality(
        name=record.raters[number],
        quarantined=bool(record.quarantined[number]),
        votes=len(own),
        seconds=float(np.median(seconds)) if len(seconds) else math.nan,
        hasty=share(seconds < HASTY),
        first=positions[0],
        gold=share(_known(shares.gold[mine])),
        mirror=share(_known(shares.mirror[mine])),
        agreement=_binomial(agreement, len(judged)),
        skips=asides[0],
        flags=asides[1],
        words=(),
    )
    return RaterQuality(**{**row.__dict__, "words": tuple(_words(row, record.task, positions, usual))})


def _words(row: RaterQuality, task: Task, positions: list[Estimate], usual: float) -> list[str]:
    """The reasons to look at a rater, by the constants above."""
    words = [_side(number, len(positions), each) for number, each in enumerate(positions)]
    if row.votes >= LEAST and row.seconds < HASTY:
        words.append("fast")
    if row.gold.n >= FEW and row.gold.high < GOLD:
        words.append("fails gold")
    if row.mirror.n >= FEW and row.mirror.high < steady(task, len(positions)):
        words.append("contradicts own answers")
    if row.agreement.n >= LEAST and row.agreement.high < usual - APART:
        words.append("disagrees with the others")
    asides = row.skips + row.flags
    if row.votes + asides >= LEAST and asides > SKIPPING * (row.votes + asides):
        words.append("skips often")
    return [word for word in words if word]


def _side(position: int, n: int, found: Estimate) -> str:
    name = ("left", "right")[position] if n == 2 else f"position {position + 1}"
    if found.n < LEAST:
        return ""
    if found.value >= ALWAYS:
        return f"always {name}"
    return f"leans to {name}" if found.low > 1 / n + LEANING else ""


def steady(task: Task, n: int) -> float:
    """A rater contradicts themselves if the whole interval of the share of equal repeats is below this.

    It is half way between guessing, which gives the same of n images again by chance, and the agreement of `PEOPLE`.
    """
    chance = 1 / n if task == "best" else 0.5
    return (chance + PEOPLE) / 2


def share(values: np.ndarray) -> Estimate:
    """The mean of values [N] in [0, 1] with Wilson's interval."""
    return _binomial(float(values.mean()) if len(values) else math.nan, len(values))


def _binomial(value: float, n: int) -> Estimate:
    return Estimate(value, *(wilson(value, n) if n else (math.nan, math.nan)), n)


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]


def _ratio(some: np.ndarray, every: np.ndarray) -> float:
    return float(some.sum() / every.sum()) if every.sum() else math.nan


def _positions(record: Record) -> np.ndarray:
    """[V, n] The share of an answer's questions whose single best image was at each position; NaN if all were ties."""
    answers = record.answers
    n = answers.order.shape[1]
    if n == 1:
        return np.full(answers.order.shape, np.nan)
    found = [np.take_along_axis(ranks, answers.order, 1) for ranks in answers.ranks.values()]
    chosen = np.sum([choices(ranks)[:, None] == np.arange(n) for ranks in found], 0, float)  # [V, n]
    decided = chosen.sum(1, keepdims=True)
    return np.divide(chosen, decided, out=np.full_like(chosen, np.nan), where=decided > 0)


def _gold(record: Record) -> np.ndarray:
    """[V] Whether a gold item got its known answer; for a ranking, the share of its pairs that did."""
    answers, found = record.answers, np.full(len(record.answers), np.nan)
    rows = np.flatnonzero(record.items.gold[answers.item])
    if not len(rows):
        return found
    known, ranks = record.items.answer[answers.item[rows]], answers.ranks[record.questions[0]][rows]
    if record.task == "best":
        best = np.pad(known == 1, ((0, 0), (0, 1)))  # a tie, n, is never right
        found[rows] = best[np.arange(len(rows)), choices(ranks)]
    else:
        truth = _signs(known)
        found[rows] = ((_signs(ranks) == truth) & (truth != 0)).sum(1) / (truth != 0).sum(1)
    return found


def _mirror(record: Record) -> np.ndarray:
    """[V] The share of a mirrored repeat's answers that are the same as the first time, over all questions."""
    answers, found = record.answers, np.full(len(record.answers), np.nan)
    key = answers.rater * len(record.items.ids) + answers.item
    again, before = np.flatnonzero(answers.repeat), np.flatnonzero(~answers.repeat)
    _, a, b = np.intersect1d(key[again], key[before], return_indices=True)
    again, before = again[a], before[b]
    found[again] = np.mean([_same(record, question, again, before) for question in record.questions], 0)
    return found


def _same(record: Record, question: str, again: np.ndarray, before: np.ndarray) -> np.ndarray:
    answers = record.answers
    if record.task == "rating":
        apart = answers.stars[question][again] - answers.stars[question][before]
        return (np.abs(apart) <= 1).mean(1)  # a guess is within one star in 0.52 of cases; in pairs, 0.5
    first, second = answers.ranks[question][before], answers.ranks[question][again]
    if record.task == "best":
        return (choices(first) == choices(second)).astype(float)
    return (_signs(first) == _signs(second)).mean(1)


def _agreement(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """[V] How many of an answer's verdicts are those of most others, and for how many the others have a majority."""
    agreed, judged = np.zeros(len(record.answers)), np.zeros(len(record.answers))
    for question in record.questions:
        found = verdicts(record, question)
        known, agrees = with_majority(found.unit, found.label, record.counted[found.answer])
        np.add.at(judged, found.answer, known)
        np.add.at(agreed, found.answer, agrees)
    return agreed, judged


def _signs(ranks: np.ndarray) -> np.ndarray:
    """[V, pairs] The better of every two places of ranks [V, n], as a sign."""
    a, b = np.triu_indices(ranks.shape[1], 1)
    return np.sign(ranks[:, b] - ranks[:, a])
