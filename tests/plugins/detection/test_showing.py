"""Overlays, files of found objects, and sections of a report."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from moekit import Item, ReportContext, SummaryJob
from moekit_detection.answers import DetectAnswer
from moekit_detection.judging.points import choose_point
from moekit_detection.judging.read import read_results
from moekit_detection.judging.summary import complete, facts
from moekit_detection.overlay import caption, draw, verdicts_of
from moekit_detection.records import Objects
from moekit_detection.sections import sections
from moekit_detection.showing import COLUMNS, SHOW, gather
from tests.plugins.detection.coco_cases import CONTEXT, drawn_pairs, drawn_tally, samples_of

BOX, FAR = (20.0, 30.0, 40.0, 20.0), (100.0, 10.0, 30.0, 30.0)
SIZE = (90, 160)
TRUE = Objects.of([BOX, FAR], [0, 1])


def answer(boxes, labels, scores, kept=None):
    objects = Objects.of(boxes, labels, score_G=scores)
    kept_G = np.ones(len(objects), dtype=bool) if kept is None else np.array(kept)
    return DetectAnswer(objects=objects, kept_G=kept_G, classes=CONTEXT.classes, size=SIZE)


def item(true):
    (sample,) = samples_of([(Objects.of([], [], score_G=[]), true)])
    return Item(id=sample.id, size=SIZE, sample=sample)


def test_what_is_wrong_and_what_is_missed_is_found_by_class():
    found = answer([BOX, BOX, FAR], [0, 0, 0], [0.9, 0.8, 0.7])
    known = verdicts_of(found.kept, TRUE)
    assert known.wrong_G.tolist() == [False, True, True]
    assert known.missed.label_G.tolist() == [1]


def test_crowds_are_neither_missed_nor_make_alarms():
    crowd = Objects.of([FAR], [1], crowd_G=[True])
    known = verdicts_of(answer([FAR, (105, 15, 5, 5)], [1, 1], [0.9, 0.8]).kept, crowd)
    assert known.wrong_G.tolist() == [False, False]
    assert len(known.missed) == 0
    assert len(verdicts_of(answer([], [], []).kept, crowd).missed) == 0


def test_boxes_are_drawn_where_they_lie_and_missed_ones_are_dashed():
    picture = Image.new("RGB", (SIZE[1], SIZE[0]))
    found = answer([BOX], [0], [0.9])
    alone = np.asarray(draw(picture, found, None, CONTEXT))
    edge = alone[BOX_BOTTOM, 30]
    assert edge.any()
    assert not alone[45, 40].any()  # inside
    assert not alone[25:35, 110:120].any()
    known = np.asarray(draw(picture, found, item(TRUE), CONTEXT))
    yellow = (known == (255, 214, 0)).all(2)
    assert yellow[8:12, 100:130].any()
    assert not yellow[28:52, 18:62].any()


BOX_BOTTOM = 50


def test_a_large_answer_is_drawn_on_its_reduced_picture():
    picture = Image.new("RGB", (80, 45))
    drawn = np.asarray(draw(picture, answer([BOX], [0], [0.9]), None, CONTEXT))
    assert drawn[25, 15].any()
    assert not drawn[40, 70].any()


def test_a_false_alarm_has_a_red_label_if_the_truth_is_known():
    picture = Image.new("RGB", (SIZE[1], SIZE[0]))
    found = answer([FAR], [0], [0.9])

    def red(drawn):
        return (np.asarray(drawn)[: SIZE[0]] == (213, 0, 0)).all(2).any()

    assert red(draw(picture, found, item(TRUE), CONTEXT))
    assert not red(draw(picture, found, None, CONTEXT))
    assert not red(draw(picture, answer([FAR], [1], [0.9]), item(TRUE), CONTEXT))


def test_nothing_found_and_any_name_of_a_class_can_be_drawn():
    picture = Image.new("RGB", (SIZE[1], SIZE[0]))
    assert draw(picture, answer([], [], []), item(TRUE), CONTEXT).width == SIZE[1]
    odd = dataclasses.replace(answer([BOX], [0], [0.9]), classes=("n\x00ut" * 9, "b", "c", "d"))
    assert draw(picture, odd, None, CONTEXT).height > SIZE[0]


def test_the_caption_says_what_is_found_and_what_is_wrong():
    found = answer([BOX, FAR, FAR], [0, 0, 0], [0.9, 0.8, 0.2], kept=[True, True, False])
    assert caption(found, item(TRUE), CONTEXT) == "2 nut; 1 missed, 1 false alarms"
    bare = dataclasses.replace(item(TRUE), sample=None)
    assert caption(found, bare, CONTEXT) == "2 nut"
    assert caption(answer([], [], []), bare, CONTEXT) == "nothing"


def test_rows_have_the_columns():
    row = answer([BOX], [1], [0.9]).as_row()
    assert set(row) | {"overlay", "error"} == set(COLUMNS)
    assert SHOW.monitor in row


@pytest.mark.parametrize("as_text", [False, True])
def test_all_objects_are_written_as_coco_and_as_a_table_and_read_again(tmp_path, as_text):
    pairs = drawn_pairs(8)
    rows = []
    for number, (found, _) in enumerate(pairs):
        kept = np.ones(len(found), dtype=bool)
        one = DetectAnswer(objects=found, kept_G=kept, classes=CONTEXT.classes, size=(640, 640))
        row = {"file": f"{number:02}.png", **one.as_row()}
        if as_text:  # as rows of a table hold them
            row |= {name: json.dumps(row[name]) for name in ("objects", "counts", "size")}
        rows.append(row)
    rows.append({"file": "broken.png", "verdict": "unreadable", "objects": [], "size": None})
    facts = gather(tmp_path, rows)
    count = sum(len(found) for found, _ in pairs)
    assert facts == {"detections": "detections.json", "table": "objects.csv", "objects": count}
    lines = (tmp_path / "objects.csv").read_text().splitlines()
    assert lines[0] == "file,class,score,x,y,width,height"
    assert len(lines) == count + 1
    written = json.loads((tmp_path / "detections.json").read_text())
    assert len(written["images"]) == len(pairs)
    assert {one["id"]: one["name"] for one in written["categories"]} == dict(
        enumerate(CONTEXT.classes, start=1)
    )
    tally = read_results(tmp_path / "detections.json", samples_of(pairs), CONTEXT)
    assert len(tally.matches.score_D) == count


def test_no_picture_gives_no_file(tmp_path):
    assert gather(tmp_path, [{"file": "broken.png", "size": None}]) == {}
    assert not list(tmp_path.iterdir())


def test_a_report_has_curves_classes_sizes_mistakes_and_the_worst():
    kit = drawn_tally(6, images=20)
    bare = dataclasses.replace(kit)
    point = choose_point(kit, "f1")
    job = SummaryJob(tallies=(kit, bare), points=(point, point), metrics=(), seed=0, resamples=20)
    result = complete({**facts(kit), "point": point.as_json()}, job)
    context = ReportContext(
        result=json.loads(json.dumps(result)),
        record={},
        predictions=None,
        validation=None,
        tallies=(kit, bare),
    )
    made = {section.title: section for section in sections(context)}
    assert list(made) == [
        *("Precision and recall", "Classes", "Sizes", "Mistakes by kind"),
        *("Pictures answered worst", "What next"),
    ]
    costs = {name: one["ap50_gain"] or 0.0 for name, one in result["mistakes"].items()}
    assert f'"{max(costs, key=costs.get)}"' in made["What next"].paragraphs[0]
    chart = made["Precision and recall"].charts[0]
    assert [line.style for line in chart.lines] == ["kit", "baseline"]
    area = np.mean([y for _, y in chart.lines[0].points])
    whole = [one["ap50"]["value"] for one in result["per_class"].values()]
    assert area == pytest.approx(np.mean([one for one in whole if one is not None]))
    for section in made.values():
        for table in section.tables:
            assert {len(row) for row in table.rows} == {len(table.columns)}
    missed_N, _ = kit.mistakes_N(point)
    worst = made["Pictures answered worst"].tables[0].rows[0]
    assert int(worst[1]) == missed_N.max()
    nothing = dataclasses.replace(context, result={}, tallies=())
    assert not sections(nothing)
