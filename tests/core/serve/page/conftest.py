"""A headless Chromium, and the page in it."""

import contextlib
import re
import shutil
import time

import pytest

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FOCUSABLE = {
    *("button", "checkbox", "slider", "spinbutton", "combobox", "textbox", "link", "radio"),
}


@pytest.fixture(scope="module")
def browser():
    pytest.importorskip("selenium", reason="selenium is not installed")
    if BROWSER is None or DRIVER is None:
        pytest.skip("chromium and chromium-driver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for one in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(one)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield made
    made.quit()


@pytest.fixture
def sized(browser):
    """Sets the size of the window, and whether it is dark."""

    def size(width, height, *, dark=False):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    size(1280, 900)
    return size


class Page:
    def __init__(self, browser, url):
        self.browser = browser
        browser.get_log("browser")
        browser.get_log("performance")
        browser.get(url)

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def waits(self, true):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                found = true()
                if found:
                    return found
            time.sleep(0.05)
        raise AssertionError(f"it does not come; the page says: {self.find('body').text}")

    def choose(self, *paths):
        self.waits(lambda: self.find("#asking").is_displayed())
        self.find("#file").send_keys("\n".join(map(str, paths)))

    @property
    def status(self):
        return self.find("#status").text

    def check_quiet(self):
        """Nothing was refused by the policy, and nobody else was asked."""
        told = [one for one in self.browser.get_log("browser") if one["source"] != "network"]
        assert told == []
        asked = re.findall(r'"url":"(https?://[^"/]+)', str(self.browser.get_log("performance")))
        assert {one.rpartition(":")[0] for one in asked} <= {"http://127.0.0.1"}

    def unnamed(self):
        """What can be used and has no name for a screen reader."""
        self.browser.execute_cdp_cmd("Accessibility.enable", {})
        nodes = self.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        seen = [
            n for n in nodes if not n["ignored"] and n.get("role", {}).get("value") in FOCUSABLE
        ]
        assert seen
        return [n["role"] for n in seen if not n.get("name", {}).get("value", "").strip()]


@pytest.fixture
def open_page(browser):
    """Opens the page of a server by its address."""
    return lambda url: Page(browser, url)


@pytest.fixture
def drag(browser):
    """Drags the pointer over an element, between places as shares of its sides."""
    from selenium.webdriver import ActionChains

    def make(element, first, last):
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        size = element.size
        places = [
            (int((x - 0.5) * size["width"]), int((y - 0.5) * size["height"]))
            for x, y in (first, last)
        ]
        chain = ActionChains(browser, duration=30)
        chain.move_to_element_with_offset(element, *places[0]).click_and_hold()
        chain.move_to_element_with_offset(element, *places[1]).release().perform()

    return make
