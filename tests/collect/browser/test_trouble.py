"""Killed servers, failed connections and lost cookies: no answer is lost, and none counts twice."""

from __future__ import annotations

import json

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import RaterPage

pytestmark = pytest.mark.slow


def asks_before_leaving(page: RaterPage) -> bool:
    leave = "const e = new Event('beforeunload', {cancelable: true}); dispatchEvent(e); return e.defaultPrevented"
    return page.script(leave)


def test_a_server_that_is_killed_and_started_again_loses_nothing(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    first = page.screen()
    page.keys("1")
    second = page.screen(first)
    page.done(1)
    assert not asks_before_leaving(page)
    served.stop(gently=False)
    page.keys("2")  # the screen after it was loaded ahead
    third = page.screen(second)
    page.status("1 answer not saved yet, trying again")
    assert page.text("#done").startswith("2 of ")
    page.keys("t")
    page.status("2 answers not saved yet, trying again")
    page.photo("server-gone")
    assert asks_before_leaving(page)
    served.start()
    page.wait("everything is saved", lambda: not page.unsent(), 30)
    page.screen(third)
    page.done(3)
    page.status("Saved")
    votes = served.votes()
    assert [vote.said["answers"]["general"] for vote in votes] == ["left", "right", "tie"]
    assert [vote.handles for vote in votes] == [first, second, third]
    assert not asks_before_leaving(page)


def test_an_answer_whose_confirmation_was_lost_counts_once(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    seen = page.screen()
    page.script("""const real = window.fetch; let lost = 0;
        window.fetch = async (path, ...rest) => {
          const answer = await real(path, ...rest);
          if (path === '/api/votes' && lost++ < 2) throw new TypeError('the connection broke');
          return answer;
        }""")
    page.keys("1")
    page.screen(seen)
    page.done(1)
    assert len(served.votes()) == 1


def test_unsent_answers_survive_a_reload(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    page.cdp("Network.enable")
    page.cdp("Network.setBlockedURLs", urls=["*/api/votes"])
    try:
        seen = page.screen()
        page.keys("1")
        page.status("not saved yet, trying again")
        kept = json.loads(page.unsent() or "")
        page.driver.refresh()
        page.status("not saved yet, trying again")
        assert json.loads(page.unsent() or "") == kept
    finally:
        page.cdp("Network.setBlockedURLs", urls=[])
    page.wait("it is sent", lambda: not page.unsent(), 20)
    assert page.screen() != seen
    page.done(1)
    assert [vote.handles for vote in served.votes()] == [seen]


def test_a_page_without_a_connection_says_so_and_sends_the_answer_later(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    seen = page.screen()
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.cdp("Network.emulateNetworkConditions", offline=True, **conditions)
    try:
        page.keys("1")
        page.status("Offline: 1 answer not saved yet, kept on this device")
    finally:
        page.cdp("Network.emulateNetworkConditions", offline=False, **conditions)
    page.done(1)
    page.screen(seen)


def test_the_undo_of_an_unsent_answer_is_sent_after_the_answer(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    first = page.screen()
    served.stop(gently=False)
    page.keys("1")
    second = page.screen(first)
    page.keys("u")
    assert page.screen(second) == first
    page.keys("2")
    page.screen(first)
    page.status("3 answers not saved yet")
    served.start()
    page.wait("everything is saved", lambda: not page.unsent(), 30)
    page.done(1)
    assert [vote.kind for vote in served.votes()] == ["answer", "undo", "answer"]
    assert served.votes()[-1].said["answers"]["general"] == "right"


def test_a_screen_that_another_tab_answered_is_explained(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    seen = page.screen()
    here = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    try:
        page.driver.get(served.address)
        assert page.screen() == seen
        page.keys("2")
        page.done(1)
    finally:
        page.driver.close()
        page.driver.switch_to.window(here)
    page.keys("1")
    page.wait("the page explains it", lambda: "was not counted" in page.text("#notice"))
    page.photo("answered-in-another-tab")
    page.screen(seen)
    page.done(1)
    page.click("#notice button")
    assert not page.visible("#notice")
    assert len(served.votes()) == 1


def test_a_browser_whose_cookie_is_invalid_keeps_the_answer_until_the_link_is_opened(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    link = served.invite()
    page.open(link)
    seen = page.screen()
    page.cdp("Network.clearBrowserCookies")
    page.keys("1")
    page.wait("the page says what to do", lambda: "Open the link" in page.text("#notice"))
    page.photo("unknown-browser")
    assert page.unsent()
    page.driver.get(link)
    assert page.screen() != seen
    page.done(1)
    assert [vote.handles for vote in served.votes()] == [seen]


def test_answers_of_one_rater_are_never_sent_as_those_of_another(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    link = served.invite()
    page.open(link)
    seen = page.screen()
    page.cdp("Network.clearBrowserCookies")
    page.keys("1")
    page.wait("the answer is kept", page.unsent)
    page.driver.get(served.invite())
    other = page.screen()
    page.keys("2")
    page.screen(other)
    page.status("Saved")
    assert [vote.handles for vote in served.votes()] == [other]
    page.driver.get(link)
    page.screen()
    page.done(1)
    assert [vote.handles for vote in served.votes(served.raters - 1)] == [seen]


def test_a_request_that_an_overloaded_server_refuses_is_sent_again_later(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    seen = page.screen()
    page.script("""const real = window.fetch; let refused = 0;
        window.fetch = async (path, ...rest) => path !== '/api/votes' || refused++ ? real(path, ...rest) :
          new Response('{"detail": "too many requests"}', {status: 429, headers: {'retry-after': '1'}})""")
    page.keys("1")
    page.status("waiting a moment")
    page.screen(seen)
    page.done(1)
    assert len(served.votes()) == 1


def test_images_that_fail_at_first_are_loaded_again(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    link = served.invite()
    page.cdp("Network.enable")
    page.cdp("Network.setBlockedURLs", urls=["*/i/*"])
    try:
        page.open(link)
        page.wait("the page says that images do not load", lambda: "do not load" in page.text("#trouble"))
        page.keys("1")
        assert page.unsent() is None, "what cannot be seen cannot be judged"
        page.photo("images-missing")
    finally:
        page.cdp("Network.setBlockedURLs", urls=[])
    page.screen()
    assert not page.visible("#trouble")


def test_a_browser_without_a_session_is_asked_to_open_the_link(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.cdp("Network.clearBrowserCookies")
    page.driver.get(served.address)
    assert "open the link that you were sent" in page.text("[role=alert]").lower()
    page.photo("refusal")
