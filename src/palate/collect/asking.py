"""The choice of a rater's next screens: leases, balance, mirrored repeats and gold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from palate.collect.adaptive import least_certain
from palate.collect.config import StudyConfig
from palate.collect.database_rows import (
    AssignmentRow,
    Base,
    HandleRow,
    ImageRow,
    ItemRow,
    RaterRow,
    VoteRow,
    standing_votes_query,
)
from palate.collect.secrets import new_handle
from palate.collect.study import OpenStudy
from palate.core.seeds import numpy_generator

LEASED, EXPIRED, DONE = "leased", "expired", "done"
MIRROR_GAP = 5
"""The minimum number of screens between an item and its mirrored repeat."""
SWEPT = 200
"""The maximum number of leases that one transaction ends."""
PAUSE = 0.005
"""Seconds before the next attempt when all items are locked by others."""
LOCK: dict[str, Any] = {"key_share": True}
"""How PostgreSQL locks a row that will be changed. All transactions lock a rater first, then assignments, then items,
and rows of one kind in the order of the item's number, so that no deadlock occurs. SQLite has one writer and needs no
locks."""


@dataclass(frozen=True)
class Shown:
    """One image on a screen: the name that it is fetched by, and its size in pixels."""

    handle: str
    width: int
    height: int


@dataclass(frozen=True)
class Screen:
    """A screen for a rater, without the models of the images and without whether the screen is a repeat or gold.

    Attributes:
        assignment: the number of the assignment, which a vote refers to.
        prompt: the prompt of the images.
        images: [n], by position.
    """

    assignment: int
    prompt: str
    images: tuple[Shown, ...]


def next_screens(study: OpenStudy, rater_id: int, count: int = 2) -> list[Screen]:
    """The screens that a rater has not answered yet, filled up with new ones to `count`.

    The same screens are returned until they are answered, so a closed tab loses nothing. Screens whose vote the rater
    took back come first, then the oldest.

    Args:
        count: the number of screens: the one to show and those to load ahead.

    Returns:
        The screens; fewer than `count` where there are no more items for this rater.
    """
    now = time.time()
    _release(study, now, rater_id)
    while True:
        try:
            with study.database.write() as session:
                rater = locked(session, rater_id)
                screens = list(session.scalars(_OPEN, {"me": rater_id, "count": count}))
                if screens:
                    session.execute(_LEASE, [{"number": each, "end": now + study.config.lease} for each in screens])
                new = _assign(session, study.config, rater, now) if len(screens) < count else None
                screens += [new] if new else []
                if new is None or len(screens) == count:
                    return [_screen(session, each) for each in screens]
        except _Busy:
            time.sleep(PAUSE)


def assign_item(session: Session, config: StudyConfig, rater: RaterRow, item: ItemRow, now: float) -> int:
    """Assigns an item to a rater, such as the images of their own prompt; returns the number of the assignment."""
    session.refresh(rater, with_for_update=LOCK)
    order = _order(item, rater, numpy_generator(config.seed, "ask", rater.id, f"item {item.id}"))
    return _lease(session, config, rater, item, order, 0, now)


def locked(session: Session, rater_id: int) -> RaterRow:
    """The row of a rater, locked; all transactions lock it first."""
    return session.scalars(_RATER, {"me": rater_id}).one()


def fill(session: Session, assignment: AssignmentRow, change: int) -> None:
    """Adds a vote or a lease to an item's count, or removes it; repeats and quarantined raters do not count."""
    if assignment.repeat == 0 and not session.get_one(RaterRow, assignment.rater_id).quarantined:
        session.execute(_FILL, {"number": assignment.item_id, "change": change, "side": 0})


class _Busy(Exception):  # noqa: N818  # a reason to wait, not an error
    """All items that could be asked are being assigned to others at the moment."""


def _release(study: OpenStudy, now: float, asking: int) -> None:
    """Ends expired leases, so that others are asked; their raters may still vote.

    The rater who asks keeps their own leases.
    """
    values = {"me": asking, "now": now}
    with study.database.read() as session:
        if session.scalar(_ANY_LATE, values) is None:
            return
    with study.database.write() as session:
        for assignment in session.scalars(_LATE, values).all():
            assignment.state = EXPIRED
            fill(session, assignment, -1)


