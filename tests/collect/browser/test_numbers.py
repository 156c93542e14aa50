"""The number of an image is visible with the image on every phone, in portrait and in landscape."""

from __future__ import annotations

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import RaterPage

pytestmark = pytest.mark.usefixtures("quiet")
PHONES = ((360, 640), (640, 360), (320, 568), (844, 390))
STUDIES = {
    "wide": {"size": (640, 240)},
    "square": {},
    "tall": {"size": (240, 520)},
    "best": {"images": 4, "task": "best", "size": (640, 240)},
    "ranking": {"images": 4, "task": "ranking"},
    "nine": {"images": 9, "task": "ranking", "size": (240, 160)},
    "rating": {"images": 1, "task": "rating"},
    "three": {"questions": ("general", "appeal", "alignment"), "size": (640, 240)},
}
HIDDEN = """
const found = [];
for (const figure of document.querySelectorAll('#stage figure')) {
  figure.scrollIntoView({block: 'center', behavior: 'instant'});
  for (const part of figure.querySelectorAll('figcaption b, figcaption span')) {
    const box = part.getBoundingClientRect(), frame = figure.querySelector('.frame').getBoundingClientRect();
    const { clientWidth: width, clientHeight: height } = document.documentElement;
    const name = `${figure.dataset.position}: ${part.textContent} at ${box.x.toFixed()},${box.y.toFixed()}`;
    if (!box.width) found.push(`${name} has no size`);
    if (box.left < 0 || box.right > width || box.top < 0 || box.bottom > height) found.push(`${name} is off screen`);
    if (box.right > frame.left + 1 && box.bottom > frame.top + 1) found.push(`${name} covers the image`);
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    if (!part.parentElement.contains(top)) found.push(`${name} is behind ${top?.id || top?.tagName}`);
  }
}
return found;
"""
"""Numbers, and marks beside them, that are not to be seen while their image is in the middle of the window."""


def check(page: RaterPage, serve: Serve, kind: str, phones=PHONES) -> None:
    served = serve(prompts=2, **STUDIES[kind])
    page.open(served.invite(), phones[0], touch=True)
    page.screen()
    page.script("for (const each of document.querySelectorAll('figcaption span')) each.textContent = 'rank 2'")
    for width, height in phones:
        page.resize((width, height), touch=True)
        page.wait("the page is laid out", lambda width=width: page.script("return innerWidth") == width)
        page.script("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.photo(f"numbers-{kind}-{width}x{height}")
        assert page.script(HIDDEN) == [], f"{width} x {height}"


def test_the_numbers_of_two_wide_images_are_visible_on_a_phone(page: RaterPage, serve: Serve):
    check(page, serve, "wide", PHONES[:2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [each for each in STUDIES if each not in ("wide", "rating")])
def test_the_numbers_of_all_other_images_are_visible_on_every_phone(page: RaterPage, serve: Serve, kind: str):
    check(page, serve, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["square", "wide", "tall", "best", "rating"])
def test_a_phone_in_landscape_shows_the_answers_beside_the_images(page: RaterPage, serve: Serve, kind: str):
    served = serve(prompts=2, **STUDIES[kind])
    page.open(served.invite(), (640, 360), touch=True)
    seen = page.screen()
    page.photo(f"beside-{kind}")
    boxes = "return [...document.querySelectorAll(arguments[0])].map(each => each.getBoundingClientRect().toJSON())"
    edge = max(each["right"] for each in page.script(boxes, ".frame"))
    for each in page.script(boxes, ".choice"):
        assert each["left"] > edge and each["right"] <= 640 and 0 <= each["top"] and each["bottom"] <= 360
    page.tap(".choice", 0)
    page.screen(seen)
    page.done(1)
