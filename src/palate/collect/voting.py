"""Votes: each is added once and for good; taking one back adds another."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from palate.collect.answers import checked_answers, checked_reason
from palate.collect.asking import DONE, EXPIRED, LEASED, fill
from palate.collect.refusal import Refusal
from palate.collect.study import OpenStudy
from palate.collect.tables import Assignment, Rater, Vote
from palate.core.errors import InputError

Kind = Literal["answer", "skip", "flag"]
LONGEST = 86_400.0
"""Seconds that a vote may have taken; more says that the clock is wrong."""


@dataclass(frozen=True)
class Ballot:
    """What a rater's client sends.

    Attributes:
        uuid: made by the client; the same ballot may be sent again, and counts once.
        assignment: the screen.
        kind: of the vote.
        answers: to every question, of an answer; see `answers.ranks_of`.
        reason: of a skip or a flag.
        seconds: from the first sight of the screen to the vote.
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
        vote: its number.
        new: False where it was there already.
        done: how many screens the rater has answered.
    """

    vote: int
    new: bool
    done: int


def cast(study: OpenStudy, rater_id: int, ballot: Ballot) -> Receipt:
    """Adds a vote, unless it is there.

    Raises:
        Refusal: no such screen of this rater (404), a screen that is answered (409), or an answer that is none (400).
    """
    name = _uuid(ballot.uuid)
    try:
        with study.database.write() as session:
            if before := _sent_before(session, rater_id, name):
                return before
            assignment = session.get(Assignment, ballot.assignment, with_for_update=True)
            if assignment is None or assignment.rater_id != rater_id:
                raise Refusal(404, "this screen is not yours; reload the page")
            if assignment.state == DONE:
                raise Refusal(409, "this screen is answered; undo the answer to change it")
            said = _said(study, ballot, assignment)
            return _add(session, assignment, Vote(uuid=name, kind=ballot.kind, said=said, seconds=_seconds(ballot)))
    except IntegrityError:  # the same ballot came twice at once, and the other one was first
        with study.database.read() as session:
            if before := _sent_before(session, rater_id, name):
                return before
        raise


def undo(study: OpenStudy, rater_id: int, ballot_uuid: str) -> Receipt:
    """Takes the rater's last vote back: adds a vote that supersedes it, and shows its screen again.

    Raises:
        Refusal: there is none to take back (409).
    """
    name = _uuid(ballot_uuid)
    with study.database.write() as session:
        if before := _sent_before(session, rater_id, name):
            return before
        last = session.scalar(standing(rater_id).order_by(Vote.id.desc()).limit(1))
        if last is None:
            raise Refusal(409, "there is no answer to undo")
        assignment = session.get_one(Assignment, last.assignment_id, with_for_update=True)
        if last.kind != "answer":
            fill(session, assignment, 1)
        assignment.state, assignment.until = LEASED, time.time() + study.config.lease
        vote = Vote(uuid=name, kind="undo", said={}, supersedes=last.id)
        return _insert(session, assignment, vote, -1)


def standing(rater_id: int | None = None) -> Any:
    """A query of the votes that count: answers, skips and flags that no other vote supersedes."""
    query = select(Vote).where(Vote.kind != "undo", Vote.id.not_in(_superseded(rater_id)))
    return query if rater_id is None else query.where(Vote.rater_id == rater_id)


def quarantine(study: OpenStudy, name: str, on: bool = True) -> None:
    """Lets a rater's votes count nowhere, or count again; nothing is deleted, and others are asked instead.

    Raises:
        InputError: no such rater.
    """
    with study.database.write() as session:
        rater = session.scalar(select(Rater).where(Rater.name == name))
        if rater is None:
            raise InputError(f"there is no rater named {name!r}")
        if rater.quarantined == on:
            return
        rater.quarantined = False  # so that `fill` counts in both directions
        for assignment in _counted(session, rater.id):
            fill(session, assignment, -1 if on else 1)
        rater.quarantined = on


def _superseded(rater_id: int | None) -> Any:
    query = select(Vote.supersedes).where(Vote.supersedes.is_not(None))
    return query if rater_id is None else query.where(Vote.rater_id == rater_id)


def _counted(session: Session, rater_id: int) -> Sequence[Assignment]:
    """A rater's assignments that their items count: leased ones, and answered ones."""
    answered = standing(rater_id).where(Vote.kind == "answer").with_only_columns(Vote.assignment_id)
    mine = select(Assignment).where(Assignment.rater_id == rater_id, Assignment.repeat == 0)
    return session.scalars(mine.where((Assignment.state == LEASED) | Assignment.id.in_(answered))).all()


def _sent_before(session: Session, rater_id: int, name: str) -> Receipt | None:
    vote = session.scalar(select(Vote).where(Vote.uuid == name))
    if vote is None:
        return None
    if vote.rater_id != rater_id:
        raise Refusal(409, "another vote has this number; reload the page")
    return Receipt(vote.id, False, session.get_one(Rater, rater_id).done)


def _said(study: OpenStudy, ballot: Ballot, assignment: Assignment) -> dict[str, Any]:
    try:
        if ballot.kind == "answer":
            questions = list(study.config.questions)
            ranks = checked_answers(study.config.task, ballot.answers, questions, assignment.order)
            return {"answers": ballot.answers, "ranks": ranks, "order": assignment.order}
        return {"reason": checked_reason(ballot.kind, ballot.reason)}
    except InputError as error:
        raise Refusal(400, str(error)) from error


def _add(session: Session, assignment: Assignment, vote: Vote) -> Receipt:
    counted, counts = assignment.state != EXPIRED, vote.kind == "answer"
    if counted != counts:
        fill(session, assignment, int(counts) - int(counted))
    assignment.state = DONE
    return _insert(session, assignment, vote, 1)


def _insert(session: Session, assignment: Assignment, vote: Vote, done: int) -> Receipt:
    rater = session.get_one(Rater, assignment.rater_id, with_for_update=True, populate_existing=True)
    rater.done += done
    vote.assignment_id, vote.rater_id, vote.item_id = assignment.id, rater.id, assignment.item_id
    vote.created = time.time()
    session.add(vote)
    session.flush()
    return Receipt(vote.id, True, rater.done)


def _seconds(ballot: Ballot) -> float | None:
    return ballot.seconds if ballot.seconds is not None and 0 <= ballot.seconds <= LONGEST else None


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except (ValueError, AttributeError, TypeError) as error:
        raise Refusal(400, "a vote is named by a UUID") from error