def _assign(session: Session, config: StudyConfig, rater: RaterRow, now: float) -> int | None:
    if session.scalar(_ANY_FREE, {"me": rater.id, "k": config.raters_per_item}) is None:
        return None
    seen = session.scalar(_COUNT, {"me": rater.id}) or 0
    rng = numpy_generator(config.seed, "ask", rater.id, seen)
    drawn = rng.random()
    if drawn < config.mirror and (first := session.scalar(_TO_MIRROR, {"me": rater.id})):
        item = session.get_one(ItemRow, first.item_id, with_for_update=LOCK)
        return _lease(session, config, rater, item, first.order[::-1], 1, now)
    wanted = config.mirror <= drawn < config.mirror + config.gold_share
    gold = session.scalar(_GOLD, {"me": rater.id}) if wanted else None
    item = gold or _real(session, config, rater)
    return _lease(session, config, rater, item, _order(item, rater, rng), 0, now)


def _lease(
    session: Session, config: StudyConfig, rater: RaterRow, item: ItemRow, order: Sequence[int], repeat: int, now: float
) -> int:
    key, until, side = {"rater_id": rater.id, "item_id": item.id, "repeat": repeat}, now + config.lease, 0
    number = session.scalar(_KNOWN, key)
    if number is not None:  # its lease has expired, so it is free again
        session.execute(_LEASE, {"number": number, "end": until})
    else:
        row = {**key, "order": list(order), "state": LEASED, "until": until, "created": now}
        number = session.execute(_ASSIGN, row).scalar_one()
        shown = [{"assignment_id": number, "image_id": item.images[place]} for place in order]
        session.execute(_SHOW, [{"name": new_handle(), "position": k, **each} for k, each in enumerate(shown)])
        side = 0 if len(order) != 2 else 1 if order[0] == 0 else -1
    counts = repeat == 0 and not rater.quarantined
    session.execute(_FILL, {"number": item.id, "change": int(counts), "side": side})
    session.execute(_LEAN, {"me": rater.id, "side": side})
    return number


def _real(session: Session, config: StudyConfig, rater: RaterRow) -> ItemRow:
    """The item with fewest votes, or the least certain one, that is not being assigned to others at the moment.

    Raises:
        _Busy: there is no other item.
    """
    tries = [_NEXT]
    if config.adaptive:
        free = _free(config.raters_per_item, rater.id)
        tries = [_unlocked(free.where(ItemRow.id == each)) for each in least_certain(session, config, free)]
    for query in tries:
        if item := session.scalar(query, {"me": rater.id, "k": config.raters_per_item}):
            return item
    raise _Busy


def _order(item: ItemRow, rater: RaterRow, rng: np.random.Generator) -> list[int]:
    """The place at each position; sides are balanced over the raters of a pair, then over the pairs of a rater."""
    n = len(item.images)
    if n != 2:
        return rng.permutation(n).tolist()
    lean = item.left or rater.left or (1 if rng.random() < 0.5 else -1)
    return [1, 0] if lean > 0 else [0, 1]


def _screen(session: Session, number: int) -> Screen:
    rows = session.execute(_SCREEN, {"number": number}).all()
    return Screen(number, rows[0].prompt, tuple(Shown(row.name, row.width, row.height) for row in rows))


# Statements are built once, here: building one takes longer than SQLite takes to answer it.

_ME: Any = bindparam("me")
_NUMBER = bindparam("number")
_ITEMS, _RATERS, _ASSIGNMENTS, _HANDLES = (
    Base.metadata.tables[name] for name in ("item", "rater", "assignment", "handle")
)


def _seen(rater: Any, repeat: int = 0) -> Any:
    """A query of the items that a rater has or had on a screen; expired leases do not count."""
    mine = (AssignmentRow.rater_id == rater, AssignmentRow.repeat == repeat, AssignmentRow.state != EXPIRED)
    return select(AssignmentRow.item_id).where(*mine)


