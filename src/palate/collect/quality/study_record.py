"""The contents of a study's database as arrays, from which its quality is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from palate.collect.asking import LEASED
from palate.collect.config import StudyConfig, Task
from palate.collect.database_rows import AssignmentRow, ImageRow, ItemRow, RaterRow, VoteRow, standing_votes_query
from palate.collect.study import OpenStudy

UNKNOWN = -1
"""The number of a system that has no name."""


@dataclass(frozen=True)
class Items:
    """The I items of a study, each of n images.

    Attributes:
        ids, prompt: [I] the item's id, and the number of its prompt.
        prompts: the text of each numbered prompt.
        gold, real: [I] whether its answer is known; whether it was there from the start (a live item was not).
        answer: [I, n] the known ranks of a gold item by place, else zeros.
        images, system: [I, n] the images' ids, and the numbers of their systems in `systems`, or UNKNOWN.
        systems: the names of the systems, sorted.
    """

    ids: np.ndarray
    prompt: np.ndarray
    prompts: tuple[str, ...]
    gold: np.ndarray
    real: np.ndarray
    answer: np.ndarray
    images: np.ndarray
    system: np.ndarray
    systems: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """V answers that no other vote supersedes.

    Attributes:
        rater, item: [V] the numbers of its rater and item.
        repeat: [V] whether its screen was a mirrored repeat.
        seconds: [V] the time it took, NaN where the client sent none.
        order: [V, n] the place at each position of the screen.
        ranks, stars: for each question, [V, n] by place; rank 1 is best, and only ratings have stars.
    """

    rater: np.ndarray
    item: np.ndarray
    repeat: np.ndarray
    seconds: np.ndarray
    order: np.ndarray
    ranks: Mapping[str, np.ndarray]
    stars: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.rater)


@dataclass(frozen=True)
class Aside:
    """A skip or a flag: its rater, item and reason; `remark` is what the rater typed, if anything."""

    rater: int
    item: int
    kind: str
    reason: str
    remark: str


@dataclass(frozen=True)
class Record:
    """The contents of a study at one moment.

    Attributes:
        raters, quarantined: [R] each rater's name, and whether they are quarantined.
        leases: the number of screens that raters who count have open.
    """

    task: Task
    questions: tuple[str, ...]
    raters_per_item: int
    seed: int
    raters: tuple[str, ...]
    quarantined: np.ndarray
    items: Items
    answers: Answers
    asides: tuple[Aside, ...]
    leases: int

    @cached_property
    def measured(self) -> np.ndarray:
        """[V] Whether an answer's screen is neither gold nor a repeat."""
        return ~self.answers.repeat & ~self.items.gold[self.answers.item]

    @cached_property
    def counted(self) -> np.ndarray:
        """[V] Whether it is also of a rater who is not quarantined: these count in every measure of the study."""
        return self.measured & ~self.quarantined[self.answers.rater]

    def heard(self) -> tuple[Aside, ...]:
        """The skips and flags of raters who are not quarantined, on any screen, gold and repeats too."""
        return tuple(each for each in self.asides if not self.quarantined[each.rater])


def read_record(study: OpenStudy) -> Record:
    """Reads everything that the measures need, in a few queries."""
    config = study.config
    with study.database.read() as session:
        answers, asides = _votes(session, config)  # read first: the items and raters of a vote are never removed
        people = session.execute(select(RaterRow.id, RaterRow.name, RaterRow.quarantined).order_by(RaterRow.id)).all()
        items = _items(session, config.per_screen)
        leased = select(func.count(AssignmentRow.id)).join(RaterRow, RaterRow.id == AssignmentRow.rater_id)
        live = (AssignmentRow.state == LEASED, AssignmentRow.until >= time.time(), RaterRow.quarantined.is_(False))
        leases = session.scalar(leased.where(*live)) or 0
    raters = np.array([row.id for row in people], int)
    return Record(
        config.task,
        config.questions,
        config.raters_per_item,
        config.seed,
        tuple(row.name for row in people),
        np.array([row.quarantined for row in people], bool),
        items,
        _answers(config, answers, raters, items.ids),
        tuple(_aside(row, raters, items.ids) for row in asides),
        leases,
    )


