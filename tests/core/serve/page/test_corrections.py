"""Answers are confirmed and corrected on the page, by pointer and by keyboard."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from moekit.corrections.terms import Terms
from moekit.serve.corrections.keeper import Keeper
from moekit.serve.corrections.review import Listed, ReviewList
from moekit.serve.extras import NOTHING
from moekit.serve.reading import content_of
from moekit.serve.service import Outcome
from moekit.tasks.segment.rle import decode, encode

HEIGHT, WIDTH = 120, 160
FORMS = {
    "verdict": ("class", ("good", "odd"), {}),
    "labels": ("class", ("a", "b", "c"), {"several": True}),
    "boxes": ("objects", ("bolt", "nut"), {}),
    "outlines": ("objects", ("bolt", "nut"), {"outlined": True}),
    "pixels": ("mask", ("ground", "road", "sky"), {}),
}


def encoded_png(values):
    stored = io.BytesIO()
    Image.fromarray(values).save(stored, "PNG")
    return base64.b64encode(stored.getvalue()).decode()


def disc():
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[40:70, 50:90] = True
    return mask


DRAFTS = {
    "verdict": {"form": "class", "classes": ["odd"]},
    "labels": {"form": "class", "classes": ["a"]},
    "boxes": {"form": "objects", "objects": [{"class": "nut", "box": [10.0, 20.0, 40.0, 30.0]}]},
    "outlines": {
        "form": "objects",
        "objects": [
            {"class": "nut", "box": [50.0, 40.0, 40.0, 30.0], "segmentation": dict(encode(disc()))}
        ],
    },
    "pixels": {"form": "mask", "png": encoded_png(disc().astype(np.uint8))},
}


class Drafted:
    """Answers with a draft of each form."""

    def __call__(self, kits, images, extras=NOTHING):
        pixels = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "PNG")
        picture = {
            "media_type": "image/png",
            "width": WIDTH,
            "height": HEIGHT,
            "base64": base64.b64encode(stored.getvalue()).decode(),
        }
        empty = {"caption": "", "overlay": picture, "routing": None, "failed": None}
        return [
            Outcome(
                content=content_of(image),
                rows={kit: {"verdict": "odd"} for kit in kits},
                failed={},
                picture=picture,
                shown={
                    kit: {**empty, "draft": {"size": [HEIGHT, WIDTH], "label": DRAFTS[kit]}}
                    for kit in kits
                },
            )
            for image in images
        ]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "part.png"
    pixels = np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def corrected(facts, listening, tmp_path, open_page):
    """Serves kits of these forms; returns their server, its page, and what is kept."""

    def run(*names, review=None):
        made = [
            dataclasses.replace(
                facts(name)[0],
                corrects=Terms(
                    kit="-",
                    task="-",
                    classes=FORMS[name][1],
                    form=FORMS[name][0],
                    loader="-",
                    **FORMS[name][2],
                ),
            )
            for name in names
        ]
        keeper = Keeper(tmp_path / "kept", made, most_pixels=10**6)
        return listening(Drafted(), made, keeper=keeper, review=review)

    return run


def kept(tmp_path, kit):
    lines = (tmp_path / "kept" / kit / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def opened(page, image):
    page.choose(image)
    page.waits(lambda: page.find(".correct").is_displayed())
    page.find(".correct > summary").click()
    page.waits(lambda: page.find(".correct button").is_displayed())


def press(page, text):
    (button,) = [one for one in page.all(".correct button") if one.text == text]
    page.waits(button.is_enabled)
    button.click()


def test_an_answer_is_confirmed_and_then_corrected_by_the_keyboard(
    sized, corrected, open_page, image, tmp_path
):
    with corrected("verdict") as server:
        page = open_page(server.url)
        opened(page, image)
        page.find(".correct input[type=text]").send_keys("Ada")
        press(page, "Confirm the answer")
        page.waits(lambda: "Confirmed: number 1" in page.status)
        (save,) = [one for one in page.all(".correct button") if one.text == "Save the correction"]
        assert not save.is_enabled(), "nothing was changed"
        radios = page.all(".correct input[type=radio]")
        assert [one.get_attribute("value") for one in radios] == ["good", "odd"]
        radios[0].send_keys(" ")
        press(page, "Save the correction")
        page.waits(lambda: "in place of an earlier one" in page.status)
        assert page.unnamed() == []
        page.check_quiet()
    first, second = kept(tmp_path, "verdict")
    assert (first["label"]["classes"], first["confirmed"], first["by"]) == (["odd"], True, "Ada")
    assert (second["label"]["classes"], second["confirmed"]) == (["good"], False)
    assert second["receipt"]["image_sha256"] == second["image"] == content_of(image.read_bytes())


def test_several_labels_are_ticked(sized, corrected, open_page, image, tmp_path):
    with corrected("labels") as server:
        page = open_page(server.url)
        opened(page, image)
        boxes = page.all(".correct input[type=checkbox]")
        assert [one.is_selected() for one in boxes] == [True, False, False]
        boxes[2].click()
        press(page, "Save the correction")
        page.waits(lambda: "Corrected: number 1" in page.status)
    assert kept(tmp_path, "labels")[0]["label"]["classes"] == ["a", "c"]


def test_boxes_are_drawn_typed_and_removed(sized, corrected, open_page, image, tmp_path, drag):
    with corrected("boxes") as server:
        page = open_page(server.url)
        opened(page, image)
        drag(page.find(".correct canvas"), (0.5, 0.5), (0.75, 0.9))
        page.waits(lambda: len(page.all(".objects li")) == 2)
        left = page.find(".objects li:first-child input")
        left.clear()
        left.send_keys("12\t")
        assert page.unnamed() == []
        press(page, "Save the correction")
        page.waits(lambda: "Corrected: number 1" in page.status)
        first, drawn = kept(tmp_path, "boxes")[0]["label"]["objects"]
        assert (first["class"], first["box"]) == ("nut", [12, 20, 40, 30])
        assert drawn["class"] == "bolt"
        assert drawn["box"] == pytest.approx([80, 60, 40, 48], abs=2)
        for _ in range(2):
            page.find(".objects li button:last-child").click()
        press(page, "Save the correction")
        page.waits(lambda: "in place of" in page.status)
        page.check_quiet()
    assert kept(tmp_path, "boxes")[1]["label"]["objects"] == []


def test_a_box_is_drawn_by_the_keyboard(sized, corrected, open_page, image, tmp_path):
    from selenium.webdriver.common.keys import Keys

    with corrected("boxes") as server:
        page = open_page(server.url)
        opened(page, image)
        canvas = page.find(".correct canvas")
        canvas.send_keys(" ", Keys.ARROW_RIGHT * 12, Keys.ARROW_DOWN * 7, " ")
        page.waits(lambda: len(page.all(".objects li")) == 2)
        press(page, "Save the correction")
        page.waits(lambda: "Corrected" in page.status)
    assert kept(tmp_path, "boxes")[0]["label"]["objects"][1]["box"] == [80, 60, 12, 7]


def test_an_outline_is_painted_on(sized, corrected, open_page, image, tmp_path, drag):
    with corrected("outlines") as server:
        page = open_page(server.url)
        opened(page, image)
        drag(page.find(".correct canvas"), (0.7, 0.45), (0.8, 0.45))
        press(page, "Save the correction")
        page.waits(lambda: "Corrected" in page.status)
        page.check_quiet()
    (thing,) = kept(tmp_path, "outlines")[0]["label"]["objects"]
    mask = decode(thing["segmentation"])
    assert mask[disc()].all(), "what was there stays"
    assert mask[54, 112:126].all(), "what was painted is added"
    assert not mask[:35].any()
    assert thing["box"][0] == 50


def test_classes_are_painted_undone_and_kept_to_the_pixel(
    sized, corrected, open_page, image, tmp_path, drag
):
    with corrected("pixels") as server:
        page = open_page(server.url)
        opened(page, image)
        canvas = page.find(".correct canvas")
        select = page.find(".correct select")
        options = [one.text for one in select.find_elements("css selector", "option")]
        assert options == ["ground", "road", "sky", "does not count"]
        drag(canvas, (0.1, 0.9), (0.9, 0.9))
        press(page, "Undo")
        select.send_keys("sky")
        drag(canvas, (0.1, 0.1), (0.9, 0.1))
        press(page, "Save the correction")
        page.waits(lambda: "Corrected" in page.status)
        assert page.unnamed() == []
        page.check_quiet()
    (line,) = kept(tmp_path, "pixels")
    with Image.open(tmp_path / "kept" / "pixels" / line["label"]["mask"]) as file:
        values = np.asarray(file)
    assert (values[30:] == disc()[30:]).all(), "the draft and what was undone are as they were"
    assert (values[12, 20:140] == 2).all()


@pytest.mark.parametrize("dark", [False, True])
def test_the_panel_fits_a_phone(sized, corrected, open_page, image, browser, dark):
    sized(360, 740, dark=dark)
    with corrected("boxes", "pixels") as server:
        page = open_page(server.url)
        opened(page, image)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        small = [
            one.text or one.tag_name
            for one in page.all("button, select, input[type=number], input[type=text]")
            if one.is_displayed() and one.size["height"] < 24
        ]
        assert not small, "targets of WCAG 2.2, level AA"


def test_listed_images_are_opened_and_leave_the_list_when_corrected(
    sized, corrected, open_page, image
):
    content = image.read_bytes()
    listed = Listed(
        path=image, content=content_of(content), verdict="odd", gain=0.9, why="<b>near</b>"
    )
    review = ReviewList([listed], most_bytes=2**20)
    with corrected("verdict", review=review) as server:
        page = open_page(server.url)
        button = page.waits(lambda: page.find("#review-list button"))
        assert "<b>near</b>" in page.find("#review-list").text
        button.click()
        page.waits(lambda: page.all(".card .verdict"))
        page.find(".correct > summary").click()
        press(page, "Confirm the answer")
        page.waits(lambda: not page.all("#review-list li"))
        assert "Every image" in page.find("#review-count").text
        page.check_quiet()
