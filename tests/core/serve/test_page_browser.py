"""The page in a headless Chromium: what people and screen readers find there, and attacks on it."""

import contextlib
import re
import shutil
import time

import pytest

from moekit.errors import DataError, PluginError
from moekit.serve.extras import NOTHING
from moekit.serve.facts import KitFacts
from moekit.serve.reading import content_of
from moekit.serve.service import Outcome
from moekit.serve.streams.sources import Grabbed

pytest.importorskip("selenium", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    BROWSER is None or DRIVER is None, reason="chromium and chromium-driver are not installed"
)

HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    '"><script>window.hacked=2</script>',
    "javascript:window.hacked=3",
    "{{constructor.constructor('window.hacked=4')()}}",
    "</article></main><h1>owned</h1>",
    "__proto__",
)
FOCUSABLE = {"button", "checkbox", "slider", "spinbutton", "combobox", "textbox", "link"}


@pytest.fixture(scope="module")
def browser():
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
def images(tmp_path, picture):
    good, odd, broken = (tmp_path / name for name in ("good.png", "odd.png", "broken.png"))
    good.write_bytes(picture(1))
    odd.write_bytes(picture(2, odd=True))
    broken.write_bytes(picture(3)[:200])
    return good, odd, broken


def test_images_are_answered_by_every_kit_and_broken_ones_say_why(browser, sized, process, images):
    page = Page(browser, process.url)
    good, odd, broken = images
    page.choose(good, broken, odd)
    page.waits(lambda: len(page.all(".card .stage img")) == 4)
    titles = [one.text for one in page.all(".image h2")]
    assert titles == ["good.png", "broken.png", "odd.png"]
    (fault,) = page.waits(lambda: page.all(".image .fault"))
    assert "image/" in fault.text
    assert fault.get_attribute("role") == "alert"
    assert [one.text for one in page.all(".card h3")] == ["all", "other"] * 2
    assert all(one.text in ("pass", "defective") for one in page.all(".card .verdict"))
    assert page.find(".card .stage img").get_attribute("alt").startswith("all: ")
    assert "odd.png" in page.status
    assert page.unnamed() == []
    page.check_quiet()


def test_kits_are_switched_by_the_keyboard(browser, sized, process, images):
    page = Page(browser, process.url)
    page.choose(images[0])
    page.waits(lambda: len(page.all(".card .verdict")) == 2)
    box = page.find("#kits input")
    box.send_keys(" ")
    page.waits(lambda: [one.text for one in page.all(".card h3")] == ["other"])
    box.send_keys(" ")
    page.waits(lambda: [one.text for one in page.all(".card h3")] == ["all", "other"])


def test_a_moved_threshold_asks_again_and_comes_back(browser, sized, process, images):
    page = Page(browser, process.url)
    page.choose(images[1])
    page.waits(lambda: len(page.all(".card .verdict")) == 2)
    number = page.find(".card input[type=number]")
    verdict = page.find(".card .verdict").text
    other = {"pass": "0", "defective": "1"}[verdict]
    number.clear()
    number.send_keys(other)
    page.waits(lambda: page.find(".card .verdict").text != verdict)
    reset = page.find(".card button.plain")
    assert reset.text == "Back to the run's own"
    reset.click()
    page.waits(lambda: page.find(".card .verdict").text == verdict)
    assert not reset.is_displayed()


def test_the_routing_is_asked_for_only_when_it_is_opened(browser, sized, start_process, images):
    page = Page(browser, start_process("few").url)
    page.choose(images[0])
    page.waits(lambda: page.all(".card .verdict"))
    assert not page.all("canvas")
    page.find(".card > details > summary").click()
    page.waits(lambda: page.all("canvas"))
    seen = browser.execute_script(
        "const one = document.querySelector('canvas');"
        "const all = one.getContext('2d').getImageData(0, 0, one.width, one.height);"
        "return all.data.some((value) => value > 0)"
    )
    assert seen
    select = page.find(".card select")
    assert len(select.find_elements("css selector", "option")) > 8
    before = page.find("canvas").get_attribute("aria-label")
    browser.execute_script(
        "arguments[0].value = '0'; arguments[0].dispatchEvent(new Event('change'))", select
    )
    assert page.find("canvas").get_attribute("aria-label") != before
    assert len(page.all(".card .swatch")) == 16
    assert page.unnamed() == []
    page.check_quiet()


def test_a_token_is_asked_for_and_kept_in_memory_only(
    browser, sized, start_process, images, token_file
):
    page = Page(browser, start_process("all", options=("--token-file", token_file)).url)
    page.waits(lambda: page.find("#token-form").is_displayed())
    assert browser.switch_to.active_element.get_attribute("id") == "token"
    page.find("#token").send_keys("wrong-token-wrong-token\n")
    page.waits(lambda: page.find("#token-fault").text)
    page.find("#token").clear()
    page.find("#token").send_keys("a-token-of-the-tests-0123456789\n")
    page.choose(images[0])
    page.waits(lambda: page.all(".card .verdict"))
    assert page.find("#token").get_attribute("value") == ""
    kept = "return JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])"
    assert "a-token" not in browser.execute_script(kept)
    page.check_quiet()
    browser.refresh()
    page.waits(lambda: page.find("#token-form").is_displayed())


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_light_and_dark(browser, sized, process, images, dark):
    sized(360, 740, dark=dark)
    page = Page(browser, process.url)
    page.choose(images[0])
    page.waits(lambda: len(page.all(".card .verdict")) == 2)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", paper)[:3])) > 384
    assert light != dark
    small = [
        one.size
        for one in page.all("button, .button, select, input[type=number]")
        if one.is_displayed() and one.size["height"] < 24
    ]
    assert not small, "targets of WCAG 2.2, level AA"


