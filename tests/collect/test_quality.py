"""Quality: which votes count in which measure."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator

import pytest
from collect.database import ranked
from collect.saying import Says, answer, answer_all, first, ids, number_of, second
from sqlalchemy import select

from palate.collect.asking import next_screens
from palate.collect.database_rows import ImageRow
from palate.collect.quality.study_quality import quality
from palate.collect.quality.summary import summary
from palate.collect.study import OpenStudy
from palate.collect.voting import VoteRequest, add_vote, quarantine, undo_vote


def test_a_study_without_votes_has_progress_and_only_unknown_measures(study):
    found = quality(study(items=4, raters=2, raters_per_item=2))
    assert (found.progress.items, found.progress.wanted, found.progress.votes) == (4, 8, 0)
    assert (found.progress.missing, found.progress.complete) == (8, 0)
    plain = found.to_dict()
    assert plain["agreement"][0]["alpha"] == {"value": None, "low": None, "high": None, "n": 0}
    assert [each["strengths"][0]["value"] for each in plain["standings"]] == [None]
    assert [each["votes"] for each in plain["raters"]] == [0, 0]
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert summary(found)[0] == "votes: 0 of 8"


def test_progress_counts_valid_votes_and_complete_items(study):
    made = study(items=4, raters=2, raters_per_item=2, mirror=0.0)
    answer_all(made, first, raters=[0])
    screens = next_screens(made, ids(made)[1], 2)
    answer(made, 1, screens[0].assignment, first)
    progress = quality(made).progress
    assert (progress.votes, progress.missing, progress.complete, progress.leases) == (5, 3, 1, 1)


def test_a_superseded_vote_counts_in_no_measure(study):
    made = study(items=3, raters=1, raters_per_item=1, mirror=0.0)
    rater = ids(made)[0]
    screen = next_screens(made, rater, 1)[0].assignment
    answer(made, 0, screen, first)
    undo_vote(made, rater, str(uuid.uuid4()))
    found = quality(made)
    assert found.progress.votes == 0 and found.raters[0].votes == 0
    answer(made, 0, screen, second)
    answer_all(made, second)
    standing = quality(made).standings[0]
    best = dict(zip(standing.systems, standing.win_rates[0]))
    assert standing.systems[0] == "tuned" and best["base"] == 1.0


def test_a_quarantined_rater_counts_only_in_their_own_row(study):
    made = study(items=6, raters=4, raters_per_item=4, mirror=0.0)
    answer_all(made, lambda item, rater, _: (2, 1) if rater == 3 or number_of(item) == 0 else (1, 2))
    before = quality(made)
    quarantine(made, "rater 3")
    after = quality(made)
    assert before.agreement[0].alpha.value < 0.5
    assert after.agreement[0].alpha.value == pytest.approx(1.0)
    assert after.agreement[0].majority.value == 1.0
    assert (before.progress.votes, after.progress.votes) == (24, 18)
    assert after.standings[0].comparisons[0][1] == 18
    assert after.raters[3].quarantined and after.raters[3].votes == 6
    assert after.raters[3].agreement.value == pytest.approx(1 / 6)
    assert after.raters[0].agreement.value == 1.0
    quarantine(made, "rater 3", on=False)
    assert quality(made).to_dict() == before.to_dict()


def test_repeats_and_gold_count_only_in_their_own_measures(study, tmp_path):
    gold = ranked(tmp_path, "gold", 20, (1, 2))
    made = study(items=30, raters=2, raters_per_item=2, mirror=0.3, gold=gold, gold_share=0.3)
    answer_all(
        made, lambda item, rater, repeat: (2, 1) if rater == 1 and (repeat or item.purpose == "gold") else (1, 2)
    )
    found = quality(made)
    assert found.progress.votes == 60 == sum(rater.votes for rater in found.raters)
    assert found.standings[0].systems == ("base", "tuned")  # gold's generators are not compared
    assert found.standings[0].comparisons[0][1] == 60
    assert found.agreement[0].majority.value == 1.0
    steady, unsteady = found.raters
    assert (steady.mirror.value, steady.gold.value, steady.words) == (1.0, 1.0, ())
    assert (unsteady.mirror.value, unsteady.gold.value) == (0.0, 0.0)
    assert unsteady.mirror.n > 3 and unsteady.gold.n > 3
    assert unsteady.words == ("fails gold", "contradicts own answers")


def test_flags_are_counted_by_reason_and_their_items_listed(study):
    made = study(items=3, raters=2, raters_per_item=2, mirror=0.0)
    one, two = ids(made)
    reasons = {0: "broken: half of it is black", 1: "unsafe"}
    for rater, reason in ((one, reasons[0]), (two, reasons[1])):
        shown = next(each for each in flaggable(made, rater) if each[1] == "prompt 1")
        add_vote(made, rater, VoteRequest(str(uuid.uuid4()), shown[0], "flag", reason=reason))
    found = quality(made)
    assert found.progress.flags == {"broken": 1, "unsafe": 1}
    (flagged,) = found.flagged
    assert flagged.prompt == "prompt 1" and len(flagged.images) == 2
    assert flagged.reasons == {"broken": 1, "unsafe": 1}
    assert flagged.remarks == ("half of it is black",)
    quarantine(made, "rater 0")
    assert quality(made).progress.flags == {"unsafe": 1}
    assert [each.flags for each in quality(made).raters] == [1, 1]


def flaggable(study: OpenStudy, rater: int) -> Iterator[tuple[int, str]]:
    for screen in next_screens(study, rater, 3):
        yield screen.assignment, screen.prompt


def test_a_rating_has_mean_stars_and_compares_what_one_rater_gave_to_one_prompt(study):
    made = study(items=6, raters=2, raters_per_item=2, task="rating", mirror=0.0)
    stars = systems_stars(made)
    answer_all(made, stars)
    found = quality(made)
    standing = found.standings[0]
    assert standing.systems == ("tuned", "base")
    assert [each.value for each in standing.stars] == [4.0, pytest.approx(2.5)]
    assert standing.win_rates[0][1] == 1.0
    assert standing.comparisons[0][1] == 12
    assert standing.state == "swept" and math.isnan(standing.strengths[0].low)  # nobody preferred the base
    assert found.agreement[0].distance == "ordinal"
    assert found.agreement[0].alpha.value == pytest.approx(1.0)
    assert math.isnan(found.raters[0].first.value)


def systems_stars(study: OpenStudy) -> Says:
    """4 stars for images of the tuned model, 2 or 3 for those of the base."""
    with study.database.read() as session:
        made_by = {each.id: each.system for each in session.scalars(select(ImageRow))}
    return lambda item, *_: (4,) if made_by[item.images[0]] == "tuned" else (2 + number_of(item) % 2,)


def test_the_chosen_image_of_a_best_of_n_beats_all_others(study, tmp_path):
    made = study(preferences=ranked(tmp_path, "four", 5, (1, 2, 3, 4)), raters=3, task="best", mirror=0.0)
    answer_all(made, lambda item, rater, _: (1, 2, 2, 2) if rater < 2 else (1, 1, 1, 1))
    found = quality(made)
    standing = found.standings[0]
    majority = found.agreement[0].majority
    assert (majority.value, majority.n) == (0.0, 5)  # two of three see a draw, and the third is alone
    assert found.agreement[0].distance == "nominal"
    pairs = dict(zip(standing.systems, standing.comparisons))
    of = standing.systems.index
    assert pairs["system 0"][of("system 1")] == 15 and pairs["system 1"][of("system 2")] == 5
    assert standing.win_rates[of("system 0")][of("system 1")] == pytest.approx(12.5 / 15)
    assert standing.win_rates[of("system 1")][of("system 2")] == 0.5


def test_systems_have_a_value_but_no_interval_where_one_won_every_comparison(study):
    made = study(items=5, raters=2, raters_per_item=2, mirror=0.0)
    answer_all(made, second)
    standing = quality(made).standings[0]
    assert standing.systems == ("tuned", "base") and standing.state == "swept"
    assert math.isfinite(standing.strengths[0].value) and math.isnan(standing.strengths[0].low)
