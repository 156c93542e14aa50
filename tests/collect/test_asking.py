"""The choice of raters' next screens: each item gets exactly its votes, sides are balanced, no screen is lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import sqrt

import pytest
from collect.database import (
    PLAIN,
    MakeStudy,
    answer_next,
    assigned,
    ballot,
    expire,
    filled,
    miscounted,
    new_uuid,
    ranked,
    rows,
    standing_votes,
)

from palate.collect import asking
from palate.collect.asking import MIRROR_GAP, Screen, next_screens
from palate.collect.refusal import Refusal
from palate.collect.study import OpenStudy
from palate.collect.voting import add_vote, quarantine, undo_vote

VOTES = "SELECT item_id, count(*) FROM vote GROUP BY item_id ORDER BY item_id"


def answered(study: OpenStudy, rater: int) -> Iterator[Screen]:
    """Every screen that a rater is shown, each answered after it was looked at."""
    while screens := next_screens(study, rater):
        yield screens[0]
        add_vote(study, rater, ballot(screens[0].assignment))


def leave_and_return(study: OpenStudy, rater: int, seed: int) -> None:
    """A rater who answers two of three screens; the lease of the third has expired."""
    rng = random.Random(seed)
    while screens := next_screens(study, rater):
        if rng.random() < 1 / 3:
            expire(study, screens[0].assignment)
            next_screens(study, rng.randrange(1, 7))
        else:
            answer_next(study, rater)


def test_every_item_gets_exactly_its_number_of_raters(study):
    study = study(items=5, raters=6, raters_per_item=3, **PLAIN)
    waiting = list(range(1, 7))
    while waiting:
        rater = random.Random(len(waiting)).choice(waiting)
        if answer_next(study, rater) is None:
            waiting.remove(rater)
        assert max(filled(study)) <= 3
    assert rows(study, VOTES) == [(item, 3) for item in range(1, 6)]


def test_with_many_simultaneous_raters_every_item_gets_exactly_its_votes(study):
    study = study(items=8, raters=12, raters_per_item=3, **PLAIN)
    with ThreadPoolExecutor(12) as pool:
        screens = list(pool.map(lambda rater: [each.assignment for each in answered(study, rater)], range(1, 13)))
    assert rows(study, VOTES) == [(item, 3) for item in range(1, 9)]
    assert sum(map(len, screens)) == 24
    assert set(filled(study)) == {3} and not miscounted(study)
    assert all(abs(left) <= 1 for (left,) in rows(study, 'SELECT "left" FROM item'))


def test_every_item_gets_exactly_its_votes_also_while_leases_expire(study):
    study = study(items=6, raters=6, raters_per_item=2, **PLAIN)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda rater: leave_and_return(study, rater, rater), range(1, 7)))
    for rater in range(1, 7):  # the leases that nobody came back to
        expire(study)
        list(answered(study, rater))
    assert rows(study, VOTES) == [(item, 2) for item in range(1, 7)] and not miscounted(study)


def test_simultaneous_raters_cause_no_deadlock(study, tmp_path):
    gold = ranked(tmp_path, "gold", 4, (1, 2))
    study = study(items=8, raters=8, raters_per_item=8, mirror=0.4, gold=gold, gold_share=0.4)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda rater: list(answered(study, rater)), range(1, 9)))
    assert not miscounted(study)
    assert all(abs(left) <= 1 for (left,) in rows(study, """SELECT "left" FROM item WHERE purpose = 'gold'"""))
    if not study.database.is_sqlite:
        assert rows(study, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]


def test_a_rater_waits_while_all_items_are_locked_by_others(study, monkeypatch):
    study = study(items=1, raters=2, **PLAIN)
    if study.database.is_sqlite:
        return  # there the whole database is in one hand
    waits = []
    with study.database.engine.connect() as other:
        other.exec_driver_sql("UPDATE item SET turn = turn")

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                other.commit()

        monkeypatch.setattr(asking.time, "sleep", sleep)
        assert len(next_screens(study, 1)) == 1
    assert waits == [asking.PAUSE] * 3


def test_two_requests_of_one_rater_at_once_get_the_same_screens(study):
    study = study(items=9, raters=1, gold_share=0.0)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            shown = list(pool.map(lambda _: next_screens(study, 1), range(8)))
            assert all(each == shown[0] for each in shown) and len(shown[0]) == 2
            answer_next(study, 1)
    assert rows(study, "SELECT count(*) FROM assignment") == [(2 + 3,)]


def test_a_rater_sees_an_item_once_and_at_most_one_mirrored_repeat_some_screens_later(study):
    study = study(items=30, raters=2, mirror=0.5, gold_share=0.0)
    for rater in (1, 2):
        numbers = [screen.assignment for screen in answered(study, rater)]
        known = assigned(study)
        shown = [known[number] for number in numbers]
        at = {(each.item_id, each.repeat): number for number, each in enumerate(shown)}
        assert len(at) == len(shown) and sum(each.repeat for each in shown) > 8
        for number, each in enumerate(shown):
            if each.repeat:
                first = at[each.item_id, 0]
                assert number - first > MIRROR_GAP and each.order == shown[first].order[::-1]


def test_undone_answers_do_not_count_towards_the_gap_before_a_repeat(study):
    study = study(items=12, raters=1, mirror=0.5, gold_share=0.0)
    for _ in range(3 * MIRROR_GAP):  # one screen, answered and taken back again and again
        answer_next(study, 1)
        undo_vote(study, 1, ballot(1).uuid)
    assert rows(study, "SELECT count(*) FROM assignment WHERE repeat = 1") == [(0,)]


def test_mirrored_repeats_and_gold_have_their_configured_shares(study, tmp_path):
    gold = ranked(tmp_path, "gold", 60, (1, 2))
    study = study(items=60, raters=1, mirror=0.2, gold=gold, gold_share=0.3, raters_per_item=1)
    counts: Counter[str] = Counter()
    n = len(list(answered(study, 1)))
    for purpose, repeat in rows(study, "SELECT purpose, repeat FROM assignment JOIN item ON item.id = item_id"):
        counts["mirror" if repeat else purpose] += 1
    for name, share in (("mirror", 0.2), ("gold", 0.3)):
        assert abs(counts[name] / n - share) < 3 * sqrt(share * (1 - share) / n)
    assert counts["real"] == 60


def test_sides_are_balanced_over_a_pair_and_over_a_rater(study):
    study = study(items=24, raters=5, raters_per_item=5, **PLAIN)
    for number in range(5 * 24):
        answer_next(study, number % 5 + 1)
        assert all(abs(left) <= 1 for (left,) in rows(study, 'SELECT "left" FROM item'))
    for which, most in (("item", 1), ("rater", 6)):
        left: Counter[int] = Counter()
        for each in assigned(study).values():
            left[getattr(each, f"{which}_id")] += 1 if each.order == [0, 1] else -1
        assert sorted(left.items()) == rows(study, f'SELECT id, "left" FROM {which} ORDER BY id')
        assert max(map(abs, left.values())) <= most


def test_a_closed_tab_gets_the_same_screens_again(study):
    study = study()
    shown = next_screens(study, 1)
    assert next_screens(study, 1) == shown == next_screens(study, 1, count=1) + shown[1:]
    assert len(next_screens(study, 1, count=4)) == 4
    assert next_screens(study, 1) == shown


def test_a_rater_who_returns_late_gets_the_same_screens_if_nobody_else_got_them(study):
    study = study(items=3, raters_per_item=2, **PLAIN)
    shown = next_screens(study, 1)
    for screen in next_screens(study, 2, count=3):  # the third item is wanted most
        known = screen.prompt in {each.prompt for each in shown}
        add_vote(study, 2, ballot(screen.assignment) if known else ballot(screen.assignment, "unsure", "skip"))
    expire(study)
    assert next_screens(study, 1) == shown and not miscounted(study)


def test_an_expired_lease_frees_its_item_for_another_rater(study):
    study = study(items=1, raters_per_item=1, **PLAIN)
    (first,) = next_screens(study, 1)
    assert next_screens(study, 2) == []
    expire(study)
    (second,) = next_screens(study, 2)
    assert second.prompt == first.prompt and second.assignment != first.assignment
    assert next_screens(study, 1) == []
    expire(study)
    assert next_screens(study, 3) != []
    add_vote(study, 3, ballot(next_screens(study, 3)[0].assignment, "unsure", "skip"))
    assert next_screens(study, 1) == [first] and not miscounted(study)  # free once more, and the screen as before


def test_repeats_and_gold_with_an_expired_lease_are_shown_again(study, tmp_path):
    study = study(items=40, raters=2, mirror=0.5, gold=ranked(tmp_path, "gold", 9, (1, 2)), gold_share=0.5)
    for _ in range(20):
        answer_next(study, 1)
        expire(study)
        next_screens(study, 2)
    left = "SELECT count(*) FROM assignment JOIN item ON item.id = item_id WHERE rater_id = 1 AND state <> 'done'"
    list(answered(study, 1))
    assert rows(study, f"{left} AND (repeat = 1 OR purpose = 'gold')") == [(0,)] and not miscounted(study)


@pytest.mark.parametrize("task, n", [("best", 4), ("ranking", 3), ("rating", 1)])
def test_screens_of_other_tasks_show_every_image_once_in_a_random_order(study, tmp_path, task, n):
    preferences = ranked(tmp_path, "sets", 12, range(1, max(n, 2) + 1))
    study = study(preferences=preferences, task=task, n=n, raters=2, **PLAIN)
    for rater in (1, 2):
        for screen in next_screens(study, rater, count=12):
            assert len({each.handle for each in screen.images}) == n
    orders = [each.order for each in assigned(study).values()]
    assert all(sorted(order) == list(range(n)) for order in orders)
    assert len(set(map(tuple, orders))) > 3 or n == 1


def test_a_screen_does_not_reveal_the_systems_of_its_images(study):
    study = study()
    text = repr([next_screens(study, rater, 4) for rater in (1, 2, 3)])
    for word in ("base", "tuned", "model of", "real", "gold", ".png", "repeat", str(study.folder)):
        assert word not in text
    handles = [each.handle for screen in next_screens(study, 1, 4) for each in screen.images]
    assert len(set(handles)) == 8 and all(len(handle) == 22 for handle in handles)


@pytest.fixture
def busy(study: MakeStudy, tmp_path) -> OpenStudy:
    """A study with repeats and gold, and with few items."""
    gold = ranked(tmp_path, "gold", 4, (2, 1))
    return study(items=10, raters=6, raters_per_item=2, mirror=0.3, gold=gold, gold_share=0.2)


def act(study: OpenStudy, rng: random.Random, known: dict[int, list[int]]) -> None:
    """A random action of a rater or the owner, which the study may refuse.

    Args:
        known: all screens that each rater was shown; the action may vote on any of them, early, late or twice.
    """
    rater = rng.randint(1, 6)
    weights = {"next": 8, "answer": 8, "skip": 2, "flag": 1, "undo": 3, "expire": 1, "quarantine": 1}
    (what,) = rng.choices(list(weights), list(weights.values()))
    screens = known.setdefault(rater, [])
    if what == "next":
        screens += [screen.assignment for screen in next_screens(study, rater, rng.randint(1, 3))]
    elif what == "expire":
        expire(study)
    elif what == "quarantine":
        quarantine(study, f"rater {rater - 1}", rng.random() < 0.5)
    else:
        said = {"answer": "right", "skip": "unsure", "flag": "unsafe"}.get(what)
        with suppress(Refusal):  # there is nothing to undo, or it is answered
            if what == "undo":
                undo_vote(study, rater, new_uuid())
            elif screens:
                add_vote(study, rater, ballot(rng.choice(screens[-6:]), said, what))


def check(study: OpenStudy) -> None:
    """Checks the invariants that hold at any time."""
    assert not miscounted(study)
    assert min(filled(study)) >= 0
    done = "SELECT rater_id, count(*) FROM assignment WHERE state = 'done' GROUP BY rater_id ORDER BY rater_id"
    assert rows(study, "SELECT id, done FROM rater WHERE done > 0 ORDER BY id") == rows(study, done)
    answered = sorted(vote.assignment_id for vote in standing_votes(study))
    assert answered == [number for number, each in assigned(study).items() if each.state == "done"]


def test_the_stored_count_of_votes_equals_a_recount_after_every_operation(busy):
    rng, known = random.Random(4), {}
    for step in range(400):
        act(busy, rng, known)
        if step % 20 == 0:
            check(busy)
    check(busy)
    assert len(standing_votes(busy)) > 20


def test_the_stored_count_of_votes_equals_a_recount_after_simultaneous_operations(busy):
    def person(seed: int) -> None:
        rng, known = random.Random(seed), {}
        for _ in range(40):
            act(busy, rng, known)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(person, range(10)))
    check(busy)
    if not busy.database.is_sqlite:
        assert rows(busy, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [(0,)]