class Hostile:
    """Answers with texts that attack the page."""

    def __call__(self, kits, images, extras=NOTHING):
        fault = PluginError(HOSTILE[0], whose="-", fix=HOSTILE[1], code=HOSTILE[4])
        values = {
            "verdict": HOSTILE[0],
            "top": str([[text, 0.5] for text in HOSTILE]).replace("'", '"'),
            "shares": dict.fromkeys(HOSTILE, 0.25),
            "things": [dict.fromkeys(HOSTILE, text) for text in HOSTILE],
            HOSTILE[1]: HOSTILE[2],
            "error": HOSTILE[1],
        }
        picture = {"media_type": "text/html", "width": 1, "height": 1, "base64": HOSTILE[1]}
        routing = {
            "rows": 1,
            "columns": 1,
            "box": [0, 0, 1, 1],
            "blocks": [
                {
                    "block": HOSTILE[1],
                    "of_kit": False,
                    "experts": [HOSTILE[0]],
                    "load": [1.0],
                    "all": False,
                    "chosen": [0],
                    "weight": [1.0],
                }
            ],
        }
        shown = {"caption": HOSTILE[1], "overlay": picture, "routing": routing, "failed": None}
        return [
            Outcome(
                content=content_of(image),
                rows={kits[0]: values},
                failed=dict.fromkeys(kits[1:], fault),
                picture={**picture, "media_type": HOSTILE[2]},
                shown={kits[0]: shown},
            )
            for image in images
        ]


def hostile_fact(name):
    hashed = content_of(name.encode())
    return KitFacts(
        name=name,
        kit=HOSTILE[0],
        task=HOSTILE[1],
        columns=("verdict",),
        backbone_sha256=hashed,
        kit_sha256=hashed,
        settings={},
        bits=None,
        disclaimer=HOSTILE[0],
        caution=HOSTILE[4],
        level=0.5,
    )


def test_no_text_of_a_plugin_or_a_file_becomes_code(browser, sized, tmp_path, picture, listening):
    image = tmp_path / "<img src=x onerror=window.hacked=5>.png"
    image.write_bytes(picture(1))
    with listening(Hostile(), [hostile_fact(name) for name in HOSTILE]) as server:
        url = server.url
        page = Page(browser, url)
        elements = len(page.all("script, h1"))
        page.choose(image)
        page.waits(lambda: page.all(".card .verdict"))
        page.find(".card > details > summary").click()
        page.waits(lambda: page.all("canvas"))
        browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        time.sleep(0.2)
        assert browser.execute_script("return window.hacked") is None
        assert len(page.all("script, h1")) == elements
        assert not page.all("img[onerror], a[href^=javascript]")
        assert {one.get_attribute("src") for one in page.all("img")} <= {"", None, f"{url}/"}
        assert page.find(".card .verdict").text == HOSTILE[0]
        body = page.find("body").text
        assert all(text in body for text in HOSTILE), "each is there, as text"
        page.check_quiet()


def test_cameras_are_watched_live(browser, sized, listening, picture):
    attacked = "<img src=x onerror=window.hacked=6>"

    class Line:
        kind = "device"

        def frames(self, stop):
            while not stop.wait(0.05):
                yield Grabbed(at=time.monotonic(), load=lambda: picture(1))

    class Gone:
        kind = "stream"

        def frames(self, stop):
            raise DataError(attacked, whose="-", fix="-", code="data/unreadable-camera")

    sources = {"line": Line(), "gone": Gone()}
    with listening(Hostile(), [hostile_fact(HOSTILE[0])], sources=sources) as server:
        page = Page(browser, server.url)
        page.waits(lambda: len(page.all("#camera-list .card")) == 2)
        assert attacked in page.waits(lambda: page.find("#cameras .fault:not([hidden])").text)
        page.waits(lambda: "p95" in page.find("#camera-list dl").text)
        assert server.streams.listening == 0, "nobody watches unasked"
        page.find("#camera-list input").send_keys(" ")
        first = page.waits(lambda: page.find("#camera-list .part .quiet").text)
        page.waits(lambda: page.find("#camera-list .part .quiet").text != first)
        assert HOSTILE[0] in page.find("#camera-list .part").text
        assert page.unnamed() == []
        page.find("#camera-list input").send_keys(" ")
        page.waits(lambda: server.streams.listening == 0)
        assert browser.execute_script("return window.hacked") is None
        page.check_quiet()


def test_a_server_that_is_gone_is_told(browser, sized, images, listening):
    with listening(Hostile(), [hostile_fact("a")]) as server:
        page = Page(browser, server.url)
        page.waits(lambda: page.find("#asking").is_displayed())
    page.choose(images[0])
    fault = page.waits(lambda: page.find(".image .fault"))
    assert "does not answer" in fault.text
