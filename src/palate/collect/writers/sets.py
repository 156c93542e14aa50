"""Combines ballots into ranked sets, Palate's own record, from which the other formats are derived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from palate.collect.config import Task
from palate.collect.writers.ballots import BOTH_BAD, Asked, Ballot
from palate.prefer.aggregation import aggregate
from palate.prefer.ratings import Rating, rated_sets
from palate.records.ranked import RankedSet, Vote
from palate.records.tally import Tally


def ranked_sets(asked: Iterable[Asked], task: Task, majority: int, tally: Tally) -> Iterator[RankedSet]:
    """One ranked set for each item, whose votes are the ballots; of ratings one for each prompt (see `rated_sets`).

    Args:
        majority: the fewest votes by which an image wins; with fewer, all images of the set share rank 1.
        tally: counts what the record cannot represent: that a tie meant that all images were bad.
    """
    asked = list(asked)
    for ballot in (ballot for each in asked for ballot in each.ballots):
        if ballot.tie in BOTH_BAD:
            tally.drop("answers that all are bad, kept as ties")
    if task == "rating":
        yield from rated_sets(map(_rating, asked), tally)
        return
    for each in asked:
        votes = tuple(Vote(ballot.rater, ballot.ranks) for ballot in each.ballots)
        ranks = aggregate(votes, len(each.images))
        if _won_by(ranks, each.ballots) < majority and len(set(ranks)) > 1:
            ranks = (1,) * len(ranks)
            tally.drop("sets won by too few votes, made ties")
        yield RankedSet(each.prompt, each.images, ranks, votes, each.systems, each.seeds)


def _won_by(ranks: tuple[int, ...], ballots: Iterable[Ballot]) -> int:
    """How many ballots put the winner alone first; 0 where there is no single winner."""
    if ranks.count(1) > 1:
        return 0
    winner = ranks.index(1)
    return sum(ballot.ranks[winner] == 1 and ballot.ranks.count(1) == 1 for ballot in ballots)


def _rating(asked: Asked) -> Rating:
    """An item of one image."""
    stars = {ballot.rater: float(ballot.stars[0]) for ballot in asked.ballots}
    system, seed = (asked.systems or ("",))[0], (asked.seeds or (None,))[0]
    return Rating(asked.prompt, asked.images[0], stars, system, seed)
