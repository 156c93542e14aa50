"""Combining several raters' rankings of one set into one ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from palate.core.errors import InputError
from palate.records.ranked import Vote, rank


def aggregate(votes: Sequence[Vote], n: int) -> tuple[int, ...]:
    """The ranking that combines votes.

    For a pair, a vote is one of three answers: first, second or tie. The most frequent answer wins; where two answers
    are equally frequent, the result is a tie. More images are ranked by their Borda counts: how often an image is above
    another minus how often it is below, over all votes (the same order as by mean rank, with tied ranks averaged).

    Args:
        votes: at least one.
        n: the number of images.

    Returns:
        Ranks [n], 1 is best, ties share a rank.

    Raises:
        InputError: there are no votes, or a vote is on another number of images.
    """
    if not votes:
        raise InputError("a set without votes cannot be ranked; collect a vote, or leave the set out")
    for vote in votes:
        if len(vote.ranks) != n:
            raise InputError(f"the vote of {vote.rater!r} does not match its images: {len(vote.ranks)} ranks for {n}")
    if n == 2:
        return _poll(votes)
    return rank([-sum(_borda(vote.ranks, image) for vote in votes) for image in range(n)])


def _poll(votes: Sequence[Vote]) -> tuple[int, ...]:
    (answer, most), *others = Counter(rank(vote.ranks) for vote in votes).most_common()
    return (1, 1) if any(count == most for _, count in others) else answer


def _borda(ranks: Sequence[int], image: int) -> int:
    return sum(other > ranks[image] for other in ranks) - sum(other < ranks[image] for other in ranks)
