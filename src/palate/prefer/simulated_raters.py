"""Simulated raters: Bradley-Terry noise on a stated utility, ties, and one careless rater among five."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SimulatedRater:
    """A simulated rater.

    Args:
        name: how the rater's votes are signed.
        attention: share of comparisons that the rater looks at; the rest are answered by a coin.
        tie_width: utilities closer than this many temperatures, after noise, are called a tie.
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
    """One rater's ranking of n pictures of the same prompt.

    Gumbel noise on `utility / temperature` makes each pairwise choice a Bradley-Terry choice,
    `P(a over b) = sigmoid((u_a - u_b) / temperature)`, and a whole ranking a Plackett-Luce one.

    Args:
        utility: [n] of the pictures.
        rater: who looks.
        rng: drives the rater.
        temperature: the difference of utilities at which the better one is chosen in e of e + 1 cases.

    Returns:
        Ranks [n], 1 is best, ties share a rank and the next rank follows without a gap.
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
