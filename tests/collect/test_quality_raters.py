"""The words that name a rater's unusual behaviour."""

from __future__ import annotations

import uuid

from collect.saying import answer_all, ids, number_of

from palate.collect.asking import next_screens
from palate.collect.quality.study_quality import quality
from palate.collect.quality.summary import summary
from palate.collect.voting import VoteRequest, add_vote


def test_reasons_to_look_at_a_rater_are_plain_words(study):
    made = study(items=60, raters=5, raters_per_item=5, mirror=0.0)
    answer_all(made, lambda item, *_: (1, 2) if number_of(item) % 2 else (2, 1), raters=[0, 1, 2])
    left = ids(made)[3]
    while screens := next_screens(made, left, 1):
        add_vote(
            made,
            left,
            VoteRequest(str(uuid.uuid4()), screens[0].assignment, "answer", {"general": "left"}, seconds=0.4),
        )
    answer_all(made, lambda *_: None, raters=[4])
    found = quality(made)
    assert [each.words for each in found.raters[:3]] == [(), (), ()]
    assert found.raters[3].words == ("always left", "fast", "disagrees with the others")
    assert found.raters[3].hasty.value == 1.0 and found.raters[3].seconds == 0.4
    assert found.raters[3].first.value == 1.0 and found.raters[3].first.low > 0.9
    assert found.raters[4].words == ("skips often",)
    assert found.progress.skips == {"unsure": 60}
    assert found.raters[0].first.low < 0.5 < found.raters[0].first.high  # sides are balanced
    lines = summary(found)
    assert "rater rater 3: 60 votes, 0.4 s each: always left, fast, disagrees with the others" in lines


def test_ties_are_left_out_of_the_side_bias(study):
    made = study(items=8, raters=1, raters_per_item=1, mirror=0.0)
    answer_all(made, lambda item, *_: (1, 1) if number_of(item) < 5 else (1, 2))
    assert quality(made).raters[0].first.n == 3


def test_a_repeat_that_differs_by_one_star_is_the_same_answer_and_one_by_four_is_not(study):
    made = study(items=15, raters=2, raters_per_item=2, task="rating", mirror=0.4)
    answer_all(made, lambda item, rater, repeat: (3 + repeat,) if rater == 0 else (1 + 4 * repeat,))
    steady, unsteady = quality(made).raters
    assert (steady.mirror.value, steady.words) == (1.0, ())
    assert (unsteady.mirror.value, unsteady.words) == (0.0, ("contradicts own answers",))


def test_few_answers_give_no_reason_to_look_at_a_rater(study):
    made = study(items=3, raters=1, raters_per_item=1, mirror=0.5)
    while screens := next_screens(made, ids(made)[0], 1):
        ballot = VoteRequest(str(uuid.uuid4()), screens[0].assignment, "answer", {"general": "left"}, seconds=0.1)
        add_vote(made, ids(made)[0], ballot)
    row = quality(made).raters[0]
    assert (row.first.value, row.hasty.value, row.words) == (1.0, 1.0, ())
