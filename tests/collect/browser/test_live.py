"""Live mode in a browser: a rater writes a prompt, tiny-sd draws it, and the rater chooses."""

from __future__ import annotations

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import PHONE, RaterPage
from collect.browser.served import Served
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow
PATIENCE = 120.0
"""Seconds for the model to be loaded and two images to be drawn, on a machine that does other things too."""


@pytest.fixture
def live(serve: Serve) -> Served:
    return serve(live="tiny-sd")


@pytest.mark.usefixtures("quiet")
def test_a_prompt_is_written_drawn_and_compared_by_keys(page: RaterPage, live: Served):
    page.open(live.invite())
    page.wait("the page asks for a prompt", lambda: page.visible("#live-form"))
    assert page.script("return document.activeElement.id") == "live-prompt"
    page.photo("live-prompt")
    page.keys("three red stars on a blue background", Keys.ENTER)
    page.wait("the page says what it does", lambda: "rawing" in page.text("#live-state"))
    page.photo("live-drawing")
    first = page.wait("two images show", page.shown, PATIENCE)
    assert page.text("#prompt") == "three red stars on a blue background"
    page.screen()
    page.photo("live-screen")
    page.keys("1")
    page.wait("the page asks what next", lambda: page.visible("#live-next"))
    page.done(1)
    page.photo("live-next")
    page.keys("m")
    second = page.wait("other images show", lambda: page.shown() if page.shown() != first else [], PATIENCE)
    assert set(first).isdisjoint(second)
    page.screen()
    page.keys("2")
    page.wait("the page asks what next", lambda: page.visible("#live-next"))
    page.keys("n")
    page.wait("the page asks for a prompt", lambda: page.visible("#live-form"))
    page.done(2)
    assert [vote.ranks() for vote in live.votes()] == [[1, 2], [2, 1]]


@pytest.mark.usefixtures("quiet")
def test_a_reload_on_a_phone_continues_to_wait_for_the_drawing(page: RaterPage, live: Served):
    page.open(live.invite(), PHONE, touch=True)
    page.wait("the page asks for a prompt", lambda: page.visible("#live-form"))
    page.tap("#live-prompt")
    page.keys("one green circle on a white background")
    page.tap("#live-form .primary")
    page.wait(
        "the prompt is taken", lambda: page.script("return Object.keys(localStorage).some(k => k.endsWith('job'))")
    )
    page.driver.refresh()
    page.wait("two images show", page.shown, PATIENCE)
    page.screen()
    page.tap(".choice", 1)
    page.wait("the page asks what next", lambda: page.visible("#live-next"))
    page.photo("live-next-phone")
    page.tap("#undo")
    page.screen()
    page.tap(".choice", 0)
    page.wait("the page asks what next", lambda: page.visible("#live-next"))
    page.done(1)
    assert [vote.kind for vote in live.votes()] == ["answer", "undo", "answer"]


def test_a_failed_drawing_is_explained_and_the_prompt_is_kept(page: RaterPage, live: Served):
    page.open(live.invite())
    page.wait("the page asks for a prompt", lambda: page.visible("#live-form"))
    page.script("""const real = window.fetch;
        window.fetch = async (path, ...rest) => !path.startsWith('/api/live') ? real(path, ...rest)
          : new Response(JSON.stringify({job: 'a', state: 'failed', message: 'this model knows no dragons'}))""")
    page.keys("a dragon", Keys.ENTER)
    page.wait("the page explains it", lambda: "knows no dragons" in page.text("#live-state"))
    assert page.script("return document.getElementById('live-prompt').value") == "a dragon"
    page.photo("live-failed")
