"""Many raters' rankings of one set into one ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from palate.core.errors import InputError
from palate.records.ranked import Vote, rank


def aggregate(votes: Sequence[Vote], n: int) -> tuple[int, ...]:
    """The ranking that votes add up to.

    A pair is a poll with three answers, first, second and tie: the one with most votes wins, and two that draw make a
    tie. More images are ranked by their Borda counts: how often an image stands above another, less how often below,
    over all votes (the same order as by mean rank, tied places averaged).

    Args:
        votes: at least one.
        n: how many images there are.

    Returns:
        Ranks [n], 1 is best, ties share.

    Raises:
        InputError: no votes, or a vote over another number of images.
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
