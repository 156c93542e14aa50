"""Votes: each is added once and never changed; taking a vote back adds another vote."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from palate.collect.answers import checked_answers, checked_reason
from palate.collect.asking import DONE, EXPIRED, LEASED, LOCK, fill, locked
from palate.collect.database_rows import AssignmentRow, Base, RaterRow, VoteRow, standing_votes_query
from palate.collect.refusal import Refusal
from palate.collect.study import OpenStudy
from palate.core.errors import InputError

Kind = Literal["answer", "skip", "flag"]
LONGEST = 86_400.0
"""The maximum number of seconds for one vote; a greater value means that the clock is wrong."""
TAKEN = "another vote has this number; reload the page"


@dataclass(frozen=True)
class VoteRequest:
    """A vote as a rater's client sends it.

    Attributes:
        uuid: chosen by the client; the same vote may be sent again, and counts once.
        assignment: the number of the screen.
        kind: `answer`, `skip` or `flag`.
        answers: in an answer, one for every question; see `answers.ranks_of_answer`.
        reason: the reason of a skip or a flag.
        seconds: the time between the first display of the screen and the vote.
    """

    uuid: str
    assignment: int
    kind: Kind
    answers: dict[str, Any] | None = None
    reason: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Receipt:
    """A vote that is on disk.

    Attributes:
        vote: the number of the vote.
        new: False where the vote was there already.
        done: how many screens the rater has answered.
    """

    vote: int
    new: bool
    done: int


def add_vote(study: OpenStudy, rater_id: int, ballot: VoteRequest) -> Receipt:
    """Adds a vote, unless it is there already.

    Raises:
        Refusal: the rater has no such screen (404), the screen is answered already or another vote has the UUID (409),
            or the answer is not valid (400).
    """
    name = _uuid(ballot.uuid)
    try:
        with study.database.write() as session:
            rater = locked(session, rater_id)
            assignment = _own(session, rater, ballot.assignment)
            said = _said(study, ballot, assignment)
            vote = {"uuid": name, "kind": ballot.kind, "said": said, "seconds": _seconds(ballot)}
            if before := _sent_before(session, rater, assignment, vote):
                return before
            if assignment.state == DONE:
                raise Refusal(409, "this screen is answered; undo the answer to change it")
            return _add(session, rater, assignment, vote)
    except IntegrityError as error:  # two raters sent it at once
        raise Refusal(409, TAKEN) from error


def undo_vote(study: OpenStudy, rater_id: int, ballot_uuid: str, vote_uuid: str | None = None) -> Receipt:
    """Takes a vote of the rater back: adds a vote that supersedes it, and shows its screen again.

    A screen that was skipped may have been given to another rater in the meantime; then its item has one more vote than
    necessary.

    Args:
        ballot_uuid: chosen by the client; the same undo may be sent again, and has no further effect.
        vote_uuid: the UUID of the vote to take back; when left out, the rater's last vote, also from another tab.

    Raises:
        Refusal: there is no vote to take back, or another vote has the UUID (409).
    """
    name, of = _uuid(ballot_uuid), vote_uuid and _uuid(vote_uuid)
    try:
        with study.database.write() as session:
            rater = locked(session, rater_id)
            vote = {"uuid": name, "kind": "undo", "said": {"of": of} if of else {}}
            if before := _sent_before(session, rater, None, vote):
                return before
            query, about = (_THAT, {"me": rater_id, "name": of}) if of else (_LAST, {"me": rater_id})
            last = session.scalar(query, about)
            if last is None:
                raise Refusal(409, "there is no answer to undo")
            assignment = session.get_one(AssignmentRow, last.assignment_id, with_for_update=LOCK)
            if last.kind != "answer":
                fill(session, assignment, 1)
            until = time.time() + study.config.lease
            session.execute(_STATE, {"number": assignment.id, "to": LEASED, "end": until})
            return _insert(session, rater, assignment, {**vote, "supersedes": last.id}, -1)
    except IntegrityError as error:  # two raters sent it at once
        raise Refusal(409, TAKEN) from error


def quarantine(study: OpenStudy, name: str, on: bool = True) -> None:
    """Makes a rater's votes not count, or count again; nothing is deleted, and others are asked instead.

    Raises:
        InputError: there is no such rater.
    """
    with study.database.write() as session:
        rater = session.scalar(select(RaterRow).where(RaterRow.name == name).with_for_update(**LOCK))
        if rater is None:
            raise InputError(f"there is no rater named {name!r}")
        if rater.quarantined == on:
            return
        rater.quarantined = False  # so that `fill` counts in both directions
        for assignment in _counted(session, rater.id):
            fill(session, assignment, -1 if on else 1)
        rater.quarantined = on


def _counted(session: Session, rater_id: int) -> Sequence[AssignmentRow]:
    """The assignments of a rater that count for their items: leased and answered ones."""
    answered = standing_votes_query(rater_id).where(VoteRow.kind == "answer").with_only_columns(VoteRow.assignment_id)
    mine = select(AssignmentRow).where(AssignmentRow.rater_id == rater_id, AssignmentRow.repeat == 0)
    mine = mine.where((AssignmentRow.state == LEASED) | AssignmentRow.id.in_(answered)).order_by(AssignmentRow.item_id)
    return session.scalars(mine.with_for_update(**LOCK)).all()


def _own(session: Session, rater: RaterRow, number: int) -> AssignmentRow:
    sound = isinstance(number, int) and 0 < number < 2**63  # the range of a number in the database
    assignment = session.scalar(_ASSIGNMENT, {"number": number}) if sound else None
    if assignment is None or assignment.rater_id != rater.id:
        raise Refusal(404, "this screen is not yours; reload the page")
    return assignment


def _sent_before(
    session: Session, rater: RaterRow, assignment: AssignmentRow | None, vote: dict[str, Any]
) -> Receipt | None:
    """The receipt of a vote that is there already; None where it is not.

    Raises:
        Refusal: the UUID belongs to a vote with other contents (409).
    """
    before = session.scalar(_NAMED, {"name": vote["uuid"]})
    if before is None:
        return None
    same = (before.rater_id, before.kind, before.said) == (rater.id, vote["kind"], vote["said"])
    if not same or (assignment and assignment.id != before.assignment_id):
        raise Refusal(409, TAKEN)
    return Receipt(before.id, False, rater.done)


def _said(study: OpenStudy, ballot: VoteRequest, assignment: AssignmentRow) -> dict[str, Any]:
    try:
        if ballot.kind == "answer":
            questions = list(study.config.questions)
            ranks = checked_answers(study.config.task, ballot.answers, questions, assignment.order)
            return {"answers": ballot.answers, "ranks": ranks, "order": assignment.order}
        return {"reason": checked_reason(ballot.kind, ballot.reason)}
    except InputError as error:
        raise Refusal(400, str(error)) from error


def _add(session: Session, rater: RaterRow, assignment: AssignmentRow, vote: dict[str, Any]) -> Receipt:
    counted, counts = assignment.state != EXPIRED, vote["kind"] == "answer"
    if counted != counts:
        fill(session, assignment, int(counts) - int(counted))
    session.execute(_STATE, {"number": assignment.id, "to": DONE, "end": assignment.until})
    return _insert(session, rater, assignment, vote, 1)


def _insert(session: Session, rater: RaterRow, assignment: AssignmentRow, vote: dict[str, Any], done: int) -> Receipt:
    keys = {"assignment_id": assignment.id, "rater_id": rater.id, "item_id": assignment.item_id}
    row = {"seconds": None, "supersedes": None, **vote, **keys, "created": time.time()}
    number = session.execute(_VOTE, row).scalar_one()
    session.execute(_DONE, {"me": rater.id, "change": done})
    return Receipt(number, True, rater.done + done)


def _seconds(ballot: VoteRequest) -> float | None:
    return ballot.seconds if isinstance(ballot.seconds, int | float) and 0 <= ballot.seconds <= LONGEST else None


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise Refusal(400, "a vote is named by a UUID") from error


# Statements are built once, as in `asking`.

_VOTES, _ASSIGNMENTS, _RATERS = (Base.metadata.tables[name] for name in ("vote", "assignment", "rater"))
_NAMED = select(VoteRow).where(VoteRow.uuid == bindparam("name"))
_ME: Any = bindparam("me")
_LAST = standing_votes_query(_ME).order_by(VoteRow.id.desc()).limit(1)
_THAT = standing_votes_query(_ME).where(VoteRow.uuid == bindparam("name"))
_ASSIGNMENT = select(AssignmentRow).where(AssignmentRow.id == bindparam("number")).with_for_update(**LOCK)
_VOTE = _VOTES.insert().returning(_VOTES.c.id)
_STATE = update(_ASSIGNMENTS).where(_ASSIGNMENTS.c.id == bindparam("number"))
_STATE = _STATE.values(state=bindparam("to"), until=bindparam("end"))
_DONE = update(_RATERS).where(_RATERS.c.id == _ME).values(done=_RATERS.c.done + bindparam("change"))
