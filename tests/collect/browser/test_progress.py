"""The progress of a rater, the time left, and the page where no screens are left."""

from __future__ import annotations

import time

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import RaterPage
from collect.database import expire
from collect.saying import ids

from palate.collect.asking import next_screens

pytestmark = pytest.mark.usefixtures("quiet")


def bar(page: RaterPage) -> list[float]:
    return page.script("const bar = document.getElementById('progress'); return [bar.value, bar.max]")


def test_the_remaining_screens_and_time_fall_with_each_answer_and_rise_with_an_undo(page, serve: Serve):
    served = serve(prompts=9)
    page.open(served.invite())
    seen = page.screen()
    assert (page.text("#done"), page.text("#left"), bar(page)) == ("0 of 9 done", "", [0, 9])
    for count in (1, 2, 3):
        page.keys("1")
        seen = page.screen(seen)
        page.done(count)
    page.wait("the time left shows", lambda: page.text("#left") == "less than a minute left")
    assert (page.text("#done"), bar(page)) == ("3 of 9 done", [3, 9])
    page.photo("progress")
    page.keys("u")
    page.screen(seen)
    page.done(2)
    assert (page.text("#done"), bar(page)) == ("2 of 9 done", [2, 9])
    page.driver.refresh()
    page.screen()
    assert page.text("#done") == "2 of 9 done"


def test_the_time_left_is_estimated_from_the_raters_own_pace(page, serve: Serve):
    page.open(serve(prompts=9).invite())
    page.screen()
    say = "const {timeLeft} = await import('/static/progress.js'); return arguments[0].map(timeLeft)"
    said = page.script(f"return (async function () {{ {say} }})(...arguments)", [44, 46, 100, 170, 3600, 5401, 9000])
    assert said == [
        "less than a minute left",
        "about 1 min left",
        "about 2 min left",
        "about 3 min left",
        "about 60 min left",
        "about 1.5 h left",
        "about 2.5 h left",
    ]


def test_a_rater_who_has_answered_everything_sees_whether_the_study_is_finished(page, serve: Serve):
    served = serve(prompts=2, raters_per_item=2)
    for title, why in (("all for you", "need people who have not seen them"), ("the last one", "has all the answers")):
        page.open(served.invite())
        seen = page.screen()
        page.keys("1")
        page.screen(seen)
        page.keys("2")
        page.ended()
        assert title in page.text("#end-title") and why in page.text("#end")
        assert "You answered 2 screens" in page.text("#end")
        page.photo(f"end-{title.replace(' ', '-')}")


def test_a_screen_that_another_rater_does_not_answer_is_shown_without_a_reload(page, serve: Serve):
    served = serve(prompts=1, raters_per_item=1)
    served.invite()
    (other,) = ids(served.study)
    next_screens(served.study, other, 1)
    page.open(served.invite())
    page.ended()
    assert "Nothing for now" in page.text("#end-title")
    page.photo("end-nothing-for-now")
    expire(served.study)
    time.sleep(0.1)
    page.click("#again")
    page.screen()
    assert page.text("#done") == "0 of 1 done"
