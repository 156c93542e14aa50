"""A rater's remaining work: an end that does not move, their own pace, and the reason why there are no screens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from collect.database import answer_next, ballot, new_uuid, ranked
from collect.saying import ids
from sqlalchemy import select

from palate.collect.asking import next_screens
from palate.collect.database_rows import AssignmentRow, ItemRow
from palate.collect.remaining import LEAST, Remaining, remaining
from palate.collect.study import OpenStudy
from palate.collect.voting import add_vote, quarantine, undo_vote


def kinds(study: OpenStudy, rater: int) -> list[str]:
    with study.database.read() as session:
        query = select(ItemRow.purpose, AssignmentRow.repeat).join(AssignmentRow).where(AssignmentRow.rater_id == rater)
        return ["repeat" if row.repeat else row.purpose for row in session.execute(query.order_by(AssignmentRow.id))]


def ends(study: OpenStudy, rater: int) -> Iterator[int]:
    """Answers all screens of a rater, as their page does; returns the predicted number of screens after each."""
    done = 0
    while screens := next_screens(study, rater, 2):
        yield done + remaining(study, rater).screens
        add_vote(study, rater, ballot(screens[0].assignment))
        done += 1
    yield done + remaining(study, rater).screens


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_predicted_end_does_not_change_with_repeats_and_gold(study, tmp_path, seed):
    gold = ranked(tmp_path, "gold", 20, (1, 2))
    made = study(items=25, raters=1, raters_per_item=1, mirror=0.2, gold=gold, gold_share=0.2, seed=seed)
    rater = ids(made)[0]
    seen = list(ends(made, rater))
    assert {"repeat", "gold", "real"} == set(kinds(made, rater))
    assert set(seen) == {len(kinds(made, rater))}


def test_a_study_of_nothing_but_items_has_as_many_screens_as_items(study):
    made = study(items=7, raters=1, mirror=0.0, gold_share=0.0)
    assert remaining(made, ids(made)[0]).screens == 7
    assert list(ends(made, ids(made)[0])) == [7] * 8


def test_items_that_others_have_completed_are_not_counted_as_remaining(study):
    made = study(items=6, raters=2, raters_per_item=1, mirror=0.0)
    one, two = ids(made)
    answer_next(made, one)
    assert remaining(made, two).screens == 4  # the first has answered one, and has another before them
    assert remaining(made, one).screens == 5


def test_a_pace_is_the_mean_of_the_last_votes_without_interruptions(study):
    made = study(items=40, raters=1, mirror=0.0)
    rater = ids(made)[0]
    for number, seconds in enumerate([4.0, 4.0, None, 600.0, 4.0]):
        assert (remaining(made, rater).pace is None) is (number < LEAST + 1)
        add_vote(made, rater, ballot(next_screens(made, rater)[0].assignment, seconds=seconds))
    assert remaining(made, rater).pace == pytest.approx((3 * 4 + 12) / 4)
    for _ in range(20):
        add_vote(made, rater, ballot(next_screens(made, rater)[0].assignment, seconds=2.0))
    assert remaining(made, rater).pace == 2.0


def test_a_study_says_whether_it_waits_needs_others_or_is_finished(study):
    made = study(items=1, raters=3, raters_per_item=2, mirror=0.0)
    one, two, three = ids(made)
    mine, theirs = next_screens(made, one)[0], next_screens(made, two)[0]
    assert remaining(made, three).state == "waiting"
    add_vote(made, one, ballot(mine.assignment))
    assert [remaining(made, each).state for each in (one, two, three)] == ["others", "asking", "waiting"]
    add_vote(made, two, ballot(theirs.assignment, "unsure", "skip"))
    assert [remaining(made, each).state for each in (one, two)] == ["others", "others"]
    next_screens(made, three)
    answer_next(made, three)
    assert {remaining(made, each).state for each in (one, two, three)} == {"finished"}
    undo_vote(made, two, new_uuid())
    assert remaining(made, two) == Remaining(1, None, "asking")


def test_a_quarantined_rater_also_reaches_the_end(study):
    made = study(items=3, raters=1, mirror=0.0)
    quarantine(made, "rater 0")
    assert list(ends(made, ids(made)[0])) == [3] * 4
