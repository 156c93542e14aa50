"""Keys of a ranking: a number means an image, Enter sends or shows what is missing; neither changes a rank."""

from __future__ import annotations

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import RaterPage
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.usefixtures("quiet")
PICK = """
const list = document.querySelectorAll('select')[arguments[0]];
list.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true}));
list.focus();
list.value = arguments[1];
list.dispatchEvent(new Event('change', {bubbles: true}));
"""
"""What the mouse does to a list: opens it, and picks something."""


def captions(page: RaterPage) -> list[str]:
    return page.script("return [...document.querySelectorAll('figcaption span')].map(each => each.textContent)")


def opened(page: RaterPage, serve: Serve):
    served = serve(prompts=8, images=4, task="ranking")
    page.open(served.invite())
    return served, page.screen()


def test_an_early_enter_changes_no_rank_and_number_keys_still_mean_images(page: RaterPage, serve: Serve):
    served, seen = opened(page, serve)
    page.keys("2", Keys.ENTER)
    page.hint("Still to rank: image 1, image 3 and image 4")
    page.photo("ranking-too-early")
    page.keys(Keys.ENTER)
    assert captions(page) == ["", "rank 1", "", ""] and page.shown() == seen
    page.keys("3", "1", "4")
    assert captions(page) == ["rank 3", "rank 1", "rank 2", "rank 4"]
    assert page.text("#hint") == ""
    page.keys(Keys.ENTER)
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].said["answers"]["general"] == [3, 1, 2, 4]


@pytest.mark.parametrize("button", [".clear", ".shared", "#open-zoom"])
def test_enter_sends_the_answer_after_a_click_on_another_button(page: RaterPage, serve: Serve, button: str):
    served, seen = opened(page, serve)
    page.click(button)
    if button == "#open-zoom":
        page.keys(Keys.ESCAPE)
        page.wait("the focus is back", lambda: page.script("return document.activeElement.id") == "open-zoom")
    page.keys("4", "3", "2", "1", Keys.ENTER)
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].said["answers"]["general"] == [4, 3, 2, 1]


def test_after_the_mouse_sets_a_list_number_keys_mean_images_again(page: RaterPage, serve: Serve):
    served, seen = opened(page, serve)
    page.script(PICK, 1, "1")
    assert captions(page) == ["", "rank 1", "", ""]
    page.keys("3", "1", "4", Keys.ENTER)
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].said["answers"]["general"] == [3, 1, 2, 4]


def test_a_second_enter_does_not_answer_an_open_question(page: RaterPage, serve: Serve):
    served = serve(prompts=4, questions=("general", "alignment"))
    page.open(served.invite())
    seen = page.screen()
    page.keys("1", Keys.ENTER, Keys.ENTER)
    page.hint("Still to answer: \u2068Which image fits the prompt better?")
    assert page.script("return document.querySelectorAll('[aria-pressed=true]').length") == 1
    page.keys("2", Keys.ENTER)
    page.screen(seen)
    page.done(1)
    assert served.votes()[0].said["answers"] == {"general": "left", "alignment": "right"}
