"""Votes add up to the ranking that the raters would recognise."""

from __future__ import annotations

import numpy as np
import pytest

from palate.core.errors import InputError
from palate.prefer.aggregation import aggregate
from palate.records.ranked import Vote, rank


def votes(*ranks: tuple[int, ...]) -> list[Vote]:
    return [Vote(f"rater {i}", each) for i, each in enumerate(ranks)]


A, B, TIE = (1, 2), (2, 1), (1, 1)


@pytest.mark.parametrize(
    "cast, outcome",
    [
        ((A,), A),
        ((A, A, B), A),
        ((A, B), TIE),
        ((A, TIE, TIE), TIE),
        ((A, A, TIE), A),
        ((A, A, TIE, TIE), TIE),
        ((A, A, TIE, B, B), TIE),
        (((5, 9), (1, 2), B), A),
    ],
)
def test_a_pair_is_a_poll_of_three_answers(cast: tuple, outcome: tuple) -> None:
    assert aggregate(votes(*cast), 2) == outcome


def test_three_images_are_ranked_by_borda_count() -> None:
    # Borda, wins less losses: a 2+0+2 = 4, b 0+2-2 = 0, c -2-2+0 = -4
    assert aggregate(votes((1, 2, 3), (2, 1, 3), (1, 3, 2)), 3) == (1, 2, 3)
    # a circle of preferences is a tie
    assert aggregate(votes((1, 2, 3), (2, 3, 1), (3, 1, 2)), 3) == (1, 1, 1)


def test_the_order_is_that_of_the_mean_rank_with_tied_places_averaged() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(3, 7))
        cast = [rank(rng.integers(0, 4, n).tolist()) for _ in range(5)]
        mean = np.mean([[np.mean([sum(o < r for o in v), sum(o <= r for o in v) - 1]) for r in v] for v in cast], 0)
        assert aggregate(votes(*cast), n) == rank([round(float(m), 9) for m in mean])


def test_one_vote_is_the_ranking() -> None:
    assert aggregate(votes((2, 1, 2, 3)), 4) == (2, 1, 2, 3)


def test_no_votes_or_votes_of_another_length_are_refused() -> None:
    with pytest.raises(InputError, match="without votes"):
        aggregate([], 2)
    with pytest.raises(InputError, match="'rater 0' does not match its images: 3 ranks for 2"):
        aggregate(votes((1, 2, 3)), 2)