def _free(k: Any, rater: Any) -> Any:
    """A query of the items that a rater may be asked, those with fewest votes first."""
    query = select(ItemRow).where(ItemRow.purpose == "real", ItemRow.filled < k)
    return query.where(ItemRow.id.not_in(_seen(rater))).order_by(ItemRow.filled, ItemRow.turn)


def _unlocked(query: Any) -> Any:
    """The first row of a query that nobody else has locked."""
    return query.limit(1).with_for_update(**LOCK, skip_locked=True)


def _open() -> Any:
    """A query of a rater's open screens, those whose vote was taken back first."""
    undone = select(func.max(VoteRow.id)).where(VoteRow.assignment_id == AssignmentRow.id, VoteRow.kind == "undo")
    query = select(AssignmentRow.id).where(AssignmentRow.rater_id == _ME, AssignmentRow.state == LEASED)
    return query.order_by(func.coalesce(undone.scalar_subquery(), 0).desc(), AssignmentRow.id)


def _to_mirror() -> Any:
    """A query of assignments that a rater answered, some screens ago, and that were not repeated yet."""
    votes = standing_votes_query(_ME).with_only_columns(VoteRow.assignment_id)
    recent = votes.order_by(VoteRow.id.desc()).limit(MIRROR_GAP)
    query = select(AssignmentRow).join(ItemRow).where(ItemRow.purpose == "real", AssignmentRow.repeat == 0)
    query = query.where(AssignmentRow.id.in_(votes.where(VoteRow.kind == "answer")), AssignmentRow.id.not_in(recent))
    return query.where(AssignmentRow.item_id.not_in(_seen(_ME, 1))).order_by(AssignmentRow.id)


_LATES = (AssignmentRow.state == LEASED, AssignmentRow.until < bindparam("now"), AssignmentRow.rater_id != _ME)
_ANY_LATE = select(AssignmentRow.id).where(*_LATES).limit(1)
_LATE = select(AssignmentRow).where(*_LATES).order_by(AssignmentRow.item_id).limit(SWEPT)
_LATE = _LATE.with_for_update(**LOCK, skip_locked=True)
_RATER = select(RaterRow).where(RaterRow.id == _ME).with_for_update(**LOCK)
_OPEN = _open().limit(bindparam("count")).with_for_update(**LOCK)
_NEXT = _unlocked(_free(bindparam("k"), _ME))
_ANY_FREE = _free(bindparam("k"), _ME).with_only_columns(ItemRow.id).limit(1)
_GOLD = select(ItemRow).where(ItemRow.purpose == "gold", ItemRow.id.not_in(_seen(_ME))).order_by(ItemRow.turn).limit(1)
_GOLD = _GOLD.with_for_update(**LOCK)
_TO_MIRROR = _to_mirror().limit(1)
_COUNT = select(func.count(AssignmentRow.id)).where(AssignmentRow.rater_id == _ME)
_KNOWN = select(AssignmentRow.id).where(
    *(_ASSIGNMENTS.c[name] == bindparam(name) for name in ("rater_id", "item_id", "repeat"))
)
_SCREEN = select(ItemRow.prompt, HandleRow.name, ImageRow.width, ImageRow.height).select_from(HandleRow)
_SCREEN = _SCREEN.join(AssignmentRow, AssignmentRow.id == HandleRow.assignment_id).join(
    ItemRow, ItemRow.id == AssignmentRow.item_id
)
_SCREEN = _SCREEN.join(ImageRow, ImageRow.id == HandleRow.image_id).where(HandleRow.assignment_id == _NUMBER)
_SCREEN = _SCREEN.order_by(HandleRow.position)
_ASSIGN, _SHOW = _ASSIGNMENTS.insert().returning(_ASSIGNMENTS.c.id), _HANDLES.insert()
_LEASE = update(_ASSIGNMENTS).where(_ASSIGNMENTS.c.id == _NUMBER).values(state=LEASED, until=bindparam("end"))
_FILL = update(_ITEMS).where(_ITEMS.c.id == _NUMBER)
_FILL = _FILL.values(filled=_ITEMS.c.filled + bindparam("change"), left=_ITEMS.c.left + bindparam("side"))
_LEAN = update(_RATERS).where(_RATERS.c.id == _ME).values(left=_RATERS.c.left + bindparam("side"))
