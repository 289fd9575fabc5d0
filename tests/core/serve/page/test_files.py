"""The files of the page: what they are sent with, and what they must not hold."""

import importlib.resources
import itertools
import re

import pytest

from moekit.serve.page.routes import page_files

MOST_BYTES = 300_000
LEAST_CONTRAST = 4.5
PAIRS = (
    *(("ink", "paper"), ("ink", "panel"), ("soft", "paper"), ("soft", "panel"), ("ink", "bar")),
    *(("on-accent", "accent"), ("accent", "panel"), ("fault", "fault-paper")),
)


@pytest.fixture(scope="module")
def files():
    return {name: content.decode() for name, (content, _) in page_files().items()}


@pytest.fixture
def page(serve, slow):
    slow.free.set()
    return serve(slow, token="a-token-of-the-tests-0123456789").client


def test_the_page_is_part_of_the_package(files):
    folder = importlib.resources.files("moekit.serve.page") / "files"
    assert {one.name for one in folder.iterdir()} == set(files)
    assert {"index.html", "style.css", "app.js"} <= set(files)
    assert sum(map(len, files.values())) < MOST_BYTES


def test_each_file_is_sent_without_a_token_and_with_strict_headers(page, files):
    for name in files:
        reply = page.get("/" if name == "index.html" else f"/page/{name}")
        assert reply.status_code == 200, name
        assert reply.text == files[name]
        policy = dict(
            one.split(" ", 1) for one in reply.headers["content-security-policy"].split("; ")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
    for path in ("/page/", "/page/nonesuch.js", "/page/../app.py", "/page/%2e%2e/app.py"):
        assert page.get(path).status_code == 404
    assert "/" not in page.get("/openapi.json").json()["paths"]


def test_the_page_asks_nobody_else(files):
    for name, text in files.items():
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", text))
        assert addresses <= {"http://www.w3.org/2000/svg"}, name
    local = re.findall(r'(?:src|href)="([^"#]+)"', files["index.html"])
    imported = [
        f"page/{one}" for text in files.values() for one in re.findall(r'from "\./([^"]+)"', text)
    ]
    assert {one.removeprefix("page/") for one in (*local, *imported)} == set(files) - {"index.html"}


def test_no_text_becomes_elements_or_code(files):
    odd = re.compile(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|createContextualFragment|DOMParser|"
        r"\beval\b|\bFunction\(|setTimeout\(\s*[\"'`]|localStorage|sessionStorage|document\.cookie"
    )
    for name, text in files.items():
        assert not odd.search(text), name
    assert not re.search(r"<script(?![^>]*\bsrc=)|\bon\w+=|\bstyle=", files["index.html"])


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_can_be_read_in_light_and_dark(files):
    """The contrast of WCAG 2.2, level AA."""
    light, dark = re.findall(r":root \{(.*?)\}", files["style.css"], re.DOTALL)
    for theme, (ink, paper) in itertools.product((light, dark), PAIRS):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        one, other = sorted((luminance(colours[ink]), luminance(colours[paper])))
        assert (other + 0.05) / (one + 0.05) >= LEAST_CONTRAST, (ink, paper, theme)
