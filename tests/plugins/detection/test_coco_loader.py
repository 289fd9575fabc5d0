"""COCO files: layouts, and what is wrong with annotations is counted, left out or refused."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_detection.loaders.coco import load_coco, write_example
from moekit_detection.records import objects_of

SIZE = (60, 80)


@pytest.fixture
def data(tmp_path):
    """Writes a COCO file of twelve pictures, changed by a function, and loads it."""

    def load(change=lambda content: None, *, query="", seed=0, orientation=None):
        content = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "nut"}]}
        for number in range(1, 13):
            path = tmp_path / f"{number}.jpg"
            pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
            exif = Image.Exif()
            if orientation is not None:
                exif[0x0112] = orientation
            Image.fromarray(pixels).save(path, exif=exif)
            content["images"].append(
                {"id": number, "file_name": path.name, "height": SIZE[0], "width": SIZE[1]}
            )
            content["annotations"].append(
                {
                    "id": number,
                    "image_id": number,
                    "category_id": 7,
                    "bbox": [10.0, 20.0, 30.0, 8.0],
                    "area": 200.0,
                    "iscrowd": 0,
                }
            )
        change(content)
        (tmp_path / "all.json").write_text(json.dumps(content))
        return load_coco(tmp_path / f"all.json{query}", seed)

    return load


def truth(dataset, name="1.jpg"):
    (sample,) = [sample for sample in dataset.samples if sample.id == name]
    return objects_of(sample)


def noted(dataset, text):
    return [note for note in dataset.notes if text in note]


def test_boxes_areas_and_classes_are_taken_as_they_are(data):
    dataset = data()
    found = truth(dataset)
    assert dataset.classes == ("nut",)
    assert found.box_G4.tolist() == [[10, 20, 30, 8]]
    assert found.area_G.tolist() == [200]
    assert dataset.split_names() == ("train", "val", "test")
    assert dataset.samples[0].truth["image_id"] == 1
    assert dataset.samples[0].truth["category_ids"] == (7,)


def test_the_seed_deals_the_splits(data):
    def splits(dataset):
        return [sample.split for sample in dataset.samples]

    assert splits(data(seed=0)) == splits(data(seed=0))
    assert splits(data(seed=0)) != splits(data(seed=5))


@pytest.mark.parametrize(
    ("box", "kept", "kind"),
    [
        ([70.0, 50.0, 20.0, 20.0], [70, 50, 10, 10], "are cut"),
        ([-5.0, 10.0, 10.0, 10.0], [0, 10, 5, 10], "are cut"),
        ([90.0, 10.0, 10.0, 10.0], None, "lie outside"),
        ([10.0, 10.0, 0.0, 10.0], None, "have no area"),
        ([10.0, 10.0, 10.0, -4.0], None, "have no area"),
        ([float("nan"), 10.0, 10.0, 10.0], None, "no finite number"),
        ([1e400, 10.0, 10.0, 10.0], None, "no finite number"),
        (["10", 10.0, 10.0, 10.0], None, "no finite number"),
        ([10.0, 10.0, 10.0], None, "no finite number"),
        ([], None, "have no box"),
    ],
)
def test_a_box_that_is_none_is_cut_or_dropped_and_counted(data, box, kept, kind):
    def change(content):
        content["annotations"][0]["bbox"] = box

    dataset = data(change)
    assert truth(dataset).box_G4.tolist() == ([kept] if kept else [])
    (note,) = noted(dataset, kind)
    assert note.startswith("1 ")
    assert "annotation 1 of all.json" in note
    assert len(dataset.samples) == 12


def test_an_area_is_cut_with_its_box(data):
    def change(content):
        content["annotations"][0] |= {"bbox": [70.0, 20.0, 20.0, 10.0], "area": 100.0}

    assert truth(data(change)).area_G.tolist() == [50]


@pytest.mark.parametrize("area", [0, -3.0, float("nan"), "big"])
def test_an_area_that_is_none_is_that_of_the_box(data, area):
    def change(content):
        content["annotations"][0]["area"] = area

    dataset = data(change)
    assert truth(dataset).area_G.tolist() == [240]
    assert noted(dataset, "areas are no positive numbers")


def test_a_box_is_made_from_polygons(data):
    def change(content):
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = [[10, 10, 30, 12, 20, 40], [5, 11, 6, 12, 7, 9]]

    dataset = data(change)
    assert truth(dataset).box_G4.tolist() == [[5, 9, 25, 31]]
    assert noted(dataset, "outlines")


def test_crowds_are_kept_as_crowds(data):
    def change(content):
        content["annotations"][0]["iscrowd"] = 1

    assert truth(data(change)).crowd_G.tolist() == [True]


def test_pictures_without_annotations_and_annotations_without_pictures_are_counted(data):
    def change(content):
        content["annotations"][0]["image_id"] = 99

    dataset = data(change)
    assert noted(dataset, "1 annotations are of no picture")
    assert noted(dataset, "1 picture has no object, such as 1.jpg")
    assert dataset.samples[0].labels == ()


def test_the_same_object_twice_is_one_and_the_same_id_twice_is_two(data):
    def change(content):
        content["annotations"].append({**content["annotations"][0]})
        content["annotations"].append(
            {**content["annotations"][1], "bbox": [1, 2, 3, 4], "area": 12}
        )

    dataset = data(change)
    assert len(truth(dataset)) == 1
    assert len(truth(dataset, "2.jpg")) == 2
    assert noted(dataset, "1 objects are listed twice")
    assert noted(dataset, "2 annotations have the id of another")


def test_a_picture_of_another_size_than_annotated_is_left_out(data):
    def change(content):
        content["images"][0] |= {"height": 600, "width": 800}

    (skipped,) = data(change).skipped
    assert skipped.id == "1.jpg"
    assert "800 x 600" in skipped.reason
    assert "80 x 60" in skipped.reason


def test_a_picture_that_is_gone_or_damaged_is_left_out(data, tmp_path):
    def change(content):
        (tmp_path / "1.jpg").unlink()
        (tmp_path / "2.jpg").write_bytes(b"no picture")

    assert {skip.id for skip in data(change).skipped} == {"1.jpg", "2.jpg"}


def test_a_name_that_no_file_can_have_is_a_picture_that_is_gone(data):
    long = "9" * 3000 + ".jpg"

    def change(content):
        content["images"][0]["file_name"] = long

    (skipped,) = data(change).skipped
    assert skipped.id.startswith("999")
    with refused("data/not-found"):
        data(query=f"?images={long}")


def test_a_name_with_an_umlaut_is_found_in_either_form(data, tmp_path):
    def change(content):
        content["images"][0]["file_name"] = "größe.jpg"
        (tmp_path / "1.jpg").rename(tmp_path / "gro\u0308ße.jpg")

    dataset = data(change)
    assert not dataset.skipped
    assert "größe.jpg" in {sample.id for sample in dataset.samples}


def test_a_picture_that_no_file_lists_is_counted(data, tmp_path):
    assert not noted(data(), "not listed")
    (tmp_path / "13.jpg").write_bytes((tmp_path / "1.jpg").read_bytes())
    assert noted(data(), "1 picture lies next to listed ones")


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_stored_picture_turn_with_it(data, tmp_path, orientation):
    """A bright rectangle has the same box after Pillow has turned the picture."""
    dataset = data(orientation=orientation)
    (box,) = truth(dataset).box_G4.tolist()
    assert noted(dataset, "12 pictures are stored turned")
    plane = np.zeros(SIZE, np.uint8)
    plane[20:28, 10:40] = 255
    image = Image.fromarray(plane)
    turn = {
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    left, top, right, bottom = image.transpose(turn).getbbox()
    assert box == [left, top, right - left, bottom - top]


def test_boxes_of_the_upright_picture_stay(data):
    def change(content):
        for image in content["images"]:
            image |= {"height": SIZE[1], "width": SIZE[0]}

    dataset = data(change, orientation=6)
    assert truth(dataset).box_G4.tolist() == [[10, 20, 30, 8]]
    assert not noted(dataset, "turned")


def test_a_half_turn_is_told_since_the_size_says_nothing(data):
    assert noted(data(orientation=3), "12 pictures are stored turned or mirrored")


def entry(part, **changes):
    return lambda content: content[part][0].update(changes)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (entry("annotations", category_id=8), "data/unknown-class", "8 (1 times)"),
        (entry("annotations", category_id=None), "data/unknown-class", "None"),
        (entry("images", id=2), "data/duplicate-id", "two images have the id 2"),
        (entry("images", file_name="2.jpg"), "data/duplicate-id", "listed twice"),
        (entry("images", file_name=""), "data/wrong-layout", "no file_name"),
        (entry("images", file_name="../1.jpg"), "data/bad-path", "leaves the folder"),
        (entry("images", id=None), "data/wrong-layout", "the id None"),
        (entry("categories", name=""), "data/wrong-layout", "a category"),
        (lambda content: content["categories"].clear(), "data/class-list", "no category"),
        (
            lambda content: content["categories"].append({"id": 7, "name": "bolt"}),
            "data/duplicate-id",
            "two categories have the id 7",
        ),
        (
            lambda content: content["categories"].append({"id": 8, "name": "nut"}),
            "data/class-list",
            "called 'nut'",
        ),
        (lambda content: content["annotations"].clear(), "data/no-objects", "none of 12 pictures"),
        (
            lambda content: (content["images"].clear(), content["annotations"].clear()),
            "data/no-pictures",
            "none of 0 pictures",
        ),
        (lambda content: content.pop("annotations"), "data/wrong-layout", "lacks a list"),
        (entry("images", group="a"), "data/half-filled", "have no group"),
        (entry("images", split="train"), "data/half-filled", "have no split"),
        (entry("images", split="some"), "data/unknown-split", "the split 'some'"),
    ],
)
def test_what_leaves_open_what_is_meant_is_refused(data, change, code, words):
    with refused(code, match=re.escape(words)):
        data(change)


def test_a_file_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "all.json"
    path.write_text("{")
    with refused("data/bad-json", match=r"all\.json"):
        load_coco(path, 0)


def test_whole_groups_stay_in_one_split(data):
    def change(content):
        for number, image in enumerate(content["images"]):
            image["board"] = f"board {number // 2}"

    dataset = data(change, query="?group=board")
    homes = {}
    for sample in dataset.samples:
        assert homes.setdefault(sample.group, sample.split) == sample.split
    with refused("data/bad-option", match="no image"):
        data(change, query="?group=lot")


def test_files_of_splits_are_found_and_one_can_be_the_test_split(tmp_path):
    write_example(tmp_path)
    assert load_coco(tmp_path, 0).split_names() == ("train", "val", "test")
    (tmp_path / "instances_test.json").unlink()
    dataset = load_coco(tmp_path.parent / f"{tmp_path.name}?test=val", 0)
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [6, 2, 4]
    (tmp_path / "instances_val.json").unlink()
    with refused("data/bad-option", match="the splits are train"):
        load_coco(tmp_path.parent / f"{tmp_path.name}?test=val", 0)


def test_layouts_of_other_tools(tmp_path):
    """COCO's own annotations/NAME_SPLIT2017.json, and a file in each folder of a split."""
    write_example(tmp_path)
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val", "test"):
        (tmp_path / f"instances_{split}.json").rename(
            tmp_path / "annotations" / f"instances_{split}2017.json"
        )
    assert len(load_coco(tmp_path, 0).samples) == 16
    for split in ("train", "val", "test"):
        home = tmp_path / "valid" if split == "val" else tmp_path / split
        home.mkdir()
        file = tmp_path / "annotations" / f"instances_{split}2017.json"
        for image in json.loads(file.read_text())["images"]:
            (tmp_path / "images" / image["file_name"]).rename(home / image["file_name"])
        file.rename(home / "_annotations.coco.json")
    dataset = load_coco(tmp_path, 0)
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [8, 4, 4]


