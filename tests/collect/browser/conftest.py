"""One Chromium for all tests of a worker, and studies that are served to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from collect.browser.served import Served, draw

from palate.collect.config import StudyConfig

if TYPE_CHECKING:  # test modules skip themselves where there is no selenium; this one is always imported
    from collect.browser.rater_page import RaterPage
    from selenium import webdriver

Serve = Callable[..., Served]


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    from collect.browser.rater_page import CHROMIUM, DRIVER, chromium

    if not (CHROMIUM.exists() and DRIVER.exists()):
        pytest.skip(f"no {CHROMIUM} with {DRIVER}; Debian's packages `chromium` and `chromium-driver` have them")
    with chromium() as running:
        yield running


@pytest.fixture
def page(driver: webdriver.Chrome) -> Iterator[RaterPage]:
    """A page that is to be opened by the test."""
    from collect.browser.rater_page import RaterPage

    page = RaterPage(driver)
    yield page
    driver.get("about:blank")
    if alert := _alert(driver):
        alert.accept()


@pytest.fixture
def quiet(page: RaterPage) -> Iterator[None]:
    """The browser's console must have stayed empty."""
    yield
    assert page.complaints() == []


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Serves a study of drawn pictures: `serve(prompts=3, images=2, size=(320, 320), **changes)`.

    Calls with equal arguments in one module return the same study; each test invites its own rater.
    """
    served: dict[str, Served] = {}

    def start(prompts: int = 3, images: int = 2, size: tuple[int, int] = (320, 320), **changes: Any) -> Served:
        key = repr((prompts, images, size, changes))
        if key not in served:
            folder: Path = tmp_path_factory.mktemp("study")
            fixed: dict[str, Any] = {"mirror": 0.0, "raters_per_item": 50}
            fixed |= {"n": images} if changes.get("task") in ("best", "ranking") else {}
            if "live" not in changes:
                fixed["images"] = (str(draw(folder / "drawn", prompts, images, size)),)
            served[key] = Served(StudyConfig(out=folder / "study", **(fixed | changes)))
            served[key].start()
        return served[key]

    yield start
    for each in served.values():
        each.close()


def _alert(driver: webdriver.Chrome) -> Any:
    from selenium.common.exceptions import NoAlertPresentException

    try:
        return driver.switch_to.alert
    except NoAlertPresentException:
        return None
