"""A pair is compared by keys, mouse and finger, and the server gets the intended answer."""

from __future__ import annotations

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import PHONE, RaterPage
from selenium.webdriver.common.keys import Keys

MEANT = ([1, 2], [2, 1], [1, 1], [1, 1])
SAID = ("left", "right", "tie", "both_bad")


def check(served, answers=SAID, ranks=MEANT):
    votes = served.votes()
    assert [vote.kind for vote in votes] == ["answer"] * len(answers)
    assert [vote.said["answers"]["general"] for vote in votes] == list(answers)
    assert [vote.ranks() for vote in votes] == list(ranks)
    return votes


@pytest.mark.usefixtures("quiet")
def test_a_pair_is_compared_by_keys_alone(page: RaterPage, serve: Serve):
    served = serve(prompts=4)
    page.open(served.invite())
    seen = page.screen()
    page.photo("pairwise-desktop")
    shown = [seen]
    for key in ("1", "2", "t"):
        page.keys(key)
        seen = page.screen(seen)
        shown.append(seen)
    page.keys("b")
    page.ended()
    page.done(4)
    page.photo("end-desktop")
    votes = check(served)
    assert [vote.handles for vote in votes] == shown
    assert all(vote.seconds and 0.2 < vote.seconds < 30 for vote in votes)


@pytest.mark.usefixtures("quiet")
def test_arrow_keys_answer_like_number_keys(page: RaterPage, serve: Serve):
    served = serve(prompts=4)
    page.open(served.invite())
    seen = page.screen()
    page.keys(Keys.ARROW_LEFT)
    page.screen(seen)
    page.keys(Keys.ARROW_RIGHT)
    page.done(2)
    check(served, SAID[:2], MEANT[:2])


@pytest.mark.usefixtures("quiet")
def test_a_pair_is_compared_by_the_mouse_alone(page: RaterPage, serve: Serve):
    served = serve(prompts=4)
    page.open(served.invite())
    seen = page.screen()
    page.click("#stage .frame", 0)  # an image is chosen by a click on it
    seen = page.screen(seen)
    for nth in (3, 1):
        page.click(".choice", nth)
        seen = page.screen(seen)
    page.click(".choice", 2)
    page.ended()
    page.done(4)
    check(served)


@pytest.mark.usefixtures("quiet")
def test_a_pair_is_compared_on_a_phone(page: RaterPage, serve: Serve):
    served = serve(prompts=4)
    page.open(served.invite(), PHONE, touch=True)
    seen = page.screen()
    page.photo("pairwise-phone")
    for nth in (0, 3, 1):
        page.tap(".choice", nth)
        seen = page.screen(seen)
    page.tap(".choice", 2)
    page.ended()
    page.done(4)
    page.photo("end-phone")
    check(served)


@pytest.mark.usefixtures("quiet")
def test_a_double_click_answers_one_screen(page: RaterPage, serve: Serve):
    served = serve(prompts=4)
    page.open(served.invite())
    seen = page.screen()
    page.script("const b = document.querySelector('.choice'); b.click(); b.click(); b.click()")
    page.screen(seen)
    page.done(1)
    assert len(served.votes()) == 1
