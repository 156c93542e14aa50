"""Images are ranked by dragging one onto another, with the mouse or with a finger; keys and clicks still work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import PHONE, RaterPage
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
BETTER, TIE, WORSE = 0.15, 0.5, 0.85
"""Where on an image another one is dropped: shares of its width."""
RESTED = 0.45
"""Seconds after which a finger that rested drags."""


def opened(page: RaterPage, serve: Serve, touch: bool = False, **changes: object):
    served = serve(**{"prompts": 3, "images": 4, "task": "ranking", **changes})
    page.open(served.invite(), *([PHONE, True] if touch else []))
    page.screen()
    return served


def at(page: RaterPage, image: int, share: float) -> dict[str, float]:
    """A place in the middle of an image's height."""
    box = page.script("return document.querySelectorAll('.frame')[arguments[0]].getBoundingClientRect()", image)
    return {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}


def mouse(page: RaterPage, kind: str, where: dict[str, float], held: bool = True) -> None:
    button = {"button": "left", "buttons": 1, "clickCount": 1} if held else {}
    page.cdp("Input.dispatchMouseEvent", type=f"mouse{kind}", **where, **button)


@contextmanager
def dragging(page: RaterPage, image: int, onto: int, share: float) -> Iterator[None]:
    """Holds an image over another one; it is dropped at the end."""
    start, end = at(page, image, 0.5), at(page, onto, share)
    mouse(page, "Moved", start, held=False)
    mouse(page, "Pressed", start)
    for step in (0.1, 0.5, 1.0):
        mouse(page, "Moved", {axis: start[axis] + step * (end[axis] - start[axis]) for axis in start})
    yield
    mouse(page, "Released", end)


def drag(page: RaterPage, image: int, onto: int, share: float) -> None:
    with dragging(page, image, onto, share):
        pass


def finger(page: RaterPage, kind: str, **where: float) -> None:
    page.cdp("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=[where] if where else [])


def captions(page: RaterPage) -> list[str]:
    return [each.text.split("\n")[-1] for each in page.all("figcaption")]


def test_images_are_dragged_to_rank_better_equal_and_worse(page: RaterPage, serve: Serve):
    served = opened(page, serve)
    seen = page.shown()
    for image, onto, share, ranks in (
        (2, 0, BETTER, ["rank 2", "2", "rank 1", "4"]),
        (1, 0, TIE, ["rank 2", "rank 2", "rank 1", "4"]),
        (3, 2, WORSE, ["rank 3", "rank 3", "rank 1", "rank 2"]),
        (0, 2, BETTER, ["rank 1", "rank 4", "rank 2", "rank 3"]),
        (1, 2, WORSE, ["rank 1", "rank 3", "rank 2", "rank 4"]),
        (1, 1, BETTER, ["rank 1", "rank 3", "rank 2", "rank 4"]),  # onto itself
    ):
        drag(page, image, onto, share)
        assert captions(page) == ranks
    page.photo("ranking-dragged")
    page.click("#send")
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert vote.said["answers"]["general"] == [1, 3, 2, 4] == vote.ranks()


def test_a_drag_shows_what_a_drop_would_do(page: RaterPage, serve: Serve):
    opened(page, serve)
    for share, side, words in ((BETTER, "better", "better than"), (TIE, "tie", "ties with"), (WORSE, "worse", "worse")):
        with dragging(page, 3, 1, share):
            assert words in page.text(".ghost") and "image 2" in page.text(".ghost")
            assert [each.get_attribute("data-drop") for each in page.all("figure")] == [None, side, None, None]
            page.photo(f"ranking-drag-{side}")
        assert not page.all(".ghost, [data-drop], .lifted")


def test_a_drag_that_ends_outside_of_an_image_or_is_cancelled_changes_nothing(page: RaterPage, serve: Serve):
    opened(page, serve)
    with dragging(page, 3, 1, BETTER):
        page.keys(Keys.ESCAPE)
        assert not page.all(".ghost, [data-drop], .lifted")
    with dragging(page, 3, 1, BETTER):
        mouse(page, "Moved", {"x": 3, "y": 3})
        mouse(page, "Released", {"x": 3, "y": 3})
    assert captions(page) == ["1", "2", "3", "4"]
    page.click(".frame", 1)
    assert captions(page) == ["1", "rank 1", "3", "4"], "a click is still a click"


def test_keys_and_drags_can_be_mixed(page: RaterPage, serve: Serve):
    opened(page, serve)
    page.keys("3", "1")
    drag(page, 1, 0, BETTER)
    page.keys("4")
    assert captions(page) == ["rank 3", "rank 2", "rank 1", "rank 4"]
    page.keys(Keys.BACKSPACE)
    assert captions(page) == ["1", "2", "3", "4"]


def test_a_drag_ends_when_its_screen_is_replaced(page: RaterPage, serve: Serve):
    opened(page, serve)
    seen = page.shown()
    page.keys("1", "2", "3", "4", Keys.ENTER)
    now = page.screen(seen)
    with dragging(page, 3, 1, BETTER):
        page.keys("u")
        page.screen(now)
        assert not page.all(".ghost")
    assert captions(page) == ["rank 1", "rank 2", "rank 3", "rank 4"]


def test_a_drag_ranks_only_the_active_question(page: RaterPage, serve: Serve):
    served = opened(page, serve, images=3, questions=("general", "alignment"))
    for image, onto, share in ((1, 0, BETTER), (2, 0, TIE), (2, 0, BETTER), (1, 2, TIE)):
        drag(page, image, onto, share)
    seen = page.shown()
    page.click("#send")
    page.screen(seen)
    page.done(1)
    (vote,) = served.votes()
    assert (vote.ranks("general"), vote.ranks("alignment")) == ([2, 1, 2], [2, 1, 1])


def test_a_finger_drags_after_a_hold_and_scrolls_without_one(page: RaterPage, serve: Serve):
    opened(page, serve, touch=True, images=9, prompts=2, size=(240, 160))
    page.script("document.querySelectorAll('.frame')[0].scrollIntoView({block: 'center', behavior: 'instant'})")
    start, end = at(page, 0, 0.5), at(page, 1, BETTER)
    finger(page, "Start", **start)
    time.sleep(RESTED)
    before = page.script("return scrollY")
    for step in (0.3, 0.7, 1.0):
        finger(page, "Move", **{axis: start[axis] + step * (end[axis] - start[axis]) for axis in start})
    assert "better than image 2" in page.text(".ghost")
    page.photo("ranking-drag-finger")
    finger(page, "End")
    assert captions(page)[:2] == ["rank 1", "rank 2"] and page.script("return scrollY") == before
    finger(page, "Start", **start)
    time.sleep(RESTED)
    finger(page, "Move", x=start["x"], y=PHONE[1] - 20)
    page.wait("the page scrolls by itself", lambda: page.script("return scrollY") > before + 50)
    finger(page, "Cancel")
    page.script("scrollTo(0, arguments[0])", before)
    assert not page.all(".ghost") and captions(page)[:2] == ["rank 1", "rank 2"]
    finger(page, "Start", **start)
    for y in (30, 60, 120, 200):
        finger(page, "Move", x=start["x"], y=start["y"] - y)
    finger(page, "End")
    page.wait("the page has scrolled", lambda: page.script("return scrollY") > before)
    assert not page.all(".ghost") and captions(page)[:2] == ["rank 1", "rank 2"]
