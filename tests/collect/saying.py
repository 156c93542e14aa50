"""Raters who give the answers that a test prescribes, in whatever order images are shown."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import select

from palate.collect.asking import next_screens
from palate.collect.database_rows import AssignmentRow, ItemRow, RaterRow
from palate.collect.study import OpenStudy
from palate.collect.voting import VoteRequest, add_vote

Says = Callable[[ItemRow, int, int], Sequence[int] | None]
"""From an item, a rater's number and whether it is a repeat, to ranks by place (stars of a rating); None skips."""


def answer_all(study: OpenStudy, says: Says, raters: Sequence[int] | None = None) -> None:
    """Every rater, or the named ones, answer all their screens."""
    for number, rater in enumerate(ids(study)):
        if raters is None or number in raters:
            while screens := next_screens(study, rater, 1):
                answer(study, number, screens[0].assignment, says)


def answer(study: OpenStudy, number: int, assignment: int, says: Says) -> None:
    """A rater answers one screen."""
    with study.database.read() as session:
        shown = session.get_one(AssignmentRow, assignment)
        item = session.get_one(ItemRow, shown.item_id)
        ranks = says(item, number, shown.repeat)
        if ranks is None:
            ballot = VoteRequest(str(uuid.uuid4()), assignment, "skip", reason="unsure")
        else:
            seen = [int(ranks[place]) for place in shown.order]
            said = {question: spoken(study.config.task, seen) for question in study.config.questions}
            ballot = VoteRequest(str(uuid.uuid4()), assignment, "answer", said, seconds=3.0)
    add_vote(study, shown.rater_id, ballot)


def spoken(task: str, seen: list[int]) -> str | int | list[int]:
    """The answer with these ranks by position; in a rating they are stars."""
    if task == "pairwise":
        return "tie" if seen[0] == seen[1] else "left" if seen[0] < seen[1] else "right"
    if task == "best":
        return seen.index(1) if seen.count(1) == 1 else "tie"
    return seen


def ids(study: OpenStudy) -> list[int]:
    with study.database.read() as session:
        return list(session.scalars(select(RaterRow.id).order_by(RaterRow.id)))


def number_of(item: ItemRow) -> int:
    return int(item.prompt.rsplit(" ", 1)[1])


def first(*_: object) -> Sequence[int]:
    return (1, 2)


def second(*_: object) -> Sequence[int]:
    return (2, 1)
