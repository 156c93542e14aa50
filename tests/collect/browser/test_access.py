"""Accessibility: names, sizes, contrast, focus, motion; and the page reveals no system."""

from __future__ import annotations

import re

import pytest
from collect.browser.conftest import Serve
from collect.browser.looks import CONTRASTS, CUT, OVERFLOW, RING, SMALL
from collect.browser.rater_page import PHONE, RaterPage
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quiet")]
STUDIES = {
    "pairwise": {"instructions": "Look closely."},
    "best": {"images": 4, "task": "best"},
    "ranking": {"images": 4, "task": "ranking"},
    "rating": {"images": 1, "task": "rating"},
    "three": {"questions": ("general", "appeal", "alignment")},
    "ranking-two": {"images": 3, "task": "ranking", "questions": ("general", "alignment")},
}
EVERY = pytest.mark.parametrize("kind", list(STUDIES))
NAMED = ("button", "combobox", "textbox", "dialog", "group", "image", "heading", "DisclosureTriangle")


def opened(page: RaterPage, serve: Serve, kind: str, size=PHONE, touch=False, **media: str) -> RaterPage:
    page.open(serve(prompts=4, **STUDIES[kind]).invite(), size, touch, **media)
    page.wait("the images are there", page.shown)
    if page.visible("#welcome"):
        page.keys(Keys.ENTER)
    page.screen()
    return page


@EVERY
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(page: RaterPage, serve: Serve, kind: str, scheme: str):
    opened(page, serve, kind, (1280, 800), prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    page.photo(f"{kind}-{scheme}")
    assert page.script(CONTRASTS) == []
    for key in ("s", "f", "?", "z"):
        page.keys(key)
        assert page.script(CONTRASTS) == [], f"in the dialog of {key}"
        page.keys(Keys.ESCAPE)


@EVERY
def test_every_target_is_large_enough_and_nothing_is_cut_on_any_phone(page: RaterPage, serve: Serve, kind: str):
    opened(page, serve, kind, PHONE, touch=True)
    for width, height in ((360, 640), (375, 740), (390, 844), (430, 932), (740, 360)):
        page.resize((width, height), touch=True)
        page.wait("the page is laid out", lambda width=width: page.script("return innerWidth") == width)
        page.script("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.photo(f"{kind}-{width}x{height}")
        assert page.script(OVERFLOW) <= 0, width
        assert page.script(SMALL) == [], width
        assert page.script(CUT) == [], width
    for opener in ("#open-skip", "#open-flag", "#open-help", "#open-zoom"):
        page.tap(opener)
        page.wait("a dialog is open", lambda: page.visible("dialog[open]"))
        assert page.script(SMALL) == [], opener
        page.keys(Keys.ESCAPE)


@EVERY
def test_everything_has_a_name_for_a_screen_reader(page: RaterPage, serve: Serve, kind: str):
    opened(page, serve, kind, (1280, 800))
    seen = {}
    for key in ("", "s", "f", "?", "z"):
        page.keys(*key)
        for node in page.cdp("Accessibility.getFullAXTree")["nodes"]:
            role, name = node.get("role", {}).get("value", ""), node.get("name", {}).get("value", "").strip()
            if not node["ignored"] and role in NAMED:
                assert name, f"a {role} without a name ({key or 'no dialog'})"
                seen.setdefault(role, set()).add(name)
        page.keys(*([Keys.ESCAPE] if key else []))
    n = STUDIES[kind].get("images", 2)
    assert seen["image"] == {f"image {number + 1}" for number in range(n)}, "an image is its number, and no more"
    assert {"Undo", "Skip", "Flag", "Zoom", "Help"} <= seen["button"]
    if kind == "pairwise":
        assert {"Image 1 is better", "Tie", "Both bad", "Image 2 is better"} <= seen["button"]
    questions = page.script(
        "return [...document.querySelectorAll('fieldset')].map(f => f.querySelector('legend') !== null)"
    )
    assert questions and all(questions)


@EVERY
def test_the_focus_is_seen_wherever_it_goes_and_reaches_everything(page: RaterPage, serve: Serve, kind: str):
    opened(page, serve, kind, (1280, 800))
    reached = []
    for _ in range(40):
        page.keys(Keys.TAB)
        name, ring = page.script(RING)
        if page.script("return document.activeElement === document.body") or name in reached[:1]:
            break
        assert ring or name in ("prompt",), f"the focus on {name} is not seen"
        reached.append(name)
    page.photo(f"focus-{kind}")
    assert {"open-help", "undo", "open-skip", "open-flag", "open-zoom"} <= set(reached)
    assert len(reached) >= page.script("return document.querySelectorAll('.choice, select').length") + 5


def test_the_focus_goes_to_the_prompt_after_an_answer_and_the_answers_come_next(page: RaterPage, serve: Serve):
    opened(page, serve, "pairwise", (1280, 800))
    page.tab_to(".choice")
    page.keys(Keys.SPACE)
    page.wait("the prompt has the focus", lambda: page.script("return document.activeElement.id") == "prompt")
    page.screen()
    page.keys(Keys.TAB)
    assert page.script("return document.activeElement.innerText").startswith(("1", "Image 1"))
    page.done(1)
    assert page.script("return document.getElementById('status').getAttribute('role')") == "status"
    page.status("Saved: Image 1")


def test_nothing_moves_for_a_rater_who_prefers_reduced_motion(page: RaterPage, serve: Serve):
    opened(page, serve, "pairwise", prefers_reduced_motion="reduce")
    assert page.script("return getComputedStyle(document.querySelector('.frame')).animationName") == "none"
    assert page.script("return document.getAnimations().length") == 0


def test_neither_the_page_nor_its_requests_reveal_which_system_drew_an_image(page: RaterPage, serve: Serve):
    opened(page, serve, "pairwise", (1280, 800))
    page.keys("1")
    page.done(1)
    page.screen()
    fetched = page.script("return performance.getEntriesByType('resource').map(e => new URL(e.name).pathname)")
    known = re.compile(r"/static/[a-z]+\.(js|css|svg)|/i/[A-Za-z0-9_-]{22}|/api/(screens|votes)")
    assert [path for path in fetched if not known.fullmatch(path)] == []
    fetched = [path for path in set(fetched) if path != "/api/votes"]
    bodies = page.script(
        """return Promise.all([...arguments[0], '/'].map(async path => {
        const answer = await fetch(path); return await answer.text() + [...answer.headers] }))""",
        fetched,
    )
    told = "".join([*bodies, page.script("return document.documentElement.outerHTML")])
    for secret in ("secret-model", "/drawn", "metadata.jsonl", "0-0.png", "rater 1"):
        assert secret not in told


def test_the_policy_forbids_inline_scripts_and_the_page_has_none(page: RaterPage, serve: Serve):
    opened(page, serve, "pairwise", (1280, 800))
    assert page.script("return document.querySelectorAll('[style]:not(#rater), script:not([src]), style').length") == 0
    page.script(
        "const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s)"
    )
    assert page.script("return window.evil ?? null") is None
    assert any("Content Security Policy" in message for message in page.complaints()), "the browser says so"
