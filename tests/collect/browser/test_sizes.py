"""Images of several shapes on one screen: each whole in its own shape, or all in one; the owner's page says which."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from collect.browser.conftest import Serve
from collect.browser.rater_page import PHONE, RaterPage
from collect.browser.served import Served, draw
from PIL import Image

from palate.collect.config import StudyConfig
from palate.collect.study_pictures import GREY

pytestmark = pytest.mark.usefixtures("quiet")
SHAPES = {"wide": (600, 200), "tall": (200, 400)}
SHOWN = """
return [...document.querySelectorAll(arguments[0])].map(image => {
  const {x, y, width, height} = image.getBoundingClientRect();
  return {x, y, width, height, own: image.naturalWidth / image.naturalHeight, fit: getComputedStyle(image).objectFit};
});
"""


@pytest.fixture
def mixed(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A study of two systems whose images differ in shape; the parameter is the setting `sizes`."""
    folders = tuple(f"{name}={draw(tmp_path / name, 2, 1, size)}" for name, size in SHAPES.items())
    served = Served(StudyConfig(out=tmp_path / "study", images=folders, mirror=0.0, sizes=request.param))
    served.start()
    yield served
    served.close()


def pixel(page: RaterPage, x: float, y: float) -> tuple[int, ...]:
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    return picture.getpixel((round(x), round(y)))  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("mixed", ["keep"], indirect=True)
def test_images_of_two_shapes_are_shown_whole_and_never_stretched(page: RaterPage, mixed: Served, serve: Serve):
    page.open(mixed.invite())
    page.screen()
    images = page.script(SHOWN, "#stage img")
    assert sorted(round(each["own"], 2) for each in images) == [0.5, 3.0]
    assert len({(each["width"], each["height"]) for each in images}) == 1, "no frame is larger than another"
    page.photo("two-shapes")
    for each in images:
        wide = each["own"] > each["width"] / each["height"]
        middle = (each["x"] + each["width"] / 2, each["y"] + each["height"] / 2)
        beside = (middle[0], each["y"] + 3) if wide else (each["x"] + 3, middle[1])
        assert each["fit"] == "contain" and pixel(page, *beside) == GREY and pixel(page, *middle) != GREY
    page.keys("z")
    page.wait("zoom is open", lambda: page.visible("#zoom"))
    for each in page.script(SHOWN, "#zoom img"):
        assert each["width"] / each["height"] == pytest.approx(each["own"], rel=0.01)
    page.photo("two-shapes-zoom")
    page.open(f"{mixed.address}/owner/enter/{mixed.study.renew_owner()}")
    page.wait("the page runs", lambda: page.text("#fresh"))
    assert page.text("#sizes").startswith("2 items have images of several sizes, shown unchanged")


@pytest.mark.slow
@pytest.mark.parametrize("mixed", ["keep"], indirect=True)
def test_images_of_two_shapes_fit_a_phone(page: RaterPage, mixed: Served, serve: Serve):
    page.open(mixed.invite(), PHONE, touch=True)
    page.screen()
    page.photo("two-shapes-phone")
    assert page.script("return document.documentElement.scrollWidth") == PHONE[0]


@pytest.mark.slow
@pytest.mark.parametrize("mixed", ["fit"], indirect=True)
def test_the_owner_reads_how_many_images_were_made_smaller(page: RaterPage, mixed: Served, serve: Serve):
    page.open(mixed.invite())
    page.screen()
    assert {round(each["own"], 2) for each in page.script(SHOWN, "#stage img")} == {1.0}
    page.open(f"{mixed.address}/owner/enter/{mixed.study.renew_owner()}")
    page.wait("the page runs", lambda: page.text("#fresh"))
    assert page.text("#sizes").startswith("4 images were made smaller, to the smallest size on the same screen")
