"""The choice of the next item where votes are few: the item whose outcome is least certain."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy.orm import Session

from palate.collect.config import StudyConfig
from palate.collect.database_rows import AssignmentRow, ItemRow, RaterRow, VoteRow, standing_votes_query

CANDIDATES = 50
"""How many items are compared, those with fewest votes; for pairs with four votes this takes 3 ms for each request."""


def least_certain(session: Session, config: StudyConfig, free: Any) -> list[int]:
    """The items that may be asked, in order of the variance of the posterior of the preference share, largest first.

    With w of v votes for the first image of a pair (a tie is half of one), the share has the posterior
    Beta(1 + w, 1 + v - w), whose variance is `ab / ((a + b)^2 (a + b + 1))`: an item without votes is least certain,
    then one whose votes are split. An item of n images is as uncertain as its least certain pair.

    Args:
        config: of the study; the first question decides.
        free: a query of the items that may be asked, those with fewest votes first.

    Returns:
        Their ids, `CANDIDATES` at most.
    """
    items = session.execute(free.with_only_columns(ItemRow.id, ItemRow.filled).limit(CANDIDATES)).all()
    if items and items[0].filled == 0:  # items without votes are the least certain; others need not be read
        return [item.id for item in items]
    ranks = defaultdict(list)
    votes = (
        standing_votes_query()
        .join(AssignmentRow, AssignmentRow.id == VoteRow.assignment_id)
        .join(RaterRow, RaterRow.id == VoteRow.rater_id)
    )
    votes = votes.where(VoteRow.kind == "answer", AssignmentRow.repeat == 0, RaterRow.quarantined.is_(False))
    votes = votes.where(VoteRow.item_id.in_([item.id for item in items]))
    for vote in session.execute(votes.with_only_columns(VoteRow.item_id, VoteRow.said)):
        ranks[vote.item_id].append(vote.said["ranks"][config.questions[0]])
    widest = {item.id: _variance(ranks[item.id], config.per_screen) for item in items}
    return sorted(widest, key=lambda each: -widest[each])  # of equals, those with fewest votes stay first


def _variance(votes: list[list[int]], n: int) -> float:
    pairs = [(i, j) for i in range(n) for j in range(i)]
    shares = [sum((1 + _sign(ranks[j] - ranks[i])) / 2 for ranks in votes) for i, j in pairs]
    return max((_beta_variance(1 + won, 1 + len(votes) - won) for won in shares), default=0.0)


def _beta_variance(a: float, b: float) -> float:
    return a * b / ((a + b) ** 2 * (a + b + 1))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
