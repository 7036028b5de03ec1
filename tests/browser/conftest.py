"""A real Chromium, without a screen. ``OBJAVERSE_TEST_CHROMIUM`` names another one."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("OBJAVERSE_TEST_CHROMIUM") or shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--js-flags=--expose-gc",
    "--enable-precise-memory-info",
)  # fmt: skip


class Page:
    """What a person does with a page, and what is to be seen of it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, fragment: str = "") -> None:
        self.driver.get("about:blank")
        self.driver.get(page.resolve().as_uri() + fragment)
        self.wait("document.documentElement.dataset.ready !== undefined")

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(f"return {code}", *arguments)

    def run(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def wait(self, code: str, seconds: float = 20.0) -> Any:
        """Until an expression is true."""
        return self.until(lambda: self.js(code), code, seconds)

    def until(self, what: Callable[[], Any], about: str = "", seconds: float = 20.0) -> Any:
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, f"never true: {about}; console: {self.complaints()}"
            time.sleep(0.03)
        return found

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return str(self.js("document.querySelector(arguments[0]).textContent", selector))

    def keys(self, *keys: str) -> None:
        """Keys for whatever has the focus."""
        from selenium.webdriver import ActionChains

        for key in keys:
            ActionChains(self.driver, duration=10).send_keys(key).perform()

    def names(self) -> list[str]:
        """Cards in sight, in their order."""
        code = """[...document.querySelectorAll("#grid li:not([hidden])")]
            .sort((a, b) => a.dataset.index - b.dataset.index)
            .map((li) => li.querySelector(".name").textContent)"""
        return list(self.js(code))

    def fragment(self) -> dict[str, str]:
        return dict(self.js("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))"))

    def complaints(self) -> list[str]:
        """What the console said since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def media(self, **features: str) -> None:
        """Emulate ``prefers_color_scheme="dark"`` and the like."""
        named = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": named})

    def size(self, width: int, height: int) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not CHROMIUM or not DRIVER:
        pytest.skip("NOT TESTED in a browser: install Debian's chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="NOT TESTED in a browser")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium: Any) -> Iterator[Page]:
    """The browser; a test after which the console has something to say has failed."""
    page = Page(chromium)
    page.size(1280, 860)
    page.media(prefers_color_scheme="dark", prefers_reduced_motion="no-preference")
    page.complaints()
    yield page
    assert page.complaints() == []
