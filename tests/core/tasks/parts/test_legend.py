"""A legend lies below the picture, with a square of each colour and names that fit."""

import numpy as np
import pytest
from PIL import Image

from moekit.tasks.parts import short_name, with_legend

RED, BLUE = (200, 0, 0), (0, 0, 200)


def pixels_of(page, colour):
    return int((np.asarray(page) == colour).all(2).sum())


def test_the_picture_stays_and_each_entry_has_a_square_of_its_colour():
    picture = Image.new("RGB", (200, 30), (1, 2, 3))
    page = with_legend(picture, [("red", RED), ("none", None), ("blue", BLUE)])
    assert np.array_equal(np.asarray(page)[:30], np.asarray(picture))
    assert page.width == 200
    assert pixels_of(page, RED) == pixels_of(page, BLUE) > 50
    assert pixels_of(page, (30, 30, 30)) > 0, "words are written"


def test_entries_that_do_not_fit_begin_a_new_row():
    picture = Image.new("RGB", (90, 30))
    entries = [("a long name", RED), ("another one", BLUE)]
    one, two = with_legend(picture, entries[:1]), with_legend(picture, entries)
    assert two.height > one.height > 30


@pytest.mark.parametrize(
    ("name", "shown"), [("crack", "crack"), ("a\nb", "a?b"), ("x" * 40, "x" * 23 + "…")]
)
def test_a_name_is_printable_and_not_long(name, shown):
    assert short_name(name) == shown
