"""Exports of annotation tools: what is read of them, and what is counted."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from moekit.corrections.imports.label_studio_rle import decode_brush
from moekit.corrections.imports.marked import Leftovers
from moekit.corrections.imports.reading import (
    COCO,
    CVAT,
    LABEL_STUDIO,
    Images,
    label_of,
    read_export,
)
from moekit.corrections.labels import checked
from moekit.tasks.segment.rle import decode, encode
from moekit.testing import refused

SIZE = (30, 40)
XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><assignee><username>ada</username></assignee></task></meta>
<image id="0" name="a/one.png" width="40" height="30">
  <tag label="odd" source="manual"/>
  <box label="bolt" occluded="0" xtl="2.0" ytl="3.0" xbr="12.0" ybr="15.0" z_order="1"/>
  <box label="nut" xtl="20" ytl="10" xbr="30" ybr="14" rotation="90" z_order="0"/>
  <polygon label="nut" points="20.0,5.0;30.0,5.0;30.0,15.0" z_order="2"/>
  <mask label="bolt" rle="1, 3, 2" left="4" top="20" width="3" height="2"/>
  <polyline label="nut" points="1,1;2,2"/>
  <mask label="bolt" rle="1,1" left="4" top="20" width="3" height="2"/>
  <box label="" xtl="1" ytl="1" xbr="2" ybr="2"/>
  <box label="nut" xtl="nan" ytl="1" xbr="2" ybr="2"/>
</image>
<track id="0" label="bolt"/>
</annotations>"""


def pack(values, lengths=(3, 4, 8, 16)):
    """Label Studio's run lengths of some bytes, as its encoder may write them."""
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{one - 1:04b}" for one in lengths)
    at = 0
    while at < len(values):
        run = 1
        while at + run < len(values) and values[at + run] == values[at] and run < 2**16:
            run += 1
        if run > 1:
            kind = next(n for n, one in enumerate(lengths) if run - 1 < 2**one)
            bits += f"1{kind:02b}{run - 1:0{lengths[kind]}b}{values[at]:08b}"
        else:
            bits += f"0{0:02b}{0:0{lengths[0]}b}{values[at]:08b}"
        at += run
    bits += "0" * (-len(bits) % 8)
    return [int(bits[first : first + 8], 2) for first in range(0, len(bits), 8)]


def brushed(mask):
    rgba = np.zeros((*mask.shape, 4), dtype=np.uint8)
    rgba[mask] = (10, 20, 30, 255)
    return pack(rgba.reshape(-1).tolist())


