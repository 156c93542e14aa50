"""Simulated raters: Bradley-Terry noise on given utilities, ties, and one careless rater among five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SimulatedRater:
    """A simulated rater.

    Args:
        name: the rater's name in votes.
        attention: the share of comparisons that the rater looks at; the other answers are random.
        tie_width: utilities that differ by less than this many temperatures, after noise, are a tie.
    """

    name: str
    attention: float
    tie_width: float


RATERS = (
    SimulatedRater("rater-1", 0.98, 0.4),
    SimulatedRater("rater-2", 0.98, 0.6),
    SimulatedRater("rater-3", 0.98, 0.2),
    SimulatedRater("rater-4", 0.98, 0.6),
    SimulatedRater("careless", 0.3, 0.4),
)


def simulated_ranking(
    utility: Sequence[float], rater: SimulatedRater, rng: np.random.Generator, temperature: float = 1.0
) -> tuple[int, ...]:
    """One rater's ranking of n images of the same prompt.

    Gumbel noise on `utility / temperature` makes each pairwise choice a Bradley-Terry choice,
    `P(a over b) = sigmoid((u_a - u_b) / temperature)`, and a whole ranking a Plackett-Luce one.

    Args:
        utility: of the images [n].
        rater: who ranks them.
        rng: the generator of the rater's noise.
        temperature: the difference of utilities at which the better one is chosen in e of e + 1 cases.

    Returns:
        Ranks [n], 1 is best; ties share a rank, and the ranks have no gaps.
    """
    n = len(utility)
    if rng.random() >= rater.attention:
        return tuple(int(r) for r in rng.permutation(n) + 1)
    felt = np.asarray(utility, float) + temperature * rng.gumbel(size=n)
    order = np.argsort(-felt, kind="stable")
    ranks = np.empty(n, int)
    rank, anchor = 1, felt[order[0]]
    for place in order:
        if anchor - felt[place] > rater.tie_width * temperature:
            rank, anchor = rank + 1, felt[place]
        ranks[place] = rank
    return tuple(ranks.tolist())
