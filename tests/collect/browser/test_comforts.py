"""Undo, skip, flag, zoom, help, instructions, and coming back."""

from __future__ import annotations

import time

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import PHONE, RaterPage
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]


def transforms(page: RaterPage) -> list[str]:
    return page.script("return [...document.querySelectorAll('#zoom img')].map(image => image.style.transform)")


def test_undo_shows_the_last_screen_again_at_once_and_the_new_answer_counts(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    first = page.screen()
    page.keys("1")
    second = page.screen(first)
    page.keys("u")
    assert page.screen(second) == first
    page.status("Undone")
    page.keys("2")
    assert page.screen(first) == second, "the screen that was open waits"
    page.done(1)
    left, undo, right = served.votes()
    assert (undo.kind, undo.supersedes, right.said["answers"]["general"]) == ("undo", left.id, "right")
    assert left.handles == right.handles == first


def test_undo_goes_back_several_screens_and_beyond_a_reload(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    seen = [page.screen()]
    for key in ("1", "2", "t"):
        page.keys(key)
        seen.append(page.screen(seen[-1]))
    page.click("#undo")
    assert page.screen(seen[3]) == seen[2]
    page.done(2)
    page.driver.refresh()
    assert page.screen() == seen[2]
    page.keys("u")
    assert page.screen(seen[2]) == seen[1], "the server knows the screen that this page never showed"
    page.keys("u")
    assert page.screen(seen[1]) == seen[0]
    page.done(0)
    page.keys("u")
    page.hint("nothing to undo")
    assert [vote.kind for vote in served.votes()] == ["answer"] * 3 + ["undo"] * 3


def test_undo_takes_back_this_tabs_answer_and_not_another_tabs(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    link = served.invite()
    page.open(link)
    first = page.screen()
    page.keys("1")
    page.screen(first)
    page.done(1)
    here = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.driver.get(link)
    seen = page.screen()
    page.keys("2")
    page.screen(seen)
    page.done(2)
    page.driver.close()
    page.driver.switch_to.window(here)
    page.keys("u")
    assert page.screen(seen) == first
    page.done(1)
    one, two, undo = served.votes()
    assert (undo.kind, undo.supersedes, two.kind) == ("undo", one.id, "answer")


def test_undo_brings_the_answers_to_several_questions_back(page: RaterPage, serve: Serve):
    served = serve(prompts=3, questions=("general", "alignment"))
    page.open(served.invite())
    seen = page.screen()
    page.keys("1", "2", Keys.ENTER)
    page.screen(seen)
    page.keys("u")
    page.screen()
    pressed = "return [...document.querySelectorAll('[aria-pressed=true]')].map(b => b.dataset.value)"
    assert page.script(pressed) == ['"left"', '"right"']
    page.keys(Keys.ARROW_DOWN, "t", Keys.ENTER)
    page.done(1)
    assert served.votes()[-1].said["answers"] == {"general": "left", "alignment": "tie"}


def test_undo_works_on_the_last_page(page: RaterPage, serve: Serve):
    served = serve(prompts=1)
    page.open(served.invite())
    seen = page.screen()
    page.keys("1")
    page.ended()
    page.done(1)
    page.keys("u")
    assert page.screen() == seen
    page.keys("2")
    page.ended()
    assert [vote.kind for vote in served.votes()] == ["answer", "undo", "answer"]


def test_a_screen_is_skipped_with_a_reason_by_keys(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    seen = page.screen()
    page.keys("s")
    assert page.visible("#skip")
    page.photo("skip")
    page.keys("1")
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert (vote.kind, vote.said["reason"]) == ("skip", "unsure")


def test_a_screen_is_flagged_with_a_remark_on_a_phone(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite(), PHONE, touch=True)
    seen = page.screen()
    page.tap("#open-flag")
    page.wait("the dialog is open", lambda: page.visible("#flag"))
    page.tap("#flag-words")
    page.keys("an extra arm, 2 of 3")
    page.photo("flag-phone")
    page.tap("#flag [data-reason]", 1)
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert (vote.kind, vote.said["reason"]) == ("flag", "broken: an extra arm, 2 of 3")


def test_a_dialog_can_be_closed_without_an_answer(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    seen = page.screen()
    for opens, key in (("f", ""), ("s", "7"), ("?", "1")):
        page.keys(opens, key, Keys.ESCAPE)
        # A key that comes before the next frame still goes to the dialog; nobody types that fast.
        page.wait("the focus is back", lambda: page.script("return !document.activeElement.closest('dialog')"))
    assert page.shown() == seen
    assert served.votes() == []


def test_zoom_moves_all_images_together(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    seen = page.screen()
    page.keys("z")
    page.wait("zoom is open", lambda: len(transforms(page)) == 2)
    page.keys("+", "+", Keys.ARROW_LEFT)
    assert page.text("#zoom output") == "225%"
    assert len(set(transforms(page))) == 1
    assert "translate(60px, 0px) scale(2.25)" in transforms(page)[0]
    page.photo("zoom")
    origin = ScrollOrigin.from_element(page.all(".pane")[1])
    ActionChains(page.driver).scroll_from_origin(origin, 0, -200).perform()
    page.wait("the wheel zooms", lambda: page.text("#zoom output") not in ("", "225%"))
    before = transforms(page)
    ActionChains(page.driver).drag_and_drop_by_offset(page.all(".pane")[0], 40, 30).perform()
    assert transforms(page) != before
    assert len(set(transforms(page))) == 1
    page.keys("0")
    assert page.text("#zoom output") == "100%"
    page.keys("z")
    assert not page.visible("#zoom")
    assert page.shown() == seen
    assert served.votes() == []


def test_two_fingers_zoom(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite(), PHONE, touch=True)
    page.screen()
    page.tap("#open-zoom")
    page.wait("zoom is open", lambda: len(transforms(page)) == 2)
    for kind, apart in (("touchStart", 20), ("touchMove", 40), ("touchMove", 60)):
        points = [{"x": 180 - apart, "y": 180, "id": 0}, {"x": 180 + apart, "y": 180, "id": 1}]
        page.cdp("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    page.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert page.text("#zoom output") == "300%"
    assert len(set(transforms(page))) == 1
    page.photo("zoom-phone")
    time.sleep(0.4)  # Chromium takes a touch right after two fingers for a part of their gesture
    page.tap("[data-zoom=close]")
    page.wait("zoom is closed", lambda: not page.visible("#zoom"))


def test_help_lists_the_keys(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    page.screen()
    page.keys("?")
    listed = page.text("#help")
    assert all(word in listed for word in ("image 1", "tie", "both bad", "undo", "skip", "flag", "zoom"))
    page.photo("help")
    page.keys(Keys.ENTER)
    assert not page.visible("#help")


def test_instructions_are_shown_once_and_can_be_opened_again(page: RaterPage, serve: Serve):
    served = serve(prompts=5, instructions="Look at hands and faces.\n\nA tie is for when you cannot tell.")
    page.open(served.invite())
    page.wait("the welcome is open", lambda: page.visible("#welcome"))
    page.wait("the images are there behind it", page.shown)
    page.photo("welcome")
    page.keys("1")
    assert page.unsent() is None, "keys answer nothing before the rater has begun"
    time.sleep(0.6)
    page.keys(Keys.ENTER)
    seen = page.screen()
    page.keys("1")
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert vote.seconds is not None and vote.seconds < 0.6, "time runs from the beginning, not from the welcome"
    page.driver.refresh()
    page.screen()
    assert not page.visible("#welcome")
    page.click("summary")
    assert "hands and faces" in page.text("#instructions")
    page.photo("instructions")


def test_a_closed_tab_is_opened_again_at_the_same_screen(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    link = served.invite()
    page.open(link)
    first = page.screen()
    page.keys("1")
    second = page.screen(first)
    page.done(1)
    old = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    new = page.driver.current_window_handle
    page.driver.switch_to.window(old)
    page.driver.close()
    page.driver.switch_to.window(new)
    page.driver.get(link)
    assert page.screen() == second
    page.done(1)
    assert "/r/" not in page.driver.current_url, "the token is not in the address"


def test_time_is_not_counted_while_the_page_is_hidden(page: RaterPage, serve: Serve):
    served = serve(prompts=5)
    page.open(served.invite())
    seen = page.screen()
    turn = """Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});
        document.dispatchEvent(new Event('visibilitychange'))"""
    page.script(turn, True)
    time.sleep(1.5)
    page.script(turn, False)
    page.keys("1")
    page.screen(seen)
    page.done(1)
    assert 0.2 < (served.votes()[0].seconds or 0) < 1.4


def test_all_images_appear_in_the_same_moment(page: RaterPage, serve: Serve):
    served = serve(prompts=4, images=4, size=(512, 512), task="best")
    watch = """window.counts = new Set();
        addEventListener('DOMContentLoaded', () => {
          const stage = document.getElementById('stage');
          const look = () => counts.add(stage.querySelectorAll('img').length);
          new MutationObserver(look).observe(stage, {childList: true, subtree: true});
        })"""
    added = page.cdp("Page.addScriptToEvaluateOnNewDocument", source=watch)
    page.cdp(
        "Network.emulateNetworkConditions",
        offline=False,
        latency=60,
        downloadThroughput=60_000,
        uploadThroughput=60_000,
    )
    try:
        page.open(served.invite())
        seen = page.screen()
        page.keys("1")
        page.screen(seen)
    finally:
        page.cdp("Page.removeScriptToEvaluateOnNewDocument", **added)
        page.cdp(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
    assert set(page.script("return [...counts]")) <= {0, 4}
