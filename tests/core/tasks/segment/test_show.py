"""Overlays, mask files, the COCO file, and the sections of a report."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from moekit.contract.answers import Item
from moekit.contract.report import NEXT, ReportContext
from moekit.contract.tasks import SummaryJob
from moekit.tasks.segment.answers import SegmentAnswer
from moekit.tasks.segment.classes import palette
from moekit.tasks.segment.intervals import complete
from moekit.tasks.segment.sections import sections
from moekit.tasks.segment.show import COLUMNS, caption, draw, files, gather
from moekit.testing import refused


@pytest.fixture
def answer():
    plane = np.zeros((60, 90), dtype=np.uint8)
    plane[10:30, 20:50] = 1
    plane[40:50, 60:80] = 2
    return SegmentAnswer(class_HW=plane, classes=("soil", "crop", "weed"), background=(0,))


def test_classes_are_coloured_and_background_is_not(answer, context):
    picture = Image.new("RGB", (90, 60), (100, 100, 100))
    drawn = draw(picture, answer, None, context)
    assert drawn.width == 90
    assert drawn.height > 60
    pixels = np.asarray(drawn).astype(int)
    assert (pixels[5, 5] == 100).all()
    for place, number in (((20, 30), 1), ((45, 70), 2)):
        wanted = 0.45 * 100 + 0.55 * palette(3)[number].astype(float)
        assert np.abs(pixels[place] - wanted).max() <= 1
    assert picture.size == (90, 60)


def test_the_legend_has_the_colours_of_the_classes(answer, context):
    legend = np.asarray(draw(Image.new("RGB", (300, 200)), answer, None, context))[200:]
    for number in (1, 2):
        assert (legend == palette(3)[number]).all(axis=2).sum() > 50
    assert legend.min() < 128


def test_a_large_picture_is_reduced_and_many_classes_fit(context):
    plane = np.arange(300 * 400).reshape(300, 400) % 70
    many = SegmentAnswer(
        class_HW=plane.astype(np.uint8),
        classes=tuple(f"a very long name of a class, number {n}" for n in range(70)),
        background=(),
    )
    drawn = draw(Image.new("RGB", (4000, 3000)), many, None, context)
    assert drawn.width == 640
    assert 480 < drawn.height < 1000


def test_a_caption_tells_the_largest_classes(answer, context):
    item = Item(id="x", size=(60, 90))
    assert caption(answer, item, context) == "soil 85.2%, crop 11.1%, weed 3.7%"


def test_another_tasks_answer_is_not_drawn(context):
    assert draw(Image.new("RGB", (4, 4)), object(), None, context) is None
    assert files(object()) == {}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_file_holds_class_numbers(dtype):
    plane = np.arange(12, dtype=dtype).reshape(3, 4) * (1 if dtype == np.uint8 else 30)
    answer = SegmentAnswer(class_HW=plane, classes=tuple(map(str, range(400))), background=(0,))
    suffix, content = files(answer)["mask"]
    assert suffix == ".png"
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == ("L" if dtype == np.uint8 else "I;16")
        assert np.array_equal(np.asarray(image), plane)


def row(name, answer):
    return {"file": f"{name}.jpg", "mask": f"mask/{name}.png", **answer.as_row()}


@pytest.fixture
def written(tmp_path, answer):
    (tmp_path / "mask").mkdir()
    other = SegmentAnswer(
        class_HW=np.ones((8, 5), np.uint8), classes=answer.classes, background=(0,)
    )
    rows = [row("a", answer), row("b", other), {"file": "c.jpg", "mask": "", "error": "damaged"}]
    for name, one in (("a", answer), ("b", other)):
        (tmp_path / "mask" / f"{name}.png").write_bytes(files(one)["mask"][1])
    return tmp_path, rows


def test_rows_have_the_columns(answer):
    assert set(answer.as_row()) < set(COLUMNS)
    assert {"verdict", "overlay", "error", "mask"} <= set(COLUMNS)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_all_masks_are_gathered_in_cocos_format(written, answer):
    out, rows = written
    assert gather(out, rows) == {"segmentation": "segmentation.json", "annotations": 4}
    coco = pytest.importorskip("pycocotools.coco")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *words: None)
        found = coco.COCO(out / "segmentation.json")
    assert [image["file_name"] for image in found.dataset["images"]] == ["a.jpg", "b.jpg"]
    assert [entry["name"] for entry in found.loadCats(found.getCatIds())] == list(answer.classes)
    for annotation in found.loadAnns(found.getAnnIds(imgIds=[1])):
        mask = answer.class_HW == annotation["category_id"]
        assert np.array_equal(found.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
    (crop,) = found.loadAnns(found.getAnnIds(imgIds=[1], catIds=[1]))
    assert crop["bbox"] == [20, 10, 30, 20]


def test_rows_from_a_table_are_gathered_alike(written):
    out, rows = written
    gather(out, rows)
    before = (out / "segmentation.json").read_bytes()
    texts = [{**one, "shares": json.dumps(one["shares"])} if one["mask"] else one for one in rows]
    gather(out, texts)
    assert (out / "segmentation.json").read_bytes() == before


def test_nothing_to_gather_writes_nothing(tmp_path):
    assert gather(tmp_path, [{"file": "c.jpg", "mask": ""}]) == {}
    assert not list(tmp_path.iterdir())


def test_a_mask_that_is_gone_is_named(written):
    out, rows = written
    (out / "mask/b.png").unlink()
    with refused("image/not-found"):
        gather(out, rows)


def test_sections_tell_classes_confusion_and_the_worst(tallies):
    job = SummaryJob(tallies=tallies, points=(None, None), metrics=(), seed=0, resamples=100)
    result = complete({}, job)
    made = sections(
        ReportContext(result=result, record={}, predictions=None, validation=None, tallies=tallies)
    )
    by_class, confusion, worst, steps = made
    (table,) = by_class.tables
    assert [line[0] for line in table.rows] == ["ground (background)", "square", "disc"]
    assert all(len(line) == len(table.columns) == 8 for line in table.rows)
    assert f"{result['per_class']['disc']['iou']['value']:.3f} [" in table.rows[2][3]
    assert table.rows[2][7].startswith("+")
    (grid,) = confusion.grids
    assert np.allclose(np.array(grid.shares).sum(1), 1)
    assert grid.rows == grid.columns == ("ground", "square", "disc")
    lowest = worst.tables[0]
    assert len(lowest.rows) == 10
    assert float(lowest.rows[0][1]) <= float(lowest.rows[-1][1])
    assert all(len(line) == len(lowest.columns) == 4 for line in lowest.rows)
    assert steps.title == NEXT
    least = min(("square", "disc"), key=lambda name: result["per_class"][name]["iou"]["value"])
    assert f"with {least}, the class with the lowest IoU" in steps.paragraphs[0]
    row = tallies[0].confusion_NCC.sum(0)[tallies[0].classes.index(least)]
    wrong = np.delete(row, tallies[0].classes.index(least))
    assert steps.paragraphs[1].startswith(f"{wrong.max() / row.sum():.0%} of its pixels")


def test_classes_that_are_outlined_well_ask_for_no_step(tallies):
    job = SummaryJob(tallies=tallies, points=(None, None), metrics=(), seed=0, resamples=10)
    result = complete({}, job)
    for entry in result["per_class"].values():
        entry["iou"]["value"] = 0.95
    context = ReportContext(result=result, record={}, predictions=None, validation=None)
    assert sections(context)[-1].paragraphs == ()


def test_a_class_that_is_never_found_asks_for_more_training_and_not_for_finer_edges(tallies):
    job = SummaryJob(tallies=tallies[1:], points=(None,), metrics=(), seed=0, resamples=10)
    context = ReportContext(result=complete({}, job), record={}, predictions=None, validation=None)
    _, steps = sections(context)
    assert "--epochs" in steps.paragraphs[-1]
    assert not any("boundary" in words for words in steps.paragraphs)


def test_sections_of_one_model_whose_tallies_are_gone(tallies):
    job = SummaryJob(tallies=tallies[:1], points=(None,), metrics=(), seed=0, resamples=10)
    context = ReportContext(result=complete({}, job), record={}, predictions=None, validation=None)
    by_class, steps = sections(context)
    assert len(by_class.tables[0].columns) == 6
    assert len(steps.paragraphs) in (1, 2)
    assert not sections(ReportContext(result={}, record={}, predictions=None, validation=None))
