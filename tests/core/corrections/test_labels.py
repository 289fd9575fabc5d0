"""What a correction may say, and what it becomes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from moekit.corrections.labels import checked
from moekit.corrections.runs import box_around, runs_of, text_of
from moekit.errors import DataError, ImageError
from moekit.tasks.segment.rle import decode, encode
from moekit.testing import refused

SIZE = (30, 40)


def as_png(values, mode=None):
    stored = io.BytesIO()
    Image.fromarray(values, mode).save(stored, "PNG")
    return base64.b64encode(stored.getvalue()).decode()


def test_a_class_is_one_of_the_kits_and_several_stand_in_its_order(terms, label):
    one = {"form": "class", "classes": ["odd"]}
    assert checked(label(one), SIZE, terms("class")) == one
    several = terms("class", ("a", "b", "c"), several=True)
    both = checked(label({"form": "class", "classes": ["c", "a"]}), SIZE, several)
    assert both["classes"] == ["a", "c"]
    assert checked(label({"form": "class", "classes": []}), SIZE, several)["classes"] == []
    for wrong in ([], ["good", "odd"], ["other"]):
        with refused("data/bad-correction"):
            checked(label({"form": "class", "classes": wrong}), SIZE, terms("class"))


def test_a_label_of_another_form_is_refused(terms, label):
    with refused("data/bad-correction"):
        checked(label({"form": "objects", "objects": []}), SIZE, terms("class"))


def test_boxes_are_cut_at_the_image_and_those_outside_refused(terms, label):
    def objects(box):
        said = {"form": "objects", "objects": [{"class": "odd", "box": box}]}
        return checked(label(said), SIZE, terms("objects"))["objects"]

    assert objects([-0.5, 2, 10, 28.4]) == [{"class": "odd", "box": [0.0, 2.0, 9.5, 28.0]}]
    for wrong in ([-5, 0, 10, 10], [0, 0, 60, 10], [3, 3, 0, 5], [10, 10, -4, 4]):
        with refused("data/bad-correction"):
            objects(wrong)
    with pytest.raises(ValidationError):
        label({"form": "objects", "objects": [{"class": "odd", "box": [float("nan"), 0, 1, 1]}]})


def test_outlines_give_the_box_and_are_kept_in_one_form(terms, label):
    mask = np.zeros(SIZE, dtype=bool)
    mask[4:9, 6:20] = True
    plain, text = encode(mask, compressed=False), encode(mask)
    # The same pixels with a run that is cut in two.
    first, second, *rest = plain["counts"]
    cut = {"size": plain["size"], "counts": [first, second - 2, 0, 2, *rest]}
    outlined = terms("objects", outlined=True)
    kept = [
        checked(
            label({"form": "objects", "objects": [{"class": "odd", "segmentation": one}]}),
            SIZE,
            outlined,
        )
        for one in (dict(plain), dict(text), cut)
    ]
    assert kept[0] == kept[1] == kept[2]
    (thing,) = kept[0]["objects"]
    assert thing["box"] == [6.0, 4.0, 14.0, 5.0]
    assert (decode(thing["segmentation"]) == mask).all()
    for wrong in (
        {"size": [40, 30], "counts": [1200]},
        {"size": [30, 40], "counts": [1200]},
        {"size": [30, 40], "counts": [1, 2]},
        {"size": [30, 40], "counts": "\x7f"},
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 200, 6]],
        None,
    ):
        with pytest.raises(DataError):
            said = {"form": "objects", "objects": [{"class": "odd", "segmentation": wrong}]}
            checked(label(said), SIZE, outlined)


def test_polygons_are_kept_as_they_are(terms, label):
    triangle = [[2, 2, 12, 2, 2, 14]]
    said = {"form": "objects", "objects": [{"class": "odd", "segmentation": triangle}]}
    (thing,) = checked(label(said), SIZE, terms("objects", outlined=True))["objects"]
    assert thing["box"] == [2.0, 2.0, 10.0, 12.0]
    assert thing["segmentation"] == [[2.0, 2.0, 12.0, 2.0, 2.0, 14.0]]


@pytest.mark.parametrize("seed", range(5))
def test_runs_are_those_of_the_mask_whatever_its_shape(seed):
    mask = np.random.default_rng(seed).random((9, 7)) < (0.1, 0.5, 0.9, 0.02, 1.0)[seed]
    runs = runs_of(encode(mask, compressed=False)["counts"], mask.shape)
    assert text_of(runs, mask.shape) == encode(mask)["counts"]
    if mask.any():
        left, top, width, height = map(int, box_around(runs, mask.shape))
        inside = mask[top : top + height, left : left + width]
        assert inside.sum() == mask.sum()
        assert inside.any(0)[[0, -1]].all()
        assert inside.any(1)[[0, -1]].all()


def test_masks_hold_class_numbers_and_what_does_not_count(terms, label):
    values = np.zeros(SIZE, dtype=np.uint8)
    values[3:9] = 1
    values[20:] = 255

    def mask(png):
        return checked(label({"form": "mask", "png": png}), SIZE, terms("mask"))

    assert (mask(as_png(values)) == values).all()
    page = np.repeat(values[..., None], 4, axis=2)
    page[..., 3] = 255  # as a canvas writes it
    assert (mask(as_png(page)) == values).all()
    with refused("image/unknown-class"):
        mask(as_png(values + 2))
    with refused("data/bad-correction"):
        mask(as_png(values[:20]))
    with refused("data/bad-correction"):
        mask("no base64!")
    stored = io.BytesIO()
    Image.fromarray(values).save(stored, "JPEG")
    with pytest.raises(ImageError):
        mask(base64.b64encode(stored.getvalue()).decode())


def test_a_mask_larger_than_its_image_is_not_decoded(terms, label):
    huge = as_png(np.zeros((4000, 4000), dtype=np.uint8))
    with refused("image/too-large"):
        checked(label({"form": "mask", "png": huge}), SIZE, terms("mask"))