def _votes(session: Session, config: StudyConfig) -> tuple[list[tuple[float, ...]], list[Any]]:
    """The answers, one row of numbers each (see `_answers`), and the skips and flags as they are stored."""
    query = standing_votes_query().join(AssignmentRow, AssignmentRow.id == VoteRow.assignment_id).order_by(VoteRow.id)
    columns = (VoteRow.rater_id, VoteRow.item_id, VoteRow.kind, VoteRow.said, VoteRow.seconds, AssignmentRow.repeat)
    answers, asides = [], []
    columns_of = [("ranks", question) for question in config.questions]
    columns_of += [("answers", question) for question in config.questions if config.task == "rating"]
    for row in session.execute(query.with_only_columns(*columns).execution_options(yield_per=1000)):
        if row.kind != "answer":
            asides.append(row)
            continue
        numbers = [number for what, question in columns_of for number in row.said[what][question]]
        seconds = math.nan if row.seconds is None else row.seconds
        answers.append((row.rater_id, row.item_id, row.repeat, seconds, *row.said["order"], *numbers))
    return answers, asides


def _answers(config: StudyConfig, rows: list[tuple[float, ...]], raters: np.ndarray, items: np.ndarray) -> Answers:
    """A row has rater, item, repeat, seconds, order, the ranks of each question, and in a rating the stars of each."""
    n, questions = config.per_screen, config.questions
    rated = questions if config.task == "rating" else ()
    table = np.array(rows, float).reshape(len(rows), 4 + n * (1 + len(questions) + len(rated)))
    rater, item, repeat, seconds = table[:, :4].T
    order, *parts = np.split(table[:, 4:].astype(int), 1 + len(questions) + len(rated), 1)
    stars = [np.take_along_axis(each, np.argsort(order, 1), 1) for each in parts[len(questions) :]]
    return Answers(
        rater=np.searchsorted(raters, rater),
        item=np.searchsorted(items, item),
        repeat=repeat > 0,
        seconds=seconds,
        order=order,
        ranks=dict(zip(questions, parts)),
        stars=dict(zip(rated, stars)),
    )


def _aside(row: Any, raters: np.ndarray, items: np.ndarray) -> Aside:
    reason, _, remark = row.said["reason"].partition(":")
    rater, item = int(np.searchsorted(raters, row.rater_id)), int(np.searchsorted(items, row.item_id))
    return Aside(rater, item, row.kind, reason, remark.strip())


def _items(session: Session, n: int) -> Items:
    columns = (ItemRow.id, ItemRow.purpose, ItemRow.prompt, ItemRow.images, ItemRow.answer)
    rows = session.execute(select(*columns).order_by(ItemRow.id)).all()
    made_by = {row.id: row.system for row in session.execute(select(ImageRow.id, ImageRow.system))}
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
    systems = {name: number for number, name in enumerate(sorted(set(made_by.values()) - {""}))}
    images = np.array([row.images for row in rows], int).reshape(-1, n)
    system = np.array([systems.get(made_by[each], UNKNOWN) for each in images.ravel().tolist()], int)
    return Items(
        ids=np.array([row.id for row in rows], int),
        prompt=np.array([prompts[row.prompt] for row in rows], int),
        prompts=tuple(prompts),
        gold=np.array([row.purpose == "gold" for row in rows], bool),
        real=np.array([row.purpose == "real" for row in rows], bool),
        answer=np.array([row.answer or [0] * n for row in rows], int).reshape(-1, n),
        images=images,
        system=system.reshape(-1, n),
        systems=tuple(systems),
    )