def test_two_files_of_one_split_are_chosen_between(tmp_path):
    write_example(tmp_path)
    for split in ("train", "val", "test"):
        text = (tmp_path / f"instances_{split}.json").read_text()
        (tmp_path / f"boxes_{split}.json").write_text(text)
        (tmp_path / f"masks_{split}.json").write_text(text)
    assert len(load_coco(tmp_path, 0).samples) == 16  # instances_ are COCO's own
    for split in ("train", "val", "test"):
        (tmp_path / f"instances_{split}.json").unlink()
    with refused("data/contradiction", match="files of one split"):
        load_coco(tmp_path, 0)
    name = f"{tmp_path.name}?annotations=masks"
    assert len(load_coco(tmp_path.parent / name, 0).samples) == 16


@pytest.mark.parametrize(
    ("name", "counts", "objects"),
    [("coco128", [96, 96], 1324), ("bccd", [205, 87], 3941), ("deeppcb", [200, 60], 1734)],
)
def test_real_sets_are_read_whole(shared, name, counts, objects):
    dataset = load_coco(shared / "data" / name, 0)
    assert [len(dataset.split(split)) for split in ("train", "val")] == counts
    assert sum(len(objects_of(sample)) for sample in dataset.samples) == objects
    assert not dataset.skipped


def test_boards_of_deeppcb_stay_together(shared):
    dataset = load_coco(shared / "data/deeppcb?test=val", 0)
    boards = {}
    for sample in dataset.samples:
        assert boards.setdefault(sample.group, sample.split) == sample.split
    assert set(boards.values()) == {"train", "val", "test"}


def test_crowds_of_coco_are_read(shared):
    dataset = load_coco(shared / "data/coco128?annotations=instance_masks", 0)
    assert sum(int(objects_of(sample).crowd_G.sum()) for sample in dataset.samples) == 6