def read(tmp_path, text, name="export"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    leftovers = Leftovers()
    return *read_export(path, leftovers), {
        one["reason"]: one["count"] for one in leftovers.as_json()
    }


def task(*results, image="/data/upload/3/0123abcd-one.png", **fields):
    whole = [
        {"original_width": 40, "original_height": 30, "image_rotation": 0, **one} for one in results
    ]
    annotation = {"completed_by": {"id": 7, "email": "ada@example.org"}, "result": whole}
    return {"id": 1, "data": {"image": image}, "annotations": [{**annotation, **fields}]}


def test_cvat_gives_tags_boxes_polygons_and_masks_the_front_one_last(tmp_path):
    kind, (one,), counts = read(tmp_path, XML)
    assert (kind, one.name, one.size, one.tags, one.by) == (
        CVAT,
        "a/one.png",
        SIZE,
        ("odd",),
        "ada",
    )
    turned, mask, box, polygon = one.shapes
    corners = np.array(turned.polygons[0]).reshape(-1, 2)
    assert corners.min(0).tolist() == pytest.approx([23, 7])
    assert corners.max(0).tolist() == pytest.approx([27, 17])
    assert mask.corner == (20, 4)
    assert mask.mask.astype(int).tolist() == [[0, 1, 1], [1, 0, 0]]
    assert box.box == (2, 3, 10, 12)
    assert polygon.polygons == ((20, 5, 30, 5, 30, 15),)
    assert counts == {
        "tracks of videos are not read": 1,
        "shapes of the kind polyline are not read": 1,
        "damaged shapes of the kind mask": 1,
        "damaged shapes of the kind box": 2,
    }


def test_label_studio_gives_choices_rectangles_polygons_and_brushes(tmp_path):
    mask = np.zeros(SIZE, dtype=bool)
    mask[5:9, 10:31] = True
    results = [
        {"type": "choices", "value": {"choices": ["odd"]}},
        {
            "type": "rectanglelabels",
            "value": {
                "x": 10,
                "y": 20,
                "width": 25,
                "height": 50,
                "rotation": 0,
                "rectanglelabels": ["bolt"],
            },
        },
        {
            "type": "rectanglelabels",
            "value": {
                "x": 50,
                "y": 50,
                "width": 25,
                "height": 10,
                "rotation": 90,
                "rectanglelabels": ["nut"],
            },
        },
        {
            "type": "polygonlabels",
            "value": {"points": [[0, 0], [50, 0], [0, 50]], "polygonlabels": ["nut"]},
        },
        {
            "type": "brushlabels",
            "value": {"format": "rle", "rle": brushed(mask), "brushlabels": ["bolt"]},
        },
        {"type": "keypointlabels", "value": {}},
        {"type": "rectanglelabels", "value": {"x": "wide", "rectanglelabels": ["bolt"]}},
        {"type": "brushlabels", "value": {"rle": brushed(mask)[:9], "brushlabels": ["bolt"]}},
    ]
    kind, (one,), counts = read(tmp_path, json.dumps([task(*results)]))
    assert (kind, one.size, one.tags, one.by) == (LABEL_STUDIO, SIZE, ("odd",), "ada@example.org")
    box, turned, polygon, brush = one.shapes
    assert box.box == pytest.approx((4, 6, 10, 15))
    corners = np.array(turned.polygons[0]).reshape(-1, 2)
    assert corners.min(0).tolist() == pytest.approx([17, 15])
    assert corners.max(0).tolist() == pytest.approx([20, 25])
    assert polygon.polygons == ((0, 0, 20, 0, 0, 15),)
    assert (brush.mask == mask).all()
    assert counts == {
        "results of the type keypointlabels are not read": 1,
        "damaged results of the type rectanglelabels": 1,
        "damaged results of the type brushlabels": 1,
    }


def test_of_several_annotations_the_last_counts_and_none_that_was_cancelled(tmp_path):
    def choice(name, at, **fields):
        made = task({"type": "choices", "value": {"choices": [name]}}, updated_at=at, **fields)
        return made["annotations"][0]

    several = {
        **task(),
        "annotations": [
            choice("good", "2026-02"),
            choice("odd", "2026-03"),
            choice("x", "2026-09", was_cancelled=True),
        ],
    }
    none = {**task(image="b.png"), "annotations": []}
    _, (one,), counts = read(tmp_path, json.dumps([several, none]))
    assert one.tags == ("odd",)
    assert sum(counts.values()) == 3


@pytest.mark.parametrize("seed", range(4))
def test_brushes_are_unpacked_to_the_value(seed):
    generator = np.random.default_rng(seed)
    values = np.repeat(generator.integers(0, 256, 60), generator.integers(1, 300, 60))[: 6 * 7 * 4]
    found = decode_brush(pack(values.tolist()), (6, 7))
    assert (found.reshape(-1) == values).all()
    for damaged in (pack(values.tolist())[:-4], pack([*values.tolist(), 1]), [256], []):
        with pytest.raises(ValueError):  # noqa: PT011
            decode_brush(damaged, (6, 7))


def test_coco_gives_boxes_and_outlines(tmp_path):
    mask = np.zeros(SIZE, dtype=bool)
    mask[2:4, 3:9] = True
    content = {
        "images": [{"id": 5, "file_name": "one.png", "height": 30, "width": 40, "split": "val"}],
        "categories": [{"id": 1, "name": "bolt"}],
        "annotations": [
            {"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"image_id": 5, "category_id": 1, "bbox": [], "segmentation": [[1, 1, 9, 1, 9, 9]]},
            {"image_id": 5, "category_id": 1, "segmentation": dict(encode(mask))},
            {"image_id": 5, "category_id": 9, "bbox": [1, 2, 3, 4]},
            {"image_id": 6, "category_id": 1, "bbox": [1, 2, 3, 4]},
        ],
    }
    kind, (one,), counts = read(tmp_path, json.dumps(content))
    assert kind == COCO
    assert one.shapes[0].box == (1, 2, 3, 4)
    assert one.shapes[1].polygons == ((1, 1, 9, 1, 9, 9),)
    assert (one.shapes[2].mask == mask).all()
    assert counts == {
        "damaged annotations": 1,
        "annotations of no image": 1,
        "splits of images; corrections get theirs by their content": 1,
    }


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations>&b;</annotations>'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1]", "{}", "7", "<annotations>", "<other/>", "<annotations/>", BOMB),
        b"\xff\xfe\x00",
        f'<?xml version="1.0" encoding="utf-16"?>{BOMB}'.encode("utf-16"),
        '[{"image": "a.png", "label": []}]',
        '[{"id": 1, "annotations": [], "annotations": []}]',
        '{"images": [], "images": [], "annotations": [], "categories": []}',
        '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}],'
        ' "annotations": [], "categories": []}',
        '{"images": [], "annotations": [],'
        ' "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
        '{"images": [{}], "annotations": [], "categories": []}',
        "[" * 100_000,
    ],
)
def test_files_of_other_kinds_are_refused_in_words(tmp_path, text):
    with refused("data/bad-export"):
        read(tmp_path, text)


