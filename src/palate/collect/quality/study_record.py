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
    """What is asked, I items of n images.

    Attributes:
        ids, prompt: [I] the item's id, and the number of its prompt.
        prompts: of every number.
        gold, real: [I] whether its answer is known; whether it was asked from the start (a live one was not).
        answer: [I, n] the ranks of gold by place, else zeros.
        images, system: [I, n] ids, and numbers of `systems`, or UNKNOWN.
        systems: names, sorted.
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
        rater, item: [V] numbers of raters and items.
        repeat: [V] whether it is a mirrored repeat.
        seconds: [V], NaN where the client sent none.
        order: [V, n] the place at each position of the screen.
        ranks, stars: of each question [V, n] by place, 1 is best; stars only in a rating.
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
    """A skip or a flag: whose, of which item, and why; `remark` is what was said in words of one's own."""

    rater: int
    item: int
    kind: str
    reason: str
    remark: str


@dataclass(frozen=True)
class Record:
    """A study, read once.

    Attributes:
        raters, quarantined: [R].
        leases: screens that raters who count have before them.
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
        """[V] Answers to screens that are neither gold nor a repeat."""
        return ~self.answers.repeat & ~self.items.gold[self.answers.item]

    @cached_property
    def counted(self) -> np.ndarray:
        """[V] Those of raters who are not quarantined: what every measure of the study rests on."""
        return self.measured & ~self.quarantined[self.answers.rater]

    def heard(self) -> tuple[Aside, ...]:
        """Skips and flags of raters who are not quarantined, on whatever screen: they are messages, not measures."""
        return tuple(each for each in self.asides if not self.quarantined[each.rater])


def read_record(study: OpenStudy) -> Record:
    """Everything that counts, in a few queries."""
    config = study.config
    with study.database.read() as session:
        answers, asides = _votes(session, config)  # first: what a vote points at is never removed
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
    """Answers, a row of numbers each (see `_answers`), and skips and flags as they are stored."""
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
    """Rows are rater, item, repeat, seconds, order, the ranks of each question, and the stars of each in a rating."""
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
