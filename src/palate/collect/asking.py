"""What a rater is asked next: leases, balance, mirrored repeats and gold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from palate.collect.adaptive import least_certain
from palate.collect.config import StudyConfig
from palate.collect.secrets import new_handle
from palate.collect.study import OpenStudy
from palate.collect.tables import Assignment, Handle, Image, Item, Rater, Vote, standing
from palate.core.seeds import numpy_generator

LEASED, EXPIRED, DONE = "leased", "expired", "done"
MIRROR_GAP = 5
"""Screens between an item and its mirrored repeat, at least."""
SWEPT = 200
"""Leases that are ended at once."""
PAUSE = 0.005
"""Seconds until items are looked for again that were all in other hands."""
LOCK: dict[str, Any] = {"key_share": True}
"""How PostgreSQL locks a row that is to change. Everybody locks a rater first, then assignments, then items, several
of a kind by rising number of the item: so nobody waits in a circle. SQLite has one writer, and needs no locks."""


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
    """The screens that a rater has not answered yet, filled up with new ones to `count`.

    The same screens come again until they are answered: a tab that was closed loses nothing. Those that the rater took
    back come first, then the oldest.

    Args:
        count: the screen to show and those to load ahead.

    Returns:
        Fewer than `count` where there is no more to ask of this rater.
    """
    now = time.time()
    _release(study, now, rater_id)
    while True:
        try:
            with study.database.write() as session:
                rater = session.get_one(Rater, rater_id, with_for_update=LOCK)
                screens = _open(session, rater, count)
                for assignment in screens:
                    assignment.until = now + study.config.lease
                new = _assign(session, study.config, rater, now) if len(screens) < count else None
                screens += [new] if new else []
                if new is None or len(screens) == count:
                    return [_screen(session, each) for each in screens]
        except _Busy:
            time.sleep(PAUSE)


def assign_item(session: Session, config: StudyConfig, rater: Rater, item: Item, now: float) -> Assignment:
    """Gives a rater an item of their own, such as what their prompt made."""
    session.refresh(rater, with_for_update=LOCK)
    order = _order(item, rater, numpy_generator(config.seed, "ask", rater.id, f"item {item.id}"))
    return _lease(session, config, rater, item, order, 0, now)


def fill(session: Session, assignment: Assignment, change: int) -> None:
    """Counts a vote or a lease of an item in or out; repeats and quarantined raters count nowhere."""
    if assignment.repeat == 0 and not session.get_one(Rater, assignment.rater_id).quarantined:
        count = update(Item).where(Item.id == assignment.item_id).values(filled=Item.filled + change)
        session.execute(count.execution_options(synchronize_session=False))


class _Busy(Exception):  # noqa: N818  # it is a wait, not a fault
    """All that could be asked is being assigned to others just now."""


def _release(study: OpenStudy, now: float, asking: int) -> None:
    """Ends the leases that ran out, so that others are asked; their raters may still vote.

    The rater who asks keeps their own: they are back.
    """
    late = select(Assignment).where(Assignment.state == LEASED, Assignment.until < now, Assignment.rater_id != asking)
    with study.database.read() as session:
        if session.scalar(late.limit(1)) is None:
            return
    with study.database.write() as session:
        query = late.order_by(Assignment.item_id).limit(SWEPT)
        for assignment in session.scalars(query.with_for_update(**LOCK, skip_locked=True)).all():
            assignment.state = EXPIRED
            fill(session, assignment, -1)


def _open(session: Session, rater: Rater, count: int) -> list[Assignment]:
    taken_back = select(func.max(Vote.id)).where(Vote.assignment_id == Assignment.id, Vote.kind == "undo")
    query = select(Assignment).where(Assignment.rater_id == rater.id, Assignment.state == LEASED)
    query = query.order_by(func.coalesce(taken_back.scalar_subquery(), 0).desc(), Assignment.id).limit(count)
    return list(session.scalars(query.with_for_update(**LOCK)))


def _assign(session: Session, config: StudyConfig, rater: Rater, now: float) -> Assignment | None:
    free = _free(config, rater)
    if session.scalar(free.with_only_columns(Item.id).limit(1)) is None:
        return None
    seen = session.scalar(select(func.count(Assignment.id)).where(Assignment.rater_id == rater.id)) or 0
    rng = numpy_generator(config.seed, "ask", rater.id, seen)
    drawn = rng.random()
    if drawn < config.mirror and (first := _to_mirror(session, rater)):
        item = session.get_one(Item, first.item_id, with_for_update=LOCK)
        return _lease(session, config, rater, item, first.order[::-1], 1, now)
    gold = _gold(session, rater) if config.mirror <= drawn < config.mirror + config.gold_share else None
    item = gold or _real(session, config, free)
    return _lease(session, config, rater, item, _order(item, rater, rng), 0, now)


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


def _free(config: StudyConfig, rater: Rater) -> Any:
    """A query of the items that this rater may be asked, those with fewest votes first."""
    query = select(Item).where(Item.purpose == "real", Item.filled < config.raters_per_item)
    return query.where(Item.id.not_in(_seen(rater))).order_by(Item.filled, Item.turn)


def _real(session: Session, config: StudyConfig, free: Any) -> Item:
    """The item with fewest votes, or the least certain one, that nobody else is being given just now.

    Raises:
        _Busy: there is none but those.
    """
    if config.adaptive:
        tries = [free.where(Item.id == each) for each in least_certain(session, config, free)]
    else:
        tries = [free.limit(1)]
    for query in tries:
        if item := session.scalar(query.with_for_update(**LOCK, skip_locked=True)):
            return item
    raise _Busy


def _gold(session: Session, rater: Rater) -> Item | None:
    query = select(Item).where(Item.purpose == "gold", Item.id.not_in(_seen(rater))).order_by(Item.turn).limit(1)
    return session.scalar(query.with_for_update(**LOCK))


def _seen(rater: Rater, repeat: int = 0) -> Any:
    """A query of the items that a rater has or had before them; a lease that ran out says nothing."""
    mine = (Assignment.rater_id == rater.id, Assignment.repeat == repeat, Assignment.state != EXPIRED)
    return select(Assignment.item_id).where(*mine)


def _to_mirror(session: Session, rater: Rater) -> Assignment | None:
    """An assignment that this rater answered, some screens ago, and that was not repeated yet."""
    votes = standing(rater.id).with_only_columns(Vote.assignment_id)
    recent = votes.order_by(Vote.id.desc()).limit(MIRROR_GAP)
    query = select(Assignment).join(Item).where(Item.purpose == "real", Assignment.repeat == 0)
    query = query.where(Assignment.id.in_(votes.where(Vote.kind == "answer")), Assignment.id.not_in(recent))
    query = query.where(Assignment.item_id.not_in(_seen(rater, 1)))
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
