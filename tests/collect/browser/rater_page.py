"""The raters' page in a real Chromium, used as a person uses it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from collect.browser.needs import SELENIUM  # noqa: F401  # before what needs it
from selenium import webdriver
from selenium.common.exceptions import JavascriptException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
JUDGED = 0.28
"""Seconds after which the page believes that somebody has judged a screen."""
WITHIN = 30.0
"""Seconds that a page may take on a machine that is busy with other tests."""
DESKTOP, PHONE = (1280, 800), (375, 740)


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser without a window."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


class RaterPage:
    """The page and its elements."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, link: str, size: tuple[int, int] = DESKTOP, touch: bool = False, **media: str) -> RaterPage:
        """Opens a rater's link without cookies or storage; with CSS media features, such as `prefers_color_scheme`."""
        self.driver.get_log("browser")
        self.cdp("Network.clearBrowserCookies")
        self.cdp("Storage.clearDataForOrigin", origin=link.rsplit("/r/", 1)[0], storageTypes="local_storage")
        self.resize(size, touch)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.cdp("Emulation.setEmulatedMedia", features=features)
        self.driver.get(link)
        return self

    def resize(self, size: tuple[int, int], touch: bool = False) -> None:
        width, height = size
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1 + touch, mobile=touch
        )
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=touch, maxTouchPoints=5)

    def cdp(self, command: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def wait(self, what: str, condition: Callable[[], T], seconds: float = WITHIN) -> T:
        """Waits until a condition holds, and returns it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if found := condition():
                    return found
            except (JavascriptException, StaleElementReferenceException):
                pass
            time.sleep(0.02)
        raise AssertionError(f"waited {seconds} s in vain until {what}; the page says {self.text('#rater')!r}")

    def find(self, css: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        return self.script("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def visible(self, css: str) -> bool:
        return self.script("return Boolean(document.querySelector(arguments[0])?.checkVisibility())", css)

    def shown(self) -> list[str]:
        """The names with which the visible images were fetched, in their order."""
        found = "return [...document.querySelectorAll('#stage.there img')].map(image => image.src.split('/i/')[1])"
        return self.script(found)

    def screen(self, after: list[str] | None = None) -> list[str]:
        """Waits until a screen other than `after` can be answered; returns its images."""
        found = self.wait("a screen shows", lambda: self.shown() if self.shown() != (after or []) else [])
        time.sleep(JUDGED)
        return found

    def status(self, text: str, seconds: float = WITHIN) -> None:
        """Waits until the page says something about itself."""
        self.wait(f"the status says {text!r}", lambda: text in self.text(".standing"), seconds)

    def done(self, count: int) -> None:
        """Waits until so many answers are given and all of them are saved."""
        said = re.compile(rf"{count}( of \d+)? done")
        self.wait(f"{count} are done", lambda: said.fullmatch(self.text("#done")) and not self.unsent())

    def hint(self, text: str) -> None:
        """Waits until the page shows a hint or a remark with this text."""
        self.wait(f"the hint says {text!r}", lambda: text in self.text("#hint"))

    def unsent(self) -> str | None:
        """The unsent votes that the browser stores."""
        return self.script("return Object.entries(localStorage).find(([key]) => key.endsWith('outbox'))?.[1] ?? null")

    def ended(self) -> None:
        self.wait("the page says that there is no more", lambda: self.visible("#end"))

    def keys(self, *keys: str) -> None:
        """Presses keys, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver, duration=0).send_keys(key).perform()

    def tab_to(self, css: str) -> None:
        """Presses Tab until something has the focus."""
        for _ in range(60):
            self.keys(Keys.TAB)
            if self.script("return document.activeElement.matches(arguments[0])", css):
                return
        raise AssertionError(f"the Tab key never comes to {css}")

    def click(self, css: str, nth: int = 0) -> None:
        """A click of the mouse into the middle of something."""
        ActionChains(self.driver, duration=0).move_to_element(self.all(css)[nth]).click().perform()

    def tap(self, css: str, nth: int = 0) -> None:
        """A touch of a finger in the middle of something."""
        element = self.all(css)[nth]
        middle = "const r = arguments[0].getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]"
        self.script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        x, y = self.script(middle, element)
        self.cdp("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def photo(self, name: str) -> None:
        """Keeps a picture of the page, in the folder that PALATE_SCREENSHOTS names, if it does."""
        if folder := os.environ.get("PALATE_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            time.sleep(0.2)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def complaints(self) -> list[str]:
        """The messages in the browser's console: errors, and violations of the content security policy."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
