"""The meaning of an answer: ranks of the images by place, in whatever order they were shown."""

from __future__ import annotations

from itertools import permutations

import pytest

from palate.collect.answers import checked_answers, checked_reason, ranks_of_answer
from palate.core.errors import InputError

NOTHING = [None, {}, [], "", 1.0, float("nan"), True, b"left", [[1]], "middle"]
MALFORMED = [
    *(("pairwise", answer, 2) for answer in [*NOTHING, 0, 1, ["left"], "LEFT", "left "]),
    *(("best", answer, 4) for answer in [*NOTHING, -1, 4, 10**30, "0", [0], "both_bad", "left"]),
    *(("ranking", answer, 3) for answer in [*NOTHING, [1, 2], [1, 2, 3, 4], [0, 1, 2], [1, 2, 10], [1, 2, "3"]]),
    *(("ranking", answer, 3) for answer in [[1, 2, 2.0], [1, 2, True], [1, 2, None], (1, 2, 3), "123", {0: 1}]),
    *(("rating", answer, 1) for answer in [*NOTHING, 3, [0], [6], [3, 3], ["3"], [3.0], [True], [10**30]]),
]


@pytest.mark.parametrize(
    "task, answer, order, ranks",
    [
        ("pairwise", "left", [0, 1], [1, 2]),
        ("pairwise", "left", [1, 0], [2, 1]),
        ("pairwise", "right", [0, 1], [2, 1]),
        ("pairwise", "right", [1, 0], [1, 2]),
        ("pairwise", "tie", [1, 0], [1, 1]),
        ("pairwise", "both_bad", [0, 1], [1, 1]),
        ("best", 0, [2, 0, 1], [2, 2, 1]),
        ("best", 2, [2, 0, 1], [2, 1, 2]),
        ("best", "tie", [2, 0, 1], [1, 1, 1]),
        ("best", "all_bad", [2, 0, 1], [1, 1, 1]),
        ("ranking", [1, 2, 3], [2, 0, 1], [2, 3, 1]),
        ("ranking", [1, 1, 2], [2, 0, 1], [1, 2, 1]),
        ("ranking", [9, 5, 5], [0, 1, 2], [2, 1, 1]),
        ("rating", [5], [0], [1]),
        ("rating", [1], [0], [1]),
    ],
)
def test_an_answer_gives_ranks_by_place(task, answer, order, ranks):
    assert ranks_of_answer(task, answer, order) == ranks


def test_the_same_images_get_the_same_ranks_in_every_order():
    wanted = [2, 1, 3, 1]
    for order in permutations(range(4)):
        assert ranks_of_answer("ranking", [wanted[place] for place in order], order) == wanted


@pytest.mark.parametrize("task, answer, n", MALFORMED, ids=lambda value: repr(value)[:20])
def test_an_invalid_answer_is_refused_with_a_sentence(task, answer, n):
    with pytest.raises(InputError, match="the answer is"):
        ranks_of_answer(task, answer, range(n))


@pytest.mark.parametrize("answers", [None, [], "left", {}, {"general": "left"}, {"general": "left", "other": "left"}])
def test_every_question_needs_exactly_one_answer(answers):
    with pytest.raises(InputError, match="answer each question once: general, appeal"):
        checked_answers("pairwise", answers, ["general", "appeal"], [0, 1])


def test_the_questions_of_a_screen_have_independent_answers():
    answers = {"appeal": "left", "general": "right"}
    assert checked_answers("pairwise", answers, ["general", "appeal"], [1, 0]) == {"general": [1, 2], "appeal": [2, 1]}


@pytest.mark.parametrize(
    "kind, reason", [("skip", "unsure"), ("skip", "other: my screen is dark"), ("flag", "unsafe"), ("flag", "broken:")]
)
def test_a_skip_and_a_flag_need_a_reason(kind, reason):
    assert checked_reason(kind, reason) == reason


@pytest.mark.parametrize(
    "kind, reason",
    [
        *[
            ("skip", reason)
            for reason in (None, "", "unsafe", "nonsense", 3, ["unsure"], "other" + " " * 200, " other")
        ],
        *[("flag", reason) for reason in (None, "", "unsure", "other: dark", {"unsafe": 1}, "unsafe:" + "x" * 200)],
        *[(kind, "unsafe") for kind in ("undo", "answer", "", None, 3)],
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_skip_or_flag_with_an_unknown_reason_is_refused_with_a_sentence(kind, reason):
    with pytest.raises(InputError, match="one of|a vote is an answer, a skip or a flag"):
        checked_reason(kind, reason)
