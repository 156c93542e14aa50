"""The owner's texts, in a terminal and on the page: no verdict, interval or axis is misleading."""

from __future__ import annotations

import json
import math

import pytest
from collect.saying import answer, answer_all, first, ids, number_of

from palate.collect.asking import next_screens
from palate.collect.quality.number_text import count_of, interval_or_reason, share_of
from palate.collect.quality.study_quality import quality
from palate.collect.quality.summary import doubts, shortage, summary
from palate.collect.study import OpenStudy
from palate.collect.voting import quarantine
from palate.collect.web.dashboard_view import Axis, alpha_axis, axis_mark, dashboard_values, strength_axis
from palate.core.statistics import Estimate

UNSURE = math.nan


@pytest.mark.parametrize(
    "value, n, said",
    [
        (0.5, 2, "1 of 2"),
        (0.0, 2, "0 of 2"),
        (1.0, 1, "1 of 1"),
        (0.75, 2, "1½ of 2"),
        (0.25, 2, "½ of 2"),
        (1 / 3, 2, "33% on 2 screens"),
        (1 / 3, 1, "33% on 1 screen"),
        (0.842, 120, "84% of 120"),
        (0.5, 12_000, "50% of 12,000"),
        (math.nan, 0, "–"),
    ],
)
def test_a_share_of_few_things_is_written_as_a_count(value, n, said):
    assert share_of(value, n) == said


def test_only_a_count_of_one_has_a_noun_in_the_singular():
    assert [count_of(count, "vote") for count in (0, 1, 2, 1200)] == ["0 votes", "1 vote", "2 votes", "1,200 votes"]


def test_an_interval_that_is_not_known_says_why():
    unknown = Estimate(0.5, math.nan, math.nan, 9)
    assert interval_or_reason(unknown, 5) == "unknown: fewer than six prompts"
    assert interval_or_reason(unknown, 6) == "unknown: the prompts differ too little"
    assert interval_or_reason(Estimate(0.5, 0.4, 0.6, 9), 6) == "0.40 to 0.60"


def labels(axis: Axis) -> list[str]:
    return [tick.label for tick in axis.ticks]


def test_alpha_below_chance_is_left_of_chance_on_its_axis():
    below = Estimate(-0.43, -0.7, 0.1, 9)
    axis = alpha_axis([below, Estimate(0.8, 0.7, 0.9, 9)])
    at = axis_mark(below, axis)
    assert labels(axis) == ["−1", "0 chance", "1 full agreement"] and axis.zero == 50.0
    assert at is not None and at.low is not None and 0 < at.low < at.at < axis.zero
    assert labels(alpha_axis([Estimate(0.8, 0.7, 0.9, 9)])) == ["0 chance", "1 full agreement"]
    assert labels(alpha_axis([Estimate(UNSURE, UNSURE, UNSURE, 0)])) == ["0 chance", "1 full agreement"]


@pytest.mark.parametrize("most, end", [(0.36, "0.5"), (0.0031, "0.005"), (3210.0, "5000"), (1.0, "1"), (0.0, "1")])
def test_the_ends_of_an_axis_are_round_and_differ(most, end):
    axis = strength_axis([Estimate(most, -most, most, 9), Estimate(UNSURE, UNSURE, UNSURE, 0)])
    assert labels(axis) == [f"−{end}", "0", end]


def test_a_study_without_answers_says_so_and_that_nobody_has_won(study):
    made = study(items=8, raters=2)
    found = quality(made)
    assert doubts(found.standings[0]) == ["No answer compares these systems yet."]
    (table,) = dashboard_values(found, made.config, {})["tables"]
    assert table.rows == () and table.doubts == ("No answer compares these systems yet.",)
    assert "has won" not in "\n".join(summary(found))


def test_a_system_that_has_won_everything_is_named(study):
    made = study(items=8, raters=2, mirror=0.0)
    answer_all(made, first)
    assert doubts(quality(made).standings[0]) == [
        "base has won every comparison so far: the values depend on a weak prior and have no interval yet."
    ]


def test_fewer_than_six_prompts_give_no_verdict(study):
    made = study(items=5, raters=3, mirror=0.0)
    answer_all(made, lambda item, rater, _: (1, 2) if (number_of(item) + rater) % 3 else (2, 1))
    found = quality(made)
    assert doubts(found.standings[0]) == ["Which system is better is unknown: fewer than six prompts have answers."]
    lines = "\n".join(summary(found))
    assert "unknown: fewer than six prompts" in lines and "n/a" not in lines


def test_an_interval_never_has_width_zero(study):
    made = study(items=8, raters=4, raters_per_item=4, mirror=0.0)
    answer_all(made, lambda _, rater, __: (1, 2) if rater else (2, 1))  # on every prompt three of four
    found = quality(made)
    known = [*found.standings[0].strengths, found.agreement[0].alpha, found.agreement[0].majority]
    assert all(not each.high - each.low < 1e-3 for each in known)
    assert math.isnan(found.standings[0].strengths[0].low)
    majority = found.agreement[0].majority
    assert (majority.value, majority.n) == (0.75, 32)
    assert majority.low < 0.45 and majority.high > 0.9
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False)) == found.to_dict()


def test_prompts_that_only_one_rater_has_answered_do_not_count_as_known(study):
    made = study(items=12, raters=2, raters_per_item=2, mirror=0.0)
    answer_all(made, lambda item, *_: (1, 2) if number_of(item) % 2 else (2, 1), raters=[0])
    for _ in range(4):
        answer(made, 1, next_screens(made, ids(made)[1], 1)[0].assignment, first)
    (found,) = quality(made).agreement
    assert (found.prompts, found.judged, found.alpha.n) == (4, 4, 4)
    assert math.isnan(found.alpha.low) and math.isnan(found.majority.low)
    assert "unknown: fewer than six prompts" in "\n".join(summary(quality(made)))


def short(study: OpenStudy) -> tuple[int, int]:
    progress = quality(study).progress
    return progress.out_of_reach, progress.raters_short


def test_votes_that_no_present_rater_can_give_are_counted(study):
    made = study(items=4, raters=2, raters_per_item=3, mirror=0.0)
    assert short(made) == (4, 1)
    one = ids(made)[0]
    answer(made, 0, next_screens(made, one, 1)[0].assignment, lambda *_: None)
    assert short(made) == (5, 2)  # who skipped an item is not asked it again
    answer_all(made, first)
    assert short(made) == (5, 2)
    assert shortage(quality(made).progress) == "5 votes need 2 more raters"
    quarantine(made, "rater 1")
    assert short(made) == (9, 3)
    made.add_rater("Ada")
    made.add_rater("Ben")
    assert shortage(quality(made).progress) == "1 vote needs another rater"
    answer_all(made, first, raters=[2, 3])
    made.add_rater("Cleo")
    assert short(made) == (0, 0)
