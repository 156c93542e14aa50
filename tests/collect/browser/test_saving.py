"""The page's status is true at every moment: it never shows "Saved" while an answer is not confirmed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import RaterPage
from collect.browser.served import Served

WATCH = """
window.lies = [];
const look = () => {
  const said = document.getElementById('status').innerText;
  const open = Object.keys(localStorage).some(key => key.endsWith('outbox'));
  if (open && /saved/i.test(said) && !/not saved yet/.test(said)) lies.push(said);
  requestAnimationFrame(look);
};
look();
"""
"""Notes at every frame whether the page says that something is saved while answers are on their way."""


@contextmanager
def frozen(served: Served) -> Iterator[None]:
    """A server that accepts connections and does not answer, because its process is stopped."""
    assert served.process
    served.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        served.process.send_signal(signal.SIGCONT)


def test_saved_is_shown_only_once_the_server_has_the_answer(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    first = page.screen()
    page.script(WATCH)
    page.keys("1")
    page.status("Saved: Image 1")
    second = page.screen(first)
    with frozen(served):
        page.keys("2")
        page.screen(second)
        page.status("Saving…")
        page.status("1 answer not saved yet, the server is slow")
        page.photo("server-slow")
    page.status("Saved: Image 2")
    assert page.script("return lies") == []
    assert len(served.votes()) == 2


def test_the_page_thanks_only_once_the_last_answer_is_confirmed(page: RaterPage, serve: Serve):
    served = serve(prompts=1)
    page.open(served.invite())
    page.screen()
    with frozen(served):
        page.keys("1")
        page.wait("it says what it waits for", lambda: "saved your answers" in page.text("#trouble"))
        assert not page.visible("#end")
        page.photo("waiting-for-the-last")
    page.ended()
    page.status("Saved: Image 1")


@pytest.mark.slow
def test_a_refused_answer_is_never_shown_as_saved(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    page.open(served.invite())
    seen = page.screen()
    page.script("""const real = window.fetch;
        window.fetch = async (path, ...rest) => path !== '/api/votes' ? real(path, ...rest) :
          new Response('{"detail": "this screen is answered"}', {status: 409})""")
    page.script("""window.said = new Set();
        new MutationObserver(() => said.add(document.getElementById('status').innerText))
          .observe(document.getElementById('status'), {childList: true, characterData: true, subtree: true})""")
    page.keys("1")
    page.wait("the page explains it", lambda: "was not counted" in page.text("#notice"))
    page.screen(seen)
    assert [text for text in page.script("return [...said]") if "Saved" in text] == []


@pytest.mark.slow
def test_in_a_browser_without_storage_the_page_says_that_it_must_stay_open(page: RaterPage, serve: Serve):
    served = serve(prompts=6)
    added = page.cdp(
        "Page.addScriptToEvaluateOnNewDocument",
        source="Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') }",
    )
    try:
        page.open(served.invite())
        seen = page.screen()
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        page.cdp("Network.emulateNetworkConditions", offline=True, **conditions)
        try:
            page.keys("1")
            page.status("Offline: 1 answer not saved yet, keep this page open")
        finally:
            page.cdp("Network.emulateNetworkConditions", offline=False, **conditions)
        page.status("Saved: Image 1")
        page.screen(seen)
        assert len(served.votes()) == 1
    finally:
        page.cdp("Page.removeScriptToEvaluateOnNewDocument", **added)
