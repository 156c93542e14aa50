"""Pairs from ranked sets: all of them, the best image against the worst, or one at random."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Literal, TypeAlias

from palate.core.seeds import numpy_generator
from palate.records.ranked import RankedSet, members_of

PairChoice: TypeAlias = Literal["all", "best-worst", "random"]


def pairs_of(ranked: RankedSet, choice: PairChoice, seed: int) -> Iterator[RankedSet]:
    """Pairs of images with different ranks, each as a set of two; none from a set that is not ranked or is one tie.

    Args:
        ranked: a set of n images.
        choice: `all` gives every ordered pair, `best-worst` one of an image of rank 1 and one of the last rank, and
            `random` one of the ordered pairs.
        seed: of the random choice among pairs; it does not depend on the other sets.
    """
    ranks = ranked.ranks or (1,) * len(ranked.images)
    pairs = [(i, j) for i, j in combinations(range(len(ranks)), 2) if ranks[i] != ranks[j]]
    if choice == "best-worst":
        ends = {1, max(ranks)}
        pairs = [(i, j) for i, j in pairs if {ranks[i], ranks[j]} == ends]
    if choice != "all" and len(pairs) > 1:
        pairs = [pairs[int(numpy_generator(seed, "pair", ranked.key()).integers(len(pairs)))]]
    for pair in pairs:
        yield members_of(ranked, pair)
