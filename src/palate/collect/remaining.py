"""The work that remains for a rater: the number of screens, the time for each, and why there are none."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median
from typing import Any, Literal

from sqlalchemy import bindparam, case, func, select
from sqlalchemy.orm import Session

from palate.collect.asking import EXPIRED, LEASED, MIRROR_GAP
from palate.collect.config import StudyConfig
from palate.collect.database_rows import AssignmentRow, ItemRow, VoteRow, standing_votes_query
from palate.collect.study import OpenStudy
from palate.core.seeds import numpy_generator

AHEAD = 300
"""How many screens are examined one by one; after them, repeats and gold are counted by their shares."""
RECENT, LEAST = 20, 3
"""The number of last votes from which a rater's pace is computed, and the minimum number of votes for that."""
BREAK = 3.0
"""The maximum time of one vote in the pace, as a multiple of the median; a longer time was an interruption."""

State = Literal["asking", "waiting", "others", "finished"]


@dataclass(frozen=True)
class Remaining:
    """The work that remains for a rater.

    Attributes:
        screens: how many screens the rater will get, including open ones, if nobody else answers in the meantime.
        pace: the rater's seconds for one screen; None while there are too few votes to know it.
        state: `asking` where there are screens; `waiting` where others have the last items on their screens and may
            leave one; `others` where items lack votes that this rater cannot give; `finished` where none are missing.
    """

    screens: int
    pace: float | None
    state: State


def remaining(study: OpenStudy, rater_id: int) -> Remaining:
    """The remaining work of a rater at present; in live mode, the drawings that they have not judged.

    This takes some milliseconds, and 20 more with 50,000 items. So the page requests it only at times, and subtracts
    its own answers in between.
    """
    config = study.config
    values = {"me": rater_id, "k": config.raters_per_item, "now": time.time()}
    with study.database.read() as session:
        own = session.execute(_OWN, values).one()
        free = (session.scalar(_LACKING, values) or 0) - (session.scalar(_LACKING_SEEN, values) or 0)
        screens = own.open + (_to_be_assigned(session, config, rater_id, own, free) if free > 0 else 0)
        pace = _pace(session.scalars(_SECONDS, values))
        return Remaining(screens, pace, "asking" if screens else _state(session, values))


def _state(session: Session, values: dict[str, Any]) -> State:
    if session.scalar(_HELD, values) is not None:
        return "waiting"
    lacking = session.scalar(_LACKING, values) or session.scalar(_ANY_HELD, values)
    return "others" if lacking else "finished"


def _pace(found: Iterable[float | None]) -> float | None:
    seconds = [each for each in found if each is not None]
    if len(seconds) < LEAST:
        return None
    most = BREAK * median(seconds)
    return fmean(min(each, most) for each in seconds)


def _to_be_assigned(session: Session, config: StudyConfig, rater_id: int, own: Any, free: int) -> int:
    """The number of screens until `free` items are asked, computed from the draws of `asking`, which are reproducible.

    A number that is right only on average would increase after each repeat and each gold screen and so reveal them.
    """
    if not config.mirror and not config.gold_share:
        return free
    gold = session.scalar(_GOLD, {"me": rater_id}) or 0
    young = deque(session.scalars(_YOUNG, {"me": rater_id}).all()[::-1])  # for each, whether it may be repeated later
    old = max(0, own.once - own.repeats - sum(young))
    count = 0
    while free > 0 and count < AHEAD:
        while len(young) > MIRROR_GAP + 1:  # the last votes, and the screen that is open when the next one is drawn
            old += young.popleft()
        drawn = _drawn(config.seed, rater_id, own.seen + count)
        count += 1
        if drawn < config.mirror and old > 0:
            old, real = old - 1, 0
        elif config.mirror <= drawn < config.mirror + config.gold_share and gold > 0:
            gold, real = gold - 1, 0
        else:
            free, real = free - 1, 1
        young.append(real)
    draws = free / max(0.01, 1 - config.mirror - config.gold_share)  # on average; no item is repeated twice
    return count + free + min(free, round(config.mirror * draws)) + min(gold, round(config.gold_share * draws))


@lru_cache(maxsize=2**17)
def _drawn(seed: int, rater_id: int, seen: int) -> float:
    """The first number that `asking` draws for the screen after `seen` others."""
    return float(numpy_generator(seed, "ask", rater_id, seen).random())


# Statements are built once, as in `asking`.

_ME: Any = bindparam("me")
_K: Any = bindparam("k")
_IS_REAL = ItemRow.purpose == "real"
_MINE = select(AssignmentRow.item_id).join(ItemRow).where(AssignmentRow.rater_id == _ME)
_ONCE = (AssignmentRow.repeat == 0, AssignmentRow.state != EXPIRED)


def _own() -> Any:
    """A query of a rater's screens: all, those that are open, items that were asked once, and repeats."""

    def counted(*conditions: Any) -> Any:
        both = conditions[0]
        for each in conditions[1:]:
            both = both & each
        return func.coalesce(func.sum(case((both, 1), else_=0)), 0)

    return _MINE.with_only_columns(
        func.count().label("seen"),
        counted(AssignmentRow.state == LEASED).label("open"),
        counted(_IS_REAL, *_ONCE).label("once"),
        counted(AssignmentRow.repeat == 1).label("repeats"),
    )


def _held() -> Any:
    """A query of real items that other raters have open."""
    held = select(AssignmentRow.item_id).join(ItemRow).where(_IS_REAL, AssignmentRow.state == LEASED)
    return held.where(AssignmentRow.until >= bindparam("now"), AssignmentRow.repeat == 0)


_OWN = _own()
_LACKING = select(func.count(ItemRow.id)).where(_IS_REAL, ItemRow.filled < _K)
_LACKING_SEEN = _MINE.with_only_columns(func.count()).where(*_ONCE, _IS_REAL, ItemRow.filled < _K)
_GOLD = select(func.count(ItemRow.id)).where(
    ItemRow.purpose == "gold",
    ItemRow.id.not_in(select(AssignmentRow.item_id).where(AssignmentRow.rater_id == _ME, *_ONCE)),
)
_YOUNG = _MINE.with_only_columns(case(((AssignmentRow.repeat == 0) & _IS_REAL, 1), else_=0))
_YOUNG = _YOUNG.order_by(AssignmentRow.id.desc()).limit(MIRROR_GAP + 1)
_SECONDS = standing_votes_query(_ME).with_only_columns(VoteRow.seconds).order_by(VoteRow.id.desc()).limit(RECENT)
_ANY_HELD = _held().limit(1)
_HELD = _held().where(AssignmentRow.item_id.not_in(_MINE.where(*_ONCE))).limit(1)
