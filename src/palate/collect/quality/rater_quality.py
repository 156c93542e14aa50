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
"""Answers without which nothing is said of a rater's pace, sides, agreement or skips: 17 of 20 on one side come of
chance alone to fewer than one careful rater in 300, and that is the least that `LEANING` takes of a pair."""
FEW = 4
"""Gold or mirrored repeats without which nothing is said of them: one slip, or two, may befall anybody."""
HASTY = 1.0
"""Seconds. People read some four words a second (238 a minute: Brysbaert 2019, Journal of Memory and Language 109), so
within one nobody has read a prompt and looked at two images."""
LEANING = 0.1
"""How far above chance the whole interval of a position's share must lie; sides are balanced, so that a rater who looks
has no reason to lean."""
ALWAYS = 0.95
"""A share of one position from which on the images cannot have mattered; the rest is slips of the finger."""
PEOPLE = 0.84
"""How often one person agrees with the majority of nine others on which of two images is better (HPDv2's test set)."""
GOLD = 0.8
"""Below this, interval and all, gold is failed: it is meant to be easier than the ordinary pairs of `PEOPLE`."""
APART = 0.15
"""How far below all raters' mean agreement the whole interval of a rater's must lie: half way to a guesser, who agrees
on 0.5 of pairs where people do on `PEOPLE`. A taste of one's own does not go so far."""
SKIPPING = 0.3
"""Share of skips and flags from which on a rater leaves the work to others."""


@dataclass(frozen=True)
class RaterQuality:
    """One rater, by answers that are neither gold nor repeats where nothing else is said.

    Attributes:
        votes: answers.
        seconds: their median.
        hasty: share of those with a time that took less than `HASTY`.
        first: share in which the best image was at the first (left) position, ties left out.
        gold: share of gold that was answered as known, by the first question.
        mirror: share of mirrored repeats with the same answer by place; of stars, one apart is the same.
        agreement: share of verdicts that are those of most others; its interval counts screens, not pairs.
        skips, flags: of all screens.
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
    """[V] what an answer shows, NaN where it shows nothing; `position` is [V, n]."""

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
    """One row; `mine` are the numbers of the rater's answers, `asides` how many skips and flags they gave."""
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
    """The share of repeats below which, interval and all, a rater contradicts themselves.

    Half way from a guesser, who hits on the same of n images again by chance, to how `PEOPLE` repeat each other.
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
    """[V, n] Share of an answer's questions whose one best image was at each position; NaN where all were ties."""
    answers = record.answers
    n = answers.order.shape[1]
    if n == 1:
        return np.full(answers.order.shape, np.nan)
    found = [np.take_along_axis(ranks, answers.order, 1) for ranks in answers.ranks.values()]
    chosen = np.sum([choices(ranks)[:, None] == np.arange(n) for ranks in found], 0, float)  # [V, n]
    decided = chosen.sum(1, keepdims=True)
    return np.divide(chosen, decided, out=np.full_like(chosen, np.nan), where=decided > 0)


def _gold(record: Record) -> np.ndarray:
    """[V] Whether gold was answered as known; of a ranking, the share of its pairs."""
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
    """[V] How much of a mirrored repeat is as it was the first time, over all questions."""
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
        return (np.abs(apart) <= 1).mean(1)  # a guesser is within one of five in 0.52 of cases, as on pairs in 0.5
    first, second = answers.ranks[question][before], answers.ranks[question][again]
    if record.task == "best":
        return (choices(first) == choices(second)).astype(float)
    return (_signs(first) == _signs(second)).mean(1)


def _agreement(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """[V] How many of an answer's verdicts are those of most others, and how many others have a majority on."""
    agreed, judged = np.zeros(len(record.answers)), np.zeros(len(record.answers))
    for question in record.questions:
        found = verdicts(record, question)
        known, agrees = with_majority(found.unit, found.label, record.counted[found.answer])
        np.add.at(judged, found.answer, known)
        np.add.at(agreed, found.answer, agrees)
    return agreed, judged


def _signs(ranks: np.ndarray) -> np.ndarray:
    """[V, pairs] Which of each two places of ranks [V, n] is better."""
    a, b = np.triu_indices(ranks.shape[1], 1)
    return np.sign(ranks[:, b] - ranks[:, a])
