"""Which item to ask next where votes are few: the one whose outcome is least certain."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from palate.collect.config import StudyConfig
from palate.collect.tables import Item, Vote

CANDIDATES = 200
"""Items that are weighed against each other; those with fewest votes."""


def least_certain(session: Session, config: StudyConfig, candidates: Any) -> Item | None:
    """The item with the widest posterior of the share that prefers one image to another.

    With w of v votes for the first image of a pair (a tie is half of one), the share has the posterior
    Beta(1 + w, 1 + v - w), whose variance is `ab / ((a + b)^2 (a + b + 1))`: an item without votes is least certain,
    then one whose votes are split. An item of n images is as certain as its pair that is least so.

    Args:
        config: of the study; the first question decides.
        candidates: a query of the items that may be asked.
    """
    items = session.scalars(candidates.limit(CANDIDATES)).all()
    ranks = defaultdict(list)
    superseded = select(Vote.supersedes).where(Vote.supersedes.is_not(None))
    votes = select(Vote.item_id, Vote.said).where(Vote.item_id.in_([item.id for item in items]), Vote.kind == "answer")
    for item_id, said in session.execute(votes.where(Vote.id.not_in(superseded))):
        ranks[item_id].append(said["ranks"][config.questions[0]])
    return max(items, key=lambda item: (_variance(ranks[item.id], len(item.images)), -item.turn), default=None)


def _variance(votes: list[list[int]], n: int) -> float:
    pairs = [(i, j) for i in range(n) for j in range(i)]
    shares = [sum((1 + _sign(ranks[j] - ranks[i])) / 2 for ranks in votes) for i, j in pairs]
    return max((_beta_variance(1 + won, 1 + len(votes) - won) for won in shares), default=0.0)


def _beta_variance(a: float, b: float) -> float:
    return a * b / ((a + b) ** 2 * (a + b + 1))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
