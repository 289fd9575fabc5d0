"""COCO files that contradict themselves, or say something of another type than they should."""

import json

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused
from moekit_detection.loaders.coco import load_coco
from moekit_detection.records import objects_of

SIZE = (60, 80)


@pytest.fixture
def data(tmp_path):
    """Writes a COCO file of twelve pictures, changed by a function, and loads it."""

    def load(change):
        content = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "nut"}]}
        for number in range(1, 13):
            pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{number}.jpg")
            size = {"height": SIZE[0], "width": SIZE[1]}
            content["images"].append({"id": number, "file_name": f"{number}.jpg", **size})
            box = {"bbox": [10.0, 20.0, 30.0, 8.0], "area": 200.0, "iscrowd": 0}
            entry = {"id": number, "image_id": number, "category_id": 7, **box}
            content["annotations"].append(entry)
        change(content)
        (tmp_path / "all.json").write_text(json.dumps(content))
        return load_coco(tmp_path / "all.json", 0)

    return load


def truth(dataset, name="1.jpg"):
    (sample,) = [sample for sample in dataset.samples if sample.id == name]
    return objects_of(sample)


def noted(dataset, text):
    return [note for note in dataset.notes if text in note]


@pytest.mark.parametrize("size", [7, "ab", [[1], 2], [10**12, 10**12], [0, 0], None])
def test_run_lengths_of_no_size_are_counted(data, size):
    def change(content):
        content["annotations"][0]["segmentation"] = {"size": size, "counts": [5, 10**24 - 5]}
        content["annotations"][1] = {
            **content["annotations"][1],
            "segmentation": content["annotations"][0]["segmentation"],
            "bbox": None,
        }

    dataset = data(change)
    assert noted(dataset, "1 masks are of another size")
    assert noted(dataset, "1 annotations have no box")


def test_a_mask_that_lies_elsewhere_than_its_box_is_told(data):
    def change(content):
        content["annotations"][0]["segmentation"] = [[60, 40, 75, 40, 75, 55, 60, 55]]
        content["annotations"][1]["segmentation"] = [[10, 20, 40, 20, 40, 28, 10, 28]]

    (note,) = noted(data(change), "share less than a tenth with their boxes")
    assert note.startswith("1 masks")
    assert "annotation 1 " in note


@pytest.mark.parametrize(
    ("value", "crowd", "told"),
    [("0", False, 0), ("1", True, 0), (True, True, 0), (1.0, True, 0), ([0], False, 1)],
)
def test_what_says_that_an_object_is_a_crowd_is_taken_at_its_word(data, value, crowd, told):
    dataset = data(lambda content: content["annotations"][0].update(iscrowd=value))
    assert truth(dataset).crowd_G.tolist() == [crowd]
    assert len(noted(dataset, "iscrowd that is neither 0 nor 1")) == told


@pytest.mark.parametrize("licences", [5, "MIT", {"name": "MIT"}, [3], None])
def test_licences_of_another_kind_are_not_known(data, licences):
    assert data(lambda content: content.update(licenses=licences)).licence == "unknown"


@pytest.mark.parametrize("place", ["the file", "an image", "an annotation"])
def test_a_key_that_is_there_twice_is_refused(data, tmp_path, place):
    data(lambda content: None)
    text = (tmp_path / "all.json").read_text()
    old, new = {
        "the file": ('{"images":', '{"annotations": [], "images":'),
        "an image": ('"file_name": "1.jpg"', '"file_name": "2.jpg", "file_name": "1.jpg"'),
        "an annotation": ('"iscrowd": 0', '"iscrowd": 0, "bbox": [1, 2, 3, 4]'),
    }[place]
    assert old in text
    (tmp_path / "all.json").write_text(text.replace(old, new, 1))
    with refused("data/bad-json", match="twice"):
        load_coco(tmp_path / "all.json", 0)


def test_a_split_that_is_not_that_of_the_file_is_told(data, tmp_path):
    data(lambda content: None)
    content = json.loads((tmp_path / "all.json").read_text())
    for split, part in (("train", slice(0, 6)), ("val", slice(6, 9)), ("test", slice(9, 12))):
        images = [{**image, "split": split} for image in content["images"][part]]
        known = {image["id"] for image in images}
        if split == "train":
            images[0]["split"], images[1]["split"] = "val", "odd"
        annotations = [one for one in content["annotations"] if one["image_id"] in known]
        own = {**content, "images": images, "annotations": annotations}
        (tmp_path / f"instances_{split}.json").write_text(json.dumps(own))
    dataset = load_coco(tmp_path, 0)
    (note,) = noted(dataset, "another split than their file")
    assert note.startswith("2 images")
    assert "image 1 of instances_train.json" in note
    assert len(dataset.split("train")) == 6


def test_keys_of_a_file_that_are_not_read_are_told(data):
    dataset = data(lambda content: content.update(split="train", info={}, licenses=[]))
    (note,) = noted(dataset, "that are not read")
    assert note.endswith("all.json that are not read: split")
    assert not noted(data(lambda content: None), "that are not read")
