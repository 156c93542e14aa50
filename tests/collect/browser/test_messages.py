"""Pages for refused requests: they have the study's style, can be read, and say what to do."""

from __future__ import annotations

import time

import pytest
from collect.browser.conftest import Serve
from collect.browser.looks import CONTRASTS, OVERFLOW, SMALL
from collect.browser.rater_page import RaterPage

PHONE = (360, 640)


def check(page: RaterPage, name: str) -> None:
    assert page.script("return getComputedStyle(document.querySelector('.card')).borderRadius") == "16px"
    assert page.script(CONTRASTS) == [] and page.script(SMALL) == [] and page.script(OVERFLOW) <= 0
    page.photo(f"message-{name}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_client_without_a_session_and_a_wrong_address_get_a_page_that_says_what_to_do(
    page: RaterPage, serve: Serve, scheme: str
):
    served = serve(prompts=6)
    link = served.invite()
    page.open(link[:-4] + "0000", PHONE, touch=True, prefers_color_scheme=scheme)
    assert "This link is not valid" in page.text("[role=alert]").replace("this", "This")
    check(page, f"404-{scheme}")
    page.driver.get(served.address)
    assert "open the link that you were sent" in page.text("[role=alert]").lower()
    check(page, f"401-{scheme}")
    page.driver.get(f"{served.address}/nowhere")
    assert "nothing at this address" in page.text("[role=alert]")
    check(page, f"nowhere-{scheme}")
    page.driver.get(link)
    page.screen()


@pytest.mark.slow
def test_a_client_with_too_many_requests_gets_a_page_with_a_button_to_try_again(page: RaterPage, serve: Serve):
    served = serve(prompts=6, title="A study that is asked too often")
    served.stop()
    served.rate = 1.0
    served.start()
    page.open(f"{served.address}/nowhere", PHONE, touch=True)
    for _ in range(12):
        page.script("return fetch('/nowhere').then(answer => answer.status)")
    page.driver.get(f"{served.address}/nowhere")
    assert "too many requests" in page.text("[role=alert]").lower()
    check(page, "429")
    time.sleep(2)
    page.tap("a.button")
    page.wait("it is let in again", lambda: "nothing at" in page.text("[role=alert]"))
