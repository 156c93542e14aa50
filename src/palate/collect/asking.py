"""What a rater is asked next: leases, balance, mirrored repeats and gold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from palate.collect.adaptive import least_certain
from palate.collect.config import StudyConfig
from palate.collect.secrets import new_handle
from palate.collect.study import OpenStudy
from palate.collect.tables import Assignment, Handle, Image, Item, Rater, Vote
from palate.core.seeds import numpy_generator

LEASED, EXPIRED, DONE = "leased", "expired", "done"
MIRROR_GAP = 5
"""Screens between an item and its mirrored repeat, at least."""
SWEPT = 200
"""Leases that are ended at once."""


@dataclass(frozen=True)
class Shown:
    """One image on a screen: the name that it is fetched by, and its size in pixels."""

    handle: str
    width: int
    height: int


@dataclass(frozen=True)
class Screen:
    """What a rater is shown; nothing here tells which model made what, or whether the screen is a repeat or gold.

    Attributes:
        assignment: what a vote answers.
        prompt: of the images.
        images: [n], by position.
    """

    assignment: int
    prompt: str
    images: tuple[Shown, ...]


def next_screens(study: OpenStudy, rater_id: int, count: int = 2) -> list[Screen]:
    """The screens that a rater has not answered yet, oldest first, filled up with new ones to `count`.

    The same screens come again until they are answered: a tab that was closed loses nothing.

    Args:
        count: the screen to show and those to load ahead.

    Returns:
        Fewer than `count` where there is no more to ask of this rater.
    """
    now = time.time()
    with study.database.write() as session:
        release(session, now)
        rater = session.get_one(Rater, rater_id)
        query = select(Assignment).where(Assignment.rater_id == rater_id, Assignment.state == LEASED)
        open_ones = list(session.scalars(query.order_by(Assignment.id)))[:count]
        for assignment in open_ones:
            assignment.until = now + study.config.lease
        while len(open_ones) < count and (new := _assign(session, study.config, rater, now)):
            open_ones.append(new)
        return [_screen(session, assignment) for assignment in open_ones]


def release(session: Session, now: float) -> None:
    """Ends the leases that ran out, so that others are asked; their raters may still vote."""
    query = select(Assignment).where(Assignment.state == LEASED, Assignment.until < now).limit(SWEPT)
    for assignment in session.scalars(query.with_for_update(skip_locked=True)).all():
        assignment.state = EXPIRED
        fill(session, assignment, -1)


def fill(session: Session, assignment: Assignment, change: int) -> None:
    """Counts a vote or a lease of an item in or out; repeats and quarantined raters count nowhere."""
    if assignment.repeat == 0 and not session.get_one(Rater, assignment.rater_id).quarantined:
        item = session.get_one(Item, assignment.item_id, with_for_update=True, populate_existing=True)
        item.filled += change


def _assign(session: Session, config: StudyConfig, rater: Rater, now: float) -> Assignment | None:
    real = _real(session, config, rater)
    if real is None:
        return None
    seen = session.scalar(select(func.count(Assignment.id)).where(Assignment.rater_id == rater.id)) or 0
    rng = numpy_generator(config.seed, "ask", rater.id, seen)
    drawn = rng.random()
    if drawn < config.mirror and (first := _to_mirror(session, rater)):
        order, item, repeat = first.order[::-1], session.get_one(Item, first.item_id), 1
    else:
        gold = _gold(session, rater) if config.mirror <= drawn < config.mirror + config.gold_share else None
        item, repeat = gold or real, 0
        order = _order(item, rater, rng)
    return _lease(session, config, rater, item, order, repeat, now)


def _lease(
    session: Session, config: StudyConfig, rater: Rater, item: Item, order: Sequence[int], repeat: int, now: float
) -> Assignment:
    key = {"rater_id": rater.id, "item_id": item.id, "repeat": repeat}
    found = session.scalar(select(Assignment).filter_by(**key))  # its lease ran out, and it is free again
    assignment = found or Assignment(**key, order=list(order), created=now, state=LEASED, until=0.0)
    assignment.state, assignment.until = LEASED, now + config.lease
    session.add(assignment)
    session.flush()
    fill(session, assignment, 1)
    if found is None:
        for position, place in enumerate(assignment.order):
            image = item.images[place]
            session.add(Handle(name=new_handle(), assignment_id=assignment.id, image_id=image, position=position))
        if len(order) == 2:
            side = 1 if assignment.order[0] == 0 else -1
            item.left += side
            rater.left += side
        session.flush()
    return assignment


def _real(session: Session, config: StudyConfig, rater: Rater) -> Item | None:
    """The item with fewest votes that this rater has not seen, or the least certain one."""
    seen = select(Assignment.item_id).where(Assignment.rater_id == rater.id, Assignment.state != EXPIRED)
    query = select(Item).where(Item.purpose == "real", Item.filled < config.raters_per_item, Item.id.not_in(seen))
    query = query.order_by(Item.filled, Item.turn).with_for_update(skip_locked=True)
    if config.adaptive:
        return least_certain(session, config, query)
    return session.scalar(query.limit(1))


def _gold(session: Session, rater: Rater) -> Item | None:
    seen = select(Assignment.item_id).where(Assignment.rater_id == rater.id)
    query = select(Item).where(Item.purpose == "gold", Item.id.not_in(seen)).order_by(Item.turn)
    return session.scalar(query.limit(1))


def _to_mirror(session: Session, rater: Rater) -> Assignment | None:
    """An answered assignment of this rater, some screens ago, that was not repeated yet."""
    mine = (Assignment.rater_id == rater.id, Assignment.state == DONE)
    recent = select(Assignment.id).where(*mine).order_by(Assignment.id.desc()).limit(MIRROR_GAP)
    repeated = select(Assignment.item_id).where(Assignment.rater_id == rater.id, Assignment.repeat == 1)
    undone = select(Vote.supersedes).where(Vote.supersedes.is_not(None), Vote.rater_id == rater.id)
    answered = select(Vote.assignment_id).where(
        Vote.rater_id == rater.id, Vote.kind == "answer", Vote.id.not_in(undone)
    )
    query = select(Assignment).join(Item).where(*mine, Item.purpose == "real", Assignment.repeat == 0)
    query = query.where(Assignment.id.not_in(recent), Assignment.item_id.not_in(repeated), Assignment.id.in_(answered))
    return session.scalar(query.order_by(Assignment.id).limit(1))


def _order(item: Item, rater: Rater, rng: np.random.Generator) -> list[int]:
    """Which place is at which position; sides are in balance over a pair's raters, then over a rater's pairs."""
    n = len(item.images)
    if n != 2:
        return rng.permutation(n).tolist()
    lean = item.left or rater.left or (1 if rng.random() < 0.5 else -1)
    return [1, 0] if lean > 0 else [0, 1]


def _screen(session: Session, assignment: Assignment) -> Screen:
    item = session.get_one(Item, assignment.item_id)
    query = select(Handle.name, Image.width, Image.height).join(Image, Image.id == Handle.image_id)
    rows = session.execute(query.where(Handle.assignment_id == assignment.id).order_by(Handle.position)).all()
    return Screen(assignment.id, item.prompt, tuple(Shown(*row) for row in rows))
