"""The page in a headless Chromium: what people and screen readers find there, and attacks on it."""

import re
import time

import pytest

from moekit.errors import DataError, PluginError
from moekit.serve.extras import NOTHING
from moekit.serve.facts import KitFacts
from moekit.serve.reading import content_of
from moekit.serve.service import Outcome
from moekit.serve.streams.sources import Grabbed

HOSTILE = (
    '<img src=x onerror="window.hacked=1">',
    '"><script>window.hacked=2</script>',
    "javascript:window.hacked=3",
    "{{constructor.constructor('window.hacked=4')()}}",
    "</article></main><h1>owned</h1>",
    "__proto__",
)


@pytest.fixture
def images(tmp_path, picture):
    good, odd, broken = (tmp_path / name for name in ("good.png", "odd.png", "broken.png"))
    good.write_bytes(picture(1))
    odd.write_bytes(picture(2, odd=True))
    broken.write_bytes(picture(3)[:200])
    return good, odd, broken


def test_images_are_answered_by_every_kit_and_broken_ones_say_why(
    browser, sized, open_page, process, images
):
    page = open_page(process.url)
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


def test_kits_are_switched_by_the_keyboard(browser, sized, open_page, process, images):
    page = open_page(process.url)
    page.choose(images[0])
    page.waits(lambda: len(page.all(".card .verdict")) == 2)
    box = page.find("#kits input")
    box.send_keys(" ")
    page.waits(lambda: [one.text for one in page.all(".card h3")] == ["other"])
    box.send_keys(" ")
    page.waits(lambda: [one.text for one in page.all(".card h3")] == ["all", "other"])


def test_a_moved_threshold_asks_again_and_comes_back(browser, sized, open_page, process, images):
    page = open_page(process.url)
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


def test_the_routing_is_asked_for_only_when_it_is_opened(
    browser, sized, open_page, start_process, images
):
    page = open_page(start_process("few").url)
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
    browser, sized, open_page, start_process, images, token_file
):
    page = open_page(start_process("all", options=("--token-file", token_file)).url)
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
def test_it_fits_a_phone_in_light_and_dark(browser, sized, open_page, process, images, dark):
    sized(360, 740, dark=dark)
    page = open_page(process.url)
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


def test_no_text_of_a_plugin_or_a_file_becomes_code(
    browser, sized, open_page, tmp_path, picture, listening
):
    image = tmp_path / "<img src=x onerror=window.hacked=5>.png"
    image.write_bytes(picture(1))
    with listening(Hostile(), [hostile_fact(name) for name in HOSTILE]) as server:
        url = server.url
        page = open_page(url)
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


def test_cameras_are_watched_live(browser, sized, open_page, listening, picture):
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
        page = open_page(server.url)
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


def test_a_server_that_is_gone_is_told(browser, sized, open_page, images, listening):
    with listening(Hostile(), [hostile_fact("a")]) as server:
        page = open_page(server.url)
        page.waits(lambda: page.find("#asking").is_displayed())
    page.choose(images[0])
    fault = page.waits(lambda: page.find(".image .fault"))
    assert "does not answer" in fault.text
