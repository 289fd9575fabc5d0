"""Masks of found objects: one product, views, letterboxes, sizes, files and overlays."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from moekit import Frame, Item, Sample, TaskContext
from moekit.data import unview_boxes, view_boxes
from moekit.data.views import unview, view
from moekit.testing import refused
from moekit_detection.answers import derive as scores
from moekit_detection.instances.answers import CENTRE, SCALE, answers, derive, merge
from moekit_detection.instances.pixels import FEATURE, KERNEL, decode_instances
from moekit_detection.instances.showing import FOUND, INSTANCE_SHOW
from moekit_detection.judging.points import DetectPoint
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import BOX, LOGIT, Objects
from tests.plugins.detection.mask_cases import SIDE, SQUARE, ellipse, outputs, share


def context(frame=SQUARE, **options):
    return TaskContext(classes=("nut", "bolt"), vocabulary={}, frame=frame, options=options)


def row_of(found):
    return {name: value[0] for name, value in found.items()}


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (SQUARE, (112, 112)),
        (SQUARE, (60, 200)),
        (Frame(height=SIDE, width=SIDE, fit="letterbox"), (60, 200)),
        (Frame(height=SIDE, width=SIDE, fit="letterbox"), (200, 60)),
    ],
)
def test_a_mask_begins_as_the_ellipse_of_its_box_in_pixels_of_the_picture(frame, size):
    shares = (0.45, 0.5, 0.3, 0.3), (0.55, 0.42, 0.12, 0.2)
    found = outputs((0, 0.9, *shares[0]), (1, 0.8, *shares[1]))
    objects = decode_instances(row_of(found), frame, size, context(frame))
    assert len(objects) == 2
    assert objects.masks.size == size
    where = frame.box(size)
    scale = np.array([size[1] / where.width, size[0] / where.height])
    for place, (x, y, width, height) in enumerate(shares):
        middle = (SIDE * np.array([x, y]) - (where.left, where.top)) * scale
        sides = SIDE * np.array([width, height]) * scale  # not cut, as the box of the answer is
        box = np.concatenate([middle - sides / 2, sides])
        assert share(objects.masks, place, ellipse(box, size)) > 0.8


def test_masks_of_views_are_those_of_their_own_features():
    one = outputs((0, 0.9, 0.3, 0.4, 0.4, 0.2))
    # The same object as the fourth view shows it, and turned back as the engine does.
    turned = view_boxes(one[BOX], 5, (SIDE, SIDE))
    other = outputs((0, 0.8, *turned[0, 0].tolist()))
    back = {
        **other,
        BOX: unview_boxes(other[BOX], 5),
        FEATURE: unview(other[FEATURE], 5),
    }
    merged = merge([one, back])
    assert merged[FEATURE].shape[1] == 2 * one[FEATURE].shape[1] == merged[KERNEL].shape[2]
    objects = decode_instances(row_of(merged), SQUARE, (SIDE, SIDE), context(overlap=2.0))
    assert objects.score_G == pytest.approx([0.9, 0.8])
    for place in range(2):
        assert share(objects.masks, place, ellipse(objects.box_G4[place], (SIDE, SIDE))) > 0.9
    assert merge([one]).keys() == one.keys()
    assert view(one[FEATURE], 0).shape == one[FEATURE].shape


def test_what_is_derived_tells_whether_features_and_kernels_fit():
    found = outputs((0, 0.2, 0.3, 0.4, 0.2, 0.1), (1, 0.9, 0.7, 0.4, 0.2, 0.3))
    derived = derive(found)
    torch.testing.assert_close(
        derived[CENTRE], torch.full((1, 2), 1.0).sigmoid(), atol=5e-2, rtol=0
    )
    assert set(derived) == {*scores(found), CENTRE}
    swapped = {**found, **{name: found[name].flip(1) for name in (LOGIT, BOX, KERNEL)}}
    torch.testing.assert_close(derive(swapped)[CENTRE], derived[CENTRE])
    wrong = {**found, FEATURE: found[FEATURE].flip(-1)}
    assert (derive(wrong)[CENTRE] - derived[CENTRE]).abs().max() > 0.1


def one_answer(point=None, **options):
    found = outputs(
        (0, 0.9, 0.3, 0.4, 0.4, 0.2), (1, 0.6, 0.7, 0.7, 0.2, 0.2), (0, 0.2, 0.5, 0.2, 0.1, 0.1)
    )
    item = Item(id="a.png", size=(100, 200))
    (answer,) = answers(found, [item], point, context(**options))
    return answer


def test_kept_objects_have_areas_lengths_and_widths():
    answer = one_answer()
    first, second = answer.as_row()["objects"]
    assert (len(answer.objects), len(answer.masks)) == (3, 2)
    assert first["area"] == answer.masks.area_G[0] == pytest.approx(np.pi / 4 * 80 * 20, rel=0.1)
    assert (first["length"], first["width"]) == pytest.approx((80, 20), abs=4)
    assert (second["length"], second["width"]) == pytest.approx((40, 20), abs=4)
    assert "length_mm" not in first
    strict = DetectPoint(
        thresholds=(0.95, 0.5), rule="f1", pictures=1, objects=1, values=(1, 1), false_alarms=0
    )
    (kept,) = one_answer(strict).as_row()["objects"]
    assert kept == second


def test_each_pixel_has_the_number_of_its_object():
    answer = one_answer()
    assert (answer.number_HW.shape, answer.number_HW.dtype) == (answer.size, np.uint16)
    for place in range(2):
        found = Masks.of(answer.size, [runs_of(answer.number_HW == place + 1)])
        assert found.text(0) == answer.masks.text(place)


def test_a_pixel_that_several_objects_claim_is_of_the_best():
    found = outputs((0, 0.9, 0.5, 0.5, 0.4, 0.4), (1, 0.6, 0.5, 0.5, 0.8, 0.4))
    (answer,) = answers(found, [Item(id="a.png", size=(112, 112))], None, context())
    counts = np.bincount(answer.number_HW.reshape(-1))
    first, second = answer.masks.area_G.tolist()
    assert counts[1] == first
    assert counts[2] == second - answer.masks.take([0]).shared_pixels(answer.masks.take([1]))[0, 0]


def test_a_scale_gives_millimetres():
    plain, scaled = one_answer().sizes[0], one_answer(**{SCALE: 0.5}).sizes[0]
    assert scaled["length_mm"] == pytest.approx(plain["length"] / 2, abs=0.01)
    assert scaled["width_mm"] == pytest.approx(plain["width"] / 2, abs=0.01)
    assert scaled["area_mm2"] == pytest.approx(plain["area"] / 4)
    for wrong in (0, -1.0, "half", float("nan"), True):
        with refused("usage/bad-scale", match=SCALE):
            one_answer(**{SCALE: wrong})


def test_files_hold_run_lengths_and_outlines_of_the_same_pixels():
    answer = one_answer()
    suffix, content = INSTANCE_SHOW.files(answer)["masks"]
    assert suffix == ".json"
    for place, one in enumerate(json.loads(content)):
        again = Masks.read((100, 200), [one["segmentation"]["counts"]])
        np.testing.assert_array_equal(again.run_R2, answer.masks.runs(place))
        signed = 0.0
        for ring in one["outlines"]:
            x, y = np.transpose(ring)
            signed += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2
        assert signed == one["area"] == again.area_G[0]


def test_all_pictures_are_gathered_into_a_coco_file_and_a_table(tmp_path):
    answer = one_answer(**{SCALE: 0.1})
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.json").write_bytes(INSTANCE_SHOW.files(answer)["masks"][1])
    rows = [
        {"file": "a.png", **answer.as_row(), "masks": "masks/a.json"},
        {"file": "broken.png", "size": None, "objects": []},
    ]
    made = INSTANCE_SHOW.gather(tmp_path, rows)
    assert made == {"instances": FOUND, "table": "objects.csv", "objects": 2}
    content = json.loads((tmp_path / FOUND).read_text())
    assert [one["file_name"] for one in content["images"]] == ["a.png"]
    first = content["annotations"][0]
    assert first["area"] == answer.masks.area_G[0]
    assert first["segmentation"] == {"size": [100, 200], "counts": answer.masks.text(0)}
    assert {one["name"] for one in content["categories"]} == {"nut", "bolt"}
    with (tmp_path / "objects.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[0]["mask_length"]) == answer.sizes[0]["length"]
    assert float(table[0]["width"]) == pytest.approx(answer.objects.box_G4[0, 2], abs=0.01)
    assert float(table[1]["area_mm2"]) == answer.sizes[1]["area_mm2"]


def test_overlays_tint_the_pixels_of_objects_and_captions_count_by_mask(tmp_path):
    answer = one_answer()
    picture = Image.new("RGB", (200, 100), (90, 90, 90))
    item = Item(id="a.png", size=(100, 200))
    plain = INSTANCE_SHOW.draw(picture, answer, item, context())
    changed = np.asarray(plain)[:100] != 90
    inside = ellipse(answer.objects.box_G4[0], (100, 200))
    assert changed.any(2)[inside].mean() > 0.9
    assert not changed.any(2)[80:, :60].any()
    # A box that fits, and a mask that does not: the object is not found.
    box = answer.kept.box_G4[0]
    left, top = box[:2].astype(int).tolist()
    corner = Masks.of((100, 200), [runs_of(np.ones((5, 9), bool), (top, left), 100)])
    true = Objects.of([box], [0], masks=corner)
    sample = Sample(id="a.png", path=tmp_path / "a.png", label=0, truth=true.as_truth())
    known = Item(id="a.png", size=(100, 200), sample=sample)
    assert INSTANCE_SHOW.caption(answer, known, context()).endswith("1 missed, 2 false alarms")
    assert INSTANCE_SHOW.draw(picture, answer, known, context()).size[0] == 200


def test_nothing_found_is_an_answer():
    found = outputs((0, 0.2, 0.5, 0.5, 0.1, 0.1))
    (answer,) = answers(found, [Item(id="a", size=(9, 9))], None, context())
    assert (answer.verdict, answer.shapes()) == ("nothing", [])
