"""Votes: each counts once, none is changed, and an item's count equals its votes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from collect.database import (
    PLAIN,
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

from palate.collect.asking import EXPIRED, fill, next_screens
from palate.collect.database_rows import AssignmentRow
from palate.collect.refusal import Refusal
from palate.collect.study import OpenStudy
from palate.collect.voting import LONGEST, add_vote, quarantine, undo_vote
from palate.core.errors import InputError


def refused(status: int, words: str, call: Callable[..., object], *about: object) -> None:
    with pytest.raises(Refusal, match=words) as caught:
        call(*about)
    assert caught.value.status == status


def first(study: OpenStudy, rater: int) -> int:
    return next_screens(study, rater)[0].assignment


def test_a_vote_stores_the_answer_and_its_ranks_by_place(study):
    study = study(questions=("general", "appeal"))
    number = first(study, 1)
    answers = {"general": "left", "appeal": "tie"}
    receipt = add_vote(study, 1, ballot(number, answers=answers, seconds=2.5))
    (vote,) = standing_votes(study)
    order = assigned(study)[number].order
    ranks = {"general": [order.index(0) + 1, order.index(1) + 1], "appeal": [1, 1]}
    assert vote.said == {"answers": answers, "ranks": ranks, "order": order}
    assert (vote.id, vote.kind, vote.seconds, vote.rater_id) == (receipt.vote, "answer", 2.5, 1)
    assert (receipt.new, receipt.done) == (True, 1)


def test_an_impossible_time_is_left_out_and_the_vote_counts(study):
    study = study(items=9)
    for seconds in (None, -1, LONGEST + 1, float("nan"), float("inf"), "3"):
        add_vote(study, 1, ballot(first(study, 1), seconds=seconds))
    assert [vote.seconds for vote in standing_votes(study)] == [None] * 6


def test_the_same_ballot_again_changes_nothing_and_gets_the_same_receipt(study):
    study = study()
    sent = ballot(first(study, 1), seconds=1.0)
    receipt = add_vote(study, 1, sent)
    again = add_vote(study, 1, sent)
    assert (again.vote, again.new, again.done) == (receipt.vote, False, 1)
    upper = ballot(sent.assignment, uuid=sent.uuid.upper(), seconds=9.0)
    assert add_vote(study, 1, upper) == again
    assert len(standing_votes(study)) == 1 and not miscounted(study)


def test_the_same_ballot_from_sixteen_threads_counts_once(study):
    study = study(raters=1)
    for _ in range(3):
        sent = ballot(first(study, 1))
        with ThreadPoolExecutor(16) as pool:
            receipts = list(pool.map(add_vote, [study] * 16, [1] * 16, [sent] * 16))
        assert sum(receipt.new for receipt in receipts) == 1
        assert len({(receipt.vote, receipt.done) for receipt in receipts}) == 1
    assert len(standing_votes(study)) == 3 and not miscounted(study)


def test_different_answers_at_once_to_one_screen_count_once(study):
    study = study(raters=1)
    number = first(study, 1)

    def send(_: int) -> int:
        try:
            return add_vote(study, 1, ballot(number)).vote
        except Refusal as refusal:
            return -refusal.status

    with ThreadPoolExecutor(8) as pool:
        results = sorted(pool.map(send, range(8)))
    assert results[:7] == [-409] * 7 and results[7] == standing_votes(study)[0].id


def test_a_uuid_that_another_vote_has_is_refused(study):
    study = study(items=9)
    sent = ballot(first(study, 1))
    add_vote(study, 1, sent)
    number = first(study, 1)
    for other in (
        ballot(number, uuid=sent.uuid),
        ballot(sent.assignment, "right", uuid=sent.uuid),
        ballot(sent.assignment, "unsure", "skip", uuid=sent.uuid),
    ):
        refused(409, "another vote has this number", add_vote, study, 1, other)
    refused(409, "another vote has this number", undo_vote, study, 1, sent.uuid)
    refused(409, "another vote has this number", add_vote, study, 2, ballot(first(study, 2), uuid=sent.uuid))
    refused(409, "another vote has this number", undo_vote, study, 2, sent.uuid)
    assert len(standing_votes(study)) == 1 and not miscounted(study)


def test_of_two_raters_who_send_one_uuid_at_once_one_is_refused(study):
    study = study(items=9, raters=8)
    name, screens = new_uuid(), {rater: first(study, rater) for rater in range(1, 9)}

    def send(rater: int) -> str:
        try:
            return f"new {add_vote(study, rater, ballot(screens[rater], uuid=name)).new}"
        except Refusal as refusal:
            return str(refusal.status)

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(1, 9))) == ["409"] * 7 + ["new True"]
    assert not miscounted(study)


def test_another_raters_or_an_unknown_screen_is_not_found(study):
    study = study()
    number = first(study, 1)
    for rater, wrong in ((2, number), (1, number + 999), (1, 0), (1, -1), (1, 2**63), (1, 10**30), (1, None), (1, "1")):
        refused(404, "not yours", add_vote, study, rater, ballot(wrong))
    assert standing_votes(study) == []


def test_an_answered_screen_is_not_answered_again(study):
    study = study()
    number = first(study, 1)
    add_vote(study, 1, ballot(number))
    for kind, said in (("answer", "right"), ("answer", "left"), ("skip", "unsure"), ("flag", "unsafe")):
        refused(409, "undo the answer", add_vote, study, 1, ballot(number, said, kind))
    assert len(standing_votes(study)) == 1


@pytest.mark.parametrize("task, n", [("pairwise", 2), ("best", 3), ("ranking", 3), ("rating", 1)])
def test_a_malformed_vote_is_refused_with_a_sentence_and_the_screen_stays_open(study, tmp_path, task, n):
    study = study(preferences=ranked(tmp_path, "sets", 3, range(1, max(n, 2) + 1)), task=task, n=n, raters=1)
    number = first(study, 1)
    answer = {"pairwise": "tie", "best": "tie", "ranking": [1] * n, "rating": [3]}[task]
    for wrong in ("middle", 99, -1, [], [0] * n, {}, None, [answer], True):
        refused(400, "the answer is", add_vote, study, 1, ballot(number, wrong))
    for answers in (None, {}, {"appeal": answer}, {"general": answer, "appeal": answer}):
        refused(400, "answer each question once", add_vote, study, 1, ballot(number, answers=answers))
    for kind, reason in (("skip", "unsafe"), ("skip", None), ("flag", "unsure"), ("undo", "unsafe"), ("", "unsafe")):
        refused(400, "one of|a vote is", add_vote, study, 1, ballot(number, reason, kind))
    for name in ("", "x", None, 7, "0" * 31, "0" * 33):
        refused(400, "named by a UUID", add_vote, study, 1, ballot(number, answer, uuid=name))
    assert first(study, 1) == number and not miscounted(study)
    assert add_vote(study, 1, ballot(number, answer)).new


@pytest.mark.parametrize("kind, reason", [("skip", "loading"), ("flag", "broken: \ufffd 灰 all grey")])
def test_a_skip_and_a_flag_free_the_item_for_another_rater(study, kind, reason):
    study = study(items=1, raters_per_item=1, **PLAIN)
    number = first(study, 1)
    assert next_screens(study, 2) == []
    add_vote(study, 1, ballot(number, reason, kind))
    assert filled(study) == [0] and next_screens(study, 1) == [] and len(next_screens(study, 2)) == 1
    assert [(vote.kind, vote.said) for vote in standing_votes(study)] == [(kind, {"reason": reason})]


def test_a_late_vote_still_counts(study):
    study = study(items=1, raters_per_item=2, **PLAIN)
    number = first(study, 1)
    expire(study)
    next_screens(study, 2)
    assert assigned(study)[number].state == "expired" and filled(study) == [1]
    add_vote(study, 1, ballot(number))
    assert filled(study) == [2] and next_screens(study, 3) == [] and not miscounted(study)


def test_a_late_skip_counts_nothing(study):
    study = study(items=1, raters_per_item=1, **PLAIN)
    number = first(study, 1)
    expire(study)
    next_screens(study, 2)
    add_vote(study, 1, ballot(number, "unsure", "skip"))
    assert filled(study) == [1] and not miscounted(study)
    undo_vote(study, 1, new_uuid())
    assert first(study, 1) == number and not miscounted(study)


@pytest.mark.parametrize("kind, said", [("answer", "left"), ("skip", "unsure"), ("flag", "unsafe")])
def test_undo_brings_the_screen_back_and_supersedes_the_vote(study, kind, said):
    study = study(**PLAIN)
    screens = next_screens(study, 1)
    add_vote(study, 1, ballot(screens[0].assignment, said, kind))
    next_screens(study, 1)
    receipt = undo_vote(study, 1, new_uuid())
    assert (receipt.new, receipt.done) == (True, 0)
    assert next_screens(study, 1) == screens and standing_votes(study) == [] and not miscounted(study)
    assert rows(study, "SELECT id, kind, supersedes FROM vote ORDER BY id") == [(1, kind, None), (2, "undo", 1)]
    add_vote(study, 1, ballot(screens[0].assignment, "right"))
    assert [vote.said["answers"]["general"] for vote in standing_votes(study)] == ["right"] and not miscounted(study)


def test_undo_twice_goes_back_two_votes_and_no_further(study):
    study = study(**PLAIN)
    numbers = []
    for _ in range(2):
        numbers.append(first(study, 1))
        add_vote(study, 1, ballot(numbers[-1]))
    for back in reversed(numbers):
        undo_vote(study, 1, new_uuid())
        assert first(study, 1) == back
    refused(409, "no answer to undo", undo_vote, study, 1, new_uuid())
    refused(409, "no answer to undo", undo_vote, study, 2, new_uuid())
    assert rows(study, "SELECT done FROM rater WHERE id = 1") == [(0,)] and not miscounted(study)


def test_the_screen_of_an_undone_vote_comes_before_other_open_screens(study):
    study = study(items=3, raters_per_item=1, **PLAIN)
    early = first(study, 1)
    expire(study)
    next_screens(study, 2, count=3)
    add_vote(study, 1, ballot(early, "unsure", "skip"))
    undo_vote(study, 1, new_uuid())  # the oldest screen is open
    add_vote(study, 1, ballot(early))
    undo_vote(study, 1, new_uuid())
    assert first(study, 1) == early


def test_the_same_undo_again_changes_nothing(study):
    study = study()
    answer_next(study, 1)
    answer_next(study, 1)
    name = new_uuid()
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda _: undo_vote(study, 1, name), range(16)))
    assert sum(receipt.new for receipt in receipts) == 1
    assert {(receipt.vote, receipt.done) for receipt in receipts} == {(3, 1)}
    assert len(standing_votes(study)) == 1 and not miscounted(study)
    refused(400, "named by a UUID", undo_vote, study, 1, "1")


def test_a_vote_that_is_named_is_taken_back_whatever_came_after_it(study):
    study, names = study(items=3, **PLAIN), [new_uuid(), new_uuid(), new_uuid()]
    for name in names:
        add_vote(study, 1, ballot(first(study, 1), uuid=name))
    again = new_uuid()
    assert [undo_vote(study, 1, again, names[0]).new for _ in range(2)] == [True, False]
    assert [vote.uuid for vote in standing_votes(study)] == names[1:] and not miscounted(study)
    for who, name, of in ((1, again, names[1]), (1, new_uuid(), names[0]), (2, new_uuid(), names[1])):
        refused(409, "another vote|no answer to undo", undo_vote, study, who, name, of)


def test_undo_of_a_skip_whose_item_went_to_another_counts_both(study):
    study = study(items=1, raters_per_item=1, **PLAIN)
    add_vote(study, 1, ballot(first(study, 1), "unsure", "skip"))
    next_screens(study, 2)
    undo_vote(study, 1, new_uuid())
    assert filled(study) == [2] and next_screens(study, 3) == [] and not miscounted(study)


def test_quarantine_removes_votes_and_leases_from_the_counts_and_its_end_adds_them_again(study):
    study = study(items=3, raters_per_item=1, **PLAIN)
    answer_next(study, 1)
    next_screens(study, 1)
    assert filled(study) == [1, 1, 1] and next_screens(study, 2) == []
    quarantine(study, "rater 0")
    assert filled(study) == [0, 0, 0]
    quarantine(study, "rater 0")  # a second time changes nothing
    assert filled(study) == [0, 0, 0] and len(next_screens(study, 2, 3)) == 3
    answer_next(study, 1)  # they may go on, and count nowhere
    undo_vote(study, 1, new_uuid())
    assert filled(study) == [1, 1, 1]
    quarantine(study, "rater 0", on=False)
    assert filled(study) == [2, 2, 2] and not miscounted(study)
    assert len(standing_votes(study)) == 1  # nothing was deleted
    with pytest.raises(InputError, match="no rater named 'nobody'"):
        quarantine(study, "nobody")


def test_quarantine_waits_while_another_transaction_ends_a_lease(study):
    study = study(items=1, raters=1, **PLAIN)
    number = first(study, 1)
    with ThreadPoolExecutor(1) as pool:
        with study.database.write() as session:
            lease = session.get_one(AssignmentRow, number)
            lease.state = EXPIRED
            fill(session, lease, -1)
            session.flush()
            waiting = pool.submit(quarantine, study, "rater 0")
            time.sleep(0.2)
        waiting.result()
    assert filled(study) == [0] and not miscounted(study)
