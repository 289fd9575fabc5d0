"""Masks of annotations: kept, turned upright, repaired, counted or left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_detection.instances.learn import check
from moekit_detection.instances.truth import has_masks, instances_of
from moekit_detection.loaders.coco import load_coco
from moekit_detection.loaders.yolo import load_yolo
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import objects_of

SIZE = (30, 40)
SQUARE = [4, 6, 14, 6, 14, 12, 4, 12]
"""Ten columns from 4 on and six rows from 6 on."""


def written(folder, *entries, size=SIZE, orientation=1):
    """A COCO file of twelve pictures: the first has these annotations, the others a square."""
    images, annotations = [], []
    for number in range(12):
        picture = Image.new("RGB", (size[1], size[0]), (number, 0, 0))
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(folder / f"{number}.png", exif=exif)
        images.append(
            {"id": number, "file_name": f"{number}.png", "height": size[0], "width": size[1]}
        )
        for own in entries if number == 0 else ({"segmentation": [SQUARE]},):
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": 1}
                | {"bbox": [4, 6, 10, 6], **own}
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nut"}],
    }
    path = folder / "all.json"
    path.write_text(json.dumps(content))
    return path


def first(dataset):
    return next(one for one in dataset.samples if one.id == "0.png")


def square():
    plane = np.zeros(SIZE, dtype=bool)
    plane[6:12, 4:14] = True
    return plane


def compressed(plane):
    masks = Masks.of(plane.shape, [runs_of(plane)])
    return {"size": list(plane.shape), "counts": masks.text(0)}


def test_polygons_and_run_lengths_of_both_forms_are_one(tmp_path):
    plain = {"size": list(SIZE), "counts": [4 * 30 + 6, *([6, 24] * 9), 6, 12 + 26 * 30 + 6]}
    forms = [[SQUARE], compressed(square()), plain]
    plain["counts"][-1] = 30 * 40 - sum(plain["counts"][:-1])
    path = written(
        tmp_path, *({"segmentation": one, "area": 60 + k} for k, one in enumerate(forms))
    )
    content = json.loads(path.read_text())
    for number, entry in enumerate(content["annotations"][:3]):
        entry["bbox"][0] += number / 10  # not the same object
    path.write_text(json.dumps(content))
    sample = first(load_coco(path, 0))
    true = instances_of(sample)
    assert true.masks.area_G.tolist() == [60] * 3
    assert len({true.masks.text(place) for place in range(3)}) == 1
    assert true.crowd_G.tolist() == [False] * 3
    assert true.area_G.tolist() == [60, 61, 62], "areas are those of the annotations"


def test_without_an_area_that_of_the_mask_is_taken(tmp_path):
    triangle = {"segmentation": [[4, 6, 14, 6, 4, 12]]}
    true = instances_of(first(load_coco(written(tmp_path, triangle), 0)))
    assert true.area_G[0] == true.masks.area_G[0] < 40


def test_several_polygons_are_one_object_and_a_crowd_stays_one(tmp_path):
    parts = {"segmentation": [[4, 6, 8, 6, 8, 12, 4, 12], [10, 6, 14, 6, 14, 12, 10, 12]]}
    crowd = {"segmentation": compressed(square()), "iscrowd": 1, "bbox": [4, 6, 10, 6.5]}
    true = instances_of(first(load_coco(written(tmp_path, parts, crowd), 0)))
    assert true.masks.area_G.tolist() == [48, 60]
    assert true.crowd_G.tolist() == [False, True]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"size": [40, 30], "counts": [1200]}, "another size"),
        ({"size": list(SIZE), "counts": [5, 5]}, "neither polygons nor run lengths"),
        ({"size": list(SIZE), "counts": "2~"}, "neither polygons nor run lengths"),
        ([[4, 6, 14, "a", 14, 12]], "neither polygons nor run lengths"),
        ([[4, 6, 14, 6, 14]], "neither polygons nor run lengths"),
        ([[4, 6, 1e9, 6, 14, 12]], "neither polygons nor run lengths"),
        ({"size": list(SIZE), "counts": [1200]}, "no pixel"),
        ([[50, 6, 60, 6, 60, 12]], "no pixel"),
        ([[4, 6, 14, 6]], "fewer than 3 points"),
    ],
)
def test_a_mask_that_cannot_be_used_is_counted_and_its_box_stays(tmp_path, mask, words):
    dataset = load_coco(written(tmp_path, {"segmentation": mask}, {"bbox": [1, 1, 2, 2]}), 0)
    sample = first(dataset)
    assert any(words in note and "annotation 0 of all.json" in note for note in dataset.notes)
    assert any(
        "2 objects have no mask that can be used, such as in 0.png" in note
        for note in dataset.notes
    )
    assert objects_of(sample).crowd_G.tolist() == [False, False]
    true = instances_of(sample)
    assert true.crowd_G.tolist() == [True, True]
    assert true.masks.area_G.tolist() == [60, 4], "all pixels of the box"


def test_a_mask_beyond_its_picture_is_cut(tmp_path):
    wide = {"segmentation": [[30, 6, 50, 6, 50, 12, 30, 12]], "bbox": [30, 6, 20, 6]}
    dataset = load_coco(written(tmp_path, wide), 0)
    assert any("masks reach beyond" in note for note in dataset.notes)
    assert instances_of(first(dataset)).masks.box_G4[0].tolist() == [30, 6, 10, 6]


def test_a_part_with_two_points_is_left_out_of_its_mask(tmp_path):
    dataset = load_coco(written(tmp_path, {"segmentation": [SQUARE, [1, 1, 2, 2]]}), 0)
    assert any("1 parts of masks" in note for note in dataset.notes)
    assert instances_of(first(dataset)).masks.area_G.tolist() == [60]


def test_run_lengths_without_a_box_have_their_own(tmp_path):
    dataset = load_coco(written(tmp_path, {"segmentation": compressed(square()), "bbox": None}), 0)
    assert objects_of(first(dataset)).box_G4.tolist() == [[4, 6, 10, 6]]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_of_pictures_that_are_stored_turned_lie_where_their_boxes_do(tmp_path, orientation):
    corner = [[4, 6, 14, 6, 4, 12]]
    path = written(tmp_path, {"segmentation": corner}, orientation=orientation)
    true = instances_of(first(load_coco(path, 0)))
    assert true.masks.size == SIZE[::-1]
    np.testing.assert_allclose(true.masks.box_G4, true.box_G4, atol=1)
    _, pixels = true.masks.crop(0)
    turns = {
        5: lambda m: m.T,
        6: lambda m: np.rot90(m, -1),
        7: lambda m: m.T[::-1, ::-1],
        8: lambda m: np.rot90(m, 1),
    }
    stored = instances_of(first(load_coco(written(tmp_path, {"segmentation": corner}), 0)))
    np.testing.assert_array_equal(pixels, turns[orientation](stored.masks.crop(0)[1]))


def test_outlines_of_yolo_files_are_masks(tmp_path):
    for number in range(12):
        Image.new("RGB", SIZE[::-1], (number, 0, 0)).save(tmp_path / f"{number}.png")
        shares = (np.reshape(SQUARE, (-1, 2)) / SIZE[::-1]).reshape(-1)
        (tmp_path / f"{number}.txt").write_text("0 " + " ".join(f"{one:.9f}" for one in shares))
    dataset = load_yolo(Path(f"{tmp_path}?classes=nut"), 0)
    assert instances_of(first(dataset)).masks.area_G.tolist() == [60]


def test_sets_without_masks_are_refused_and_say_nothing_of_them(tmp_path):
    path = written(tmp_path, {})
    content = json.loads(path.read_text())
    for entry in content["annotations"]:
        entry.pop("segmentation", None)
    path.write_text(json.dumps(content))
    dataset = load_coco(path, 0)
    assert not any("mask" in note for note in dataset.notes)
    assert not any(map(has_masks, dataset.samples))
    assert all("mask" not in one.truth["objects"] for one in dataset.samples)
    with refused("data/missing-mask", match="train"):
        check(dataset)