def test_images_are_found_by_what_exports_call_them(tmp_path):
    for name in ("a/one.png", "b/one.png", "b/two.png", "name with space.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    files = Images(tmp_path)
    assert files.find("a/one.png") == tmp_path / "a/one.png"
    assert files.find("task/b/one.png") == tmp_path / "b/one.png"
    assert files.find("/data/upload/9/0a1b2c3d-two.png") == tmp_path / "b/two.png"
    assert files.find("C:\\pictures\\two.png") == tmp_path / "b/two.png"
    assert "several" in files.find("one.png")
    assert "not in the folder" in files.find("../../etc/passwd")
    assert "not in the folder" in files.find("")


def test_labels_take_the_form_of_the_kit_and_the_rest_is_counted(tmp_path, terms):
    _, (one,), _ = read(tmp_path, XML)
    leftovers = Leftovers()
    label = label_of(one, SIZE, terms("class"), leftovers, unmarked="good")
    assert label.classes == ["odd"]
    assert sum(entry["count"] for entry in leftovers.as_json()) == 4

    leftovers = Leftovers()
    objects = terms("objects", ("bolt", "nut"))
    kept = checked(label_of(one, SIZE, objects, leftovers, unmarked="bolt"), SIZE, objects)
    assert [thing["class"] for thing in kept["objects"]] == ["nut", "bolt", "bolt", "nut"]
    mask = decode(kept["objects"][1]["segmentation"])
    assert mask[20:22, 4:7].astype(int).tolist() == [[0, 1, 1], [1, 0, 0]]

    outlined = terms("objects", ("bolt", "nut"), outlined=True)
    leftovers = Leftovers()
    assert len(label_of(one, SIZE, outlined, leftovers, unmarked="bolt").objects) == 3
    reasons = [entry["reason"] for entry in leftovers.as_json()]
    assert "boxes, since the kit takes outlines" in reasons

    masks = terms("mask", ("ground", "bolt", "nut"))
    label = label_of(one, SIZE, masks, Leftovers(), unmarked="ground")
    with Image.open(io.BytesIO(base64.b64decode(label.png))) as file:
        values = np.asarray(file)
    assert (values[0] == 0).all()
    assert values[10, 5] == 1
    assert values[7, 28] == 2
