"""All other tasks, each only by keys, only by mouse, and only by finger on a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import DESKTOP, PHONE, RaterPage
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
BY = pytest.mark.parametrize("by", ["keys", "mouse", "finger"])
THREE = ("general", "appeal", "alignment")


def opened(page: RaterPage, link: str, by: str) -> Callable[[str, int], None]:
    """Opens the page as this rater does, and returns how they press something."""
    page.open(link, PHONE if by == "finger" else DESKTOP, touch=by == "finger")
    return page.tap if by == "finger" else page.click


@BY
def test_the_best_of_four_is_picked(page: RaterPage, serve: Serve, by: str):
    served = serve(prompts=3, images=4, task="best")
    press = opened(page, served.invite(), by)
    seen = page.screen()
    page.photo(f"best-{by}")
    for key, nth in (("3", 2), ("t", 4)):
        page.keys(key) if by == "keys" else press(".choice", nth)
        seen = page.screen(seen)
    page.keys("b") if by == "keys" else press(".choice", 5)
    page.ended()
    page.done(3)
    votes = served.votes()
    assert [vote.said["answers"]["general"] for vote in votes] == [2, "tie", "all_bad"]
    assert [vote.ranks() for vote in votes] == [[2, 2, 1, 2], [1, 1, 1, 1], [1, 1, 1, 1]]


@BY
def test_four_images_are_ranked_one_after_another_with_a_tie(page: RaterPage, serve: Serve, by: str):
    served = serve(prompts=3, images=4, task="ranking")
    press = opened(page, served.invite(), by)
    seen = page.screen()
    if by == "keys":
        page.keys("3", "1", "t", "4", "2")
    else:
        for css, nth in ((".frame", 2), (".frame", 0), (".shared", 0), (".frame", 3), (".frame", 1)):
            press(css, nth)
    assert [each.text.split("\n")[-1] for each in page.all("figcaption")] == ["rank 2", "rank 3", "rank 1", "rank 2"]
    page.photo(f"ranking-{by}")
    page.keys(Keys.ENTER) if by == "keys" else press("#send", 0)
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert vote.said["answers"]["general"] == [2, 3, 1, 2]
    assert vote.ranks() == [2, 3, 1, 2]


@BY
def test_a_rank_is_changed_in_its_list_or_removed(page: RaterPage, serve: Serve, by: str):
    served = serve(prompts=3, images=4, task="ranking")
    press = opened(page, served.invite(), by)
    seen = page.screen()
    if by == "keys":
        page.keys("1", "2", "3", "4", "4")
        page.tab_to("select[data-position='3']")
        page.keys("1")
        page.tab_to("#send")
        page.keys(Keys.ENTER)
    else:
        for nth in (0, 1, 2, 3, 3):
            press(".frame", nth)
        Select(page.all("select")[3]).select_by_value("1")
        press("#send", 0)
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].ranks() == [1, 2, 3, 1]


@BY
def test_one_image_is_rated(page: RaterPage, serve: Serve, by: str):
    served = serve(prompts=3, images=1, task="rating")
    press = opened(page, served.invite(), by)
    seen = page.screen()
    page.photo(f"rating-{by}")
    for stars in (5, 1):
        page.keys(str(stars)) if by == "keys" else press(".choice", stars - 1)
        seen = page.screen(seen)
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.SPACE) if by == "keys" else press(".choice", 2)
    page.ended()
    page.done(3)
    assert [vote.said["answers"]["general"] for vote in served.votes()] == [[5], [1], [3]]


@BY
def test_three_questions_of_a_pair_are_sent_together(page: RaterPage, serve: Serve, by: str):
    served = serve(prompts=3, questions=THREE)
    press = opened(page, served.invite(), by)
    seen = page.screen()
    page.photo(f"three-questions-{by}")
    if by == "keys":
        page.keys("2", "t", Keys.ENTER)  # too early: it goes to the question that is missing
        page.hint("Still to answer")
        assert page.script("return document.activeElement.closest('fieldset').dataset.question") == "alignment"
        page.keys("b", Keys.ARROW_UP, "1")
    else:
        fields = [f'fieldset[data-question="{question}"] .choice' for question in THREE]
        for question, nth in ((0, 1), (2, 3), (1, 0)):
            press(fields[question], nth)
    assert page.shown() == seen, "nothing is sent before the rater says so"
    page.photo(f"three-questions-answered-{by}")
    page.keys(Keys.ENTER) if by == "keys" else press("#send", 0)
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert vote.said["answers"] == {"general": "right", "appeal": "left", "alignment": "both_bad"}
    assert [vote.ranks(question) for question in THREE] == [[2, 1], [1, 2], [1, 1]]


@pytest.mark.parametrize("by", ["keys", "mouse"])
def test_two_questions_of_a_ranking_have_separate_ranks(page: RaterPage, serve: Serve, by: str):
    served = serve(prompts=3, images=3, task="ranking", questions=("general", "alignment"))
    press = opened(page, served.invite(), by)
    seen = page.screen()
    if by == "keys":
        page.keys("2", "1", "3", "3", "2", "t", "1", Keys.ENTER)
    else:
        tie = 'fieldset[data-question="alignment"] .shared'
        for nth in (1, 0, 2, 2, 1):
            press(".frame", nth)
        for css in (tie, ".frame", "#send"):
            press(css, 0)
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert (vote.ranks("general"), vote.ranks("alignment")) == ([2, 1, 3], [2, 2, 1])


def test_two_questions_of_a_rating_are_answered_by_numbers(page: RaterPage, serve: Serve):
    served = serve(prompts=3, images=1, task="rating", questions=("general", "alignment"))
    page.open(served.invite())
    seen = page.screen()
    page.keys("4", "2", Keys.ENTER)
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].said["answers"] == {"general": [4], "alignment": [2]}


def test_nine_images_fit_a_phone_by_scrolling_down_alone(page: RaterPage, serve: Serve):
    served = serve(prompts=2, images=9, size=(240, 160), task="ranking")
    page.open(served.invite(), PHONE, touch=True)
    seen = page.screen()
    assert page.script("return document.documentElement.scrollWidth") == PHONE[0]
    for nth in range(9):
        page.tap(".frame", nth)
    page.photo("nine-phone")
    page.tap("#send")
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].ranks() == list(range(1, 10))
