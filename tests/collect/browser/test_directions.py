"""Texts that are written from right to left, or change the direction, do not affect the text around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import RaterPage
from collect.browser.served import Served
from collect.database import drawn
from selenium.webdriver.common.keys import Keys

from palate.collect.config import StudyConfig

pytestmark = pytest.mark.usefixtures("quiet")
HEBREW, TURNED = "חתול על גג", "a cat \u202egnp.tac"
LOOSE = """
const loose = [];
const words = new RegExp(arguments[0]);
const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const parent = walk.currentNode.parentElement;
  if (!words.test(walk.currentNode.data) || !parent.checkVisibility()) continue;
  let element = parent;
  while (!/isolate|plaintext/.test(getComputedStyle(element).unicodeBidi)) element = element.parentElement;
  const alone = element.textContent.trim().length <= walk.currentNode.data.trim().length + 2; // marks of quotation
  if (!alone) loose.push(`${parent.tagName} ${parent.id}: ${walk.currentNode.data}`);
}
return loose;
"""
"""Texts of people's own that something else is beside, and nothing between them; see "unicode-bidi" of CSS."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("directions")
    named: list[tuple[str, Path]] = [(name, drawn(folder / name, [HEBREW, TURNED], name)) for name in ("base", "א-ב")]
    images = tuple(f"{name}={path}" for name, path in named)
    texts = {"title": "איזה ציור", "questions": ("מה יפה יותר?", "alignment"), "instructions": "שלום.\nLook."}
    served = Served(StudyConfig(out=folder / "study", images=images, mirror=0.0, **texts))
    served.start()
    yield served
    served.close()


def test_on_the_raters_page_a_text_does_not_change_the_direction_of_others(
    page: RaterPage, served: Served, serve: Serve
):
    page.open(served.invite())
    page.wait("the welcome is open", lambda: page.visible("#welcome"))
    assert page.script(LOOSE, "[א-ת]") == []
    page.keys(Keys.ENTER)
    seen, prompts = [], set()
    for _ in range(2):
        seen = page.screen(seen)
        prompts.add(page.text("#prompt"))
        assert page.script(LOOSE, "[א-ת]|cat") == []
        assert page.script("return getComputedStyle(document.querySelector('.standing')).direction") == "ltr"
        page.photo(f"directions-{len(prompts)}")
        page.keys("1", "2", Keys.ENTER)
    assert prompts == {HEBREW, "a cat [U+202E]gnp.tac"}


def test_on_the_owners_page_a_text_does_not_change_the_direction_of_others(
    page: RaterPage, served: Served, serve: Serve
):
    served.study.add_rater("דנה 12")
    page.open(f"{served.address}/owner/enter/{served.study.renew_owner()}")
    page.wait("the page runs", lambda: page.text("#fresh"))
    page.script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.script(LOOSE, "[א-ת]") == []
    page.photo("directions-owner")
