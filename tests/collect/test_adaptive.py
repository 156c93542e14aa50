"""Adaptive studies: the next item is the one whose outcome is least certain."""

from __future__ import annotations

import pytest
from collect.database import answer_next, ballot, ranked, rows
from sqlalchemy import event, select

from palate.collect.adaptive import CANDIDATES, least_certain
from palate.collect.asking import next_screens
from palate.collect.database_rows import ItemRow
from palate.collect.study import OpenStudy
from palate.collect.voting import add_vote, quarantine

PLAIN = {"mirror": 0.0, "gold_share": 0.0, "raters_per_item": 9}


def ask(study: OpenStudy) -> list[str]:
    """The prompts of the items, the least certain one first."""
    with study.database.read() as session:
        free = select(ItemRow).order_by(ItemRow.filled, ItemRow.turn)
        return [session.get_one(ItemRow, number).prompt for number in least_certain(session, study.config, free)]


def vote(study: OpenStudy, rater: int, prefer: dict[str, str]) -> None:
    """A rater answers every screen, for the system named of each prompt."""
    systems = dict(rows(study, "SELECT handle.name, system FROM handle JOIN image ON image.id = image_id"))
    while screens := next_screens(study, rater, 1):
        systems |= dict(rows(study, "SELECT handle.name, system FROM handle JOIN image ON image.id = image_id"))
        said = prefer[screens[0].prompt]
        left = systems[screens[0].images[0].handle]
        answer = said if said == "tie" else "left" if left == said else "right"
        add_vote(study, rater, ballot(screens[0].assignment, answer))


def test_an_item_without_votes_comes_first_then_one_whose_votes_are_split(study):
    study = study(items=3, raters=3, **PLAIN)
    everyone = {"prompt 0": "base", "prompt 1": "base", "prompt 2": "base"}
    vote(study, 1, everyone)
    vote(study, 2, everyone | {"prompt 1": "tuned"})
    vote(study, 3, everyone | {"prompt 1": "tuned", "prompt 2": "tie"})
    # shares of 3 votes: 3, 1 and 2.5; Beta(4, 1), Beta(2, 3) and Beta(3.5, 1.5) have variances 0.027, 0.04 and 0.035
    assert ask(study) == ["prompt 1", "prompt 2", "prompt 0"]


def test_the_next_screen_is_the_least_certain_one(study):
    study = study(items=3, raters=4, adaptive=True, **PLAIN)
    everyone = {"prompt 0": "base", "prompt 1": "base", "prompt 2": "base"}
    vote(study, 1, everyone)
    vote(study, 2, everyone | {"prompt 2": "tuned"})
    (screen,) = next_screens(study, 3, 1)
    assert screen.prompt == "prompt 2"


def test_votes_that_do_not_count_do_not_change_the_uncertainty(study):
    study = study(items=2, raters=3, mirror=0.5, gold_share=0.0, raters_per_item=9)
    vote(study, 1, {"prompt 0": "base", "prompt 1": "tuned"})
    vote(study, 2, {"prompt 0": "base", "prompt 1": "base"})
    assert ask(study)[0] == "prompt 1"
    vote(study, 3, {"prompt 0": "tuned", "prompt 1": "tuned"})
    quarantine(study, "rater 2")
    assert ask(study)[0] == "prompt 1"
    quarantine(study, "rater 0")
    assert {count for (count,) in rows(study, "SELECT filled FROM item")} == {1}
    quarantine(study, "rater 1")
    assert len(ask(study)) == 2  # no vote is left that counts


@pytest.mark.parametrize("task, n, answer", [("best", 3, 0), ("ranking", 3, [1, 1, 2]), ("rating", 1, [4])])
def test_every_task_can_be_adaptive(study, tmp_path, task, n, answer):
    preferences = ranked(tmp_path, "sets", 4, range(1, max(n, 2) + 1))
    study = study(preferences=preferences, task=task, n=n, adaptive=True, mirror=0.0)
    for rater in (1, 2, 3):
        while answer_next(study, rater, answer):
            pass
    asked = 4 if task != "rating" else 8
    assert rows(study, "SELECT count(*) FROM vote") == [(3 * asked,)]


def test_the_uncertainty_of_the_candidates_is_computed_with_two_queries(study):
    study = study(items=CANDIDATES + 10, raters=1, **PLAIN)
    while answer_next(study, 1):
        pass
    queries: list[str] = []
    event.listen(study.database.engine, "before_cursor_execute", lambda *about: queries.append(about[2]))
    with study.database.read() as session:
        assert (
            len(least_certain(session, study.config, select(ItemRow).order_by(ItemRow.filled, ItemRow.turn)))
            == CANDIDATES
        )
    assert len([query for query in queries if query.startswith("SELECT")]) == 2
