"""Tallies, points, figures with intervals, files of tallies and results of others."""

import dataclasses
import json
import time

import numpy as np
import pytest
import torch

from moekit import Item, SummaryJob
from moekit.testing import refused
from moekit_detection.judging.average import figures_of, mean_of
from moekit_detection.judging.metrics import METRICS
from moekit_detection.judging.outcome import outcome
from moekit_detection.judging.points import choose_point
from moekit_detection.judging.storage import load_tallies, save_tallies
from moekit_detection.judging.summary import compare, complete, facts
from moekit_detection.judging.tally import (
    ALARMS,
    MISSES,
    DetectTallier,
    DetectTally,
    check_tallies,
)
from moekit_detection.records import BOX, LOGIT, Objects, objects_of
from tests.plugins.detection.coco_cases import (
    CONTEXT,
    drawn_pairs,
    drawn_tally,
    pycocotools_figures,
    samples_of,
)

SPECS = {spec.name: spec for spec in METRICS}


def value(name, tally, point=None):
    spec = SPECS[name]
    given = [
        getattr(point, need) if tally.field(need) is None else tally.field(need)
        for need in spec.needs
    ]
    return spec.compute(*given)


def found_in(boxes, labels, scores):
    return Objects.of(boxes, labels, score_G=scores)


def fixed(pairs):
    """A tally of given pictures."""
    return DetectTally.of(samples_of(pairs), CONTEXT, pairs)


def test_taking_pictures_weighs_them_and_matches_nothing_again():
    tally = drawn_tally(1, ties=False)
    part = tally.take(np.array([3, 0, 3]))
    assert part.ids == (tally.ids[3], tally.ids[0], tally.ids[3])
    assert part.groups == (tally.groups[3], tally.groups[0], tally.groups[3])
    assert part.matches is tally.matches
    pairs = drawn_pairs(1, ties=False)
    again = fixed([pairs[3], pairs[0], pairs[3]])
    for name in ("ap", "ap50", "ap_small", "ar10"):
        assert value(name, part) == pytest.approx(value(name, again), nan_ok=True)


def test_a_thousand_resamples_are_quick():
    tally = drawn_tally(2, images=60, most=12)
    generator = np.random.default_rng(0)
    began = time.process_time()
    for _ in range(100):
        part = tally.take(generator.integers(0, 60, 60))
        for name in ("ap", "ap50", "ap75", "ap_small", "ar100"):
            value(name, part)
    assert time.process_time() - began < 3  # a hundred of them


def test_the_tallier_decodes_each_item_and_counts_objects_beyond_the_queries():
    pairs = drawn_pairs(3, images=3)
    samples = samples_of(pairs)
    shown = {}

    def decode(row, frame, size, context):
        shown[float(row[LOGIT][0, 0])] = (tuple(row[BOX].shape), size)
        return pairs[int(row[LOGIT][0, 0])][0]

    tallier = DetectTallier(CONTEXT, 1, decode=decode)
    items = [
        Item(id=sample.id, size=(20 + place, 30), sample=sample)
        for place, sample in enumerate(samples)
    ]
    outputs = {
        LOGIT: torch.arange(3.0)[:, None, None].expand(3, 2, 4),
        BOX: torch.zeros(3, 2, 4),
    }
    for row in range(3):
        tallier.add(
            items[row : row + 1], [{key: one[row : row + 1] for key, one in outputs.items()}]
        )
    (tally,) = tallier.finish()
    assert shown == {float(place): ((2, 4), (20 + place, 30)) for place in range(3)}
    assert tally.matches == fixed(pairs).matches
    counts = [len(true) for _, true in pairs]
    assert tally.excess_N.tolist() == [max(0, count - 2) for count in counts]
    assert facts(tally)["objects_beyond_queries"] == sum(max(0, count - 2) for count in counts)
    with refused("data/no-truth"):
        tallier.add([dataclasses.replace(items[0], sample=None)], [outputs])
    bare = dataclasses.replace(samples[0], truth=None)
    with refused("data/no-truth"):
        tallier.add([dataclasses.replace(items[0], sample=bare)], [outputs])


def test_facts_count_objects_crowds_and_empty_pictures():
    true = Objects.of([(0, 0, 9, 9), (20, 0, 9, 9)], [1, 2], crowd_G=[False, True])
    nothing = found_in([], [], [])
    counted = facts(fixed([(nothing, true), (nothing, Objects.of([], []))]))
    assert counted == {
        "objects": 1,
        "crowds": 1,
        "empty_pictures": 1,
        "absent_classes": ["nut", "ring", "pin"],
        "most_objects": 1,
        "pictures_beyond_queries": 0,
        "objects_beyond_queries": 0,
    }


def two_pictures():
    """Nuts: right at .9, false at .8, right at .6. Bolts: right at .3, false at .2."""
    box, other, far = (0, 0, 40, 40), (100, 0, 40, 40), (300, 300, 40, 40)
    return fixed(
        [
            (found_in([box, far], [0, 0], [0.9, 0.8]), Objects.of([box], [0])),
            (
                found_in([other, box, far], [0, 1, 1], [0.6, 0.3, 0.2]),
                Objects.of([other, box], [0, 1]),
            ),
        ]
    )


def test_the_rule_f1_chooses_each_class_its_own_threshold():
    point = choose_point(two_pictures(), "f1")
    assert point.thresholds == pytest.approx((0.3, 0.25, 0.5, 0.5))
    assert point.values == pytest.approx((4 / 5, 1.0, None, None))
    assert point.false_alarms == 0.5
    assert "ring, pin" in point.warning
    assert value("precision", two_pictures(), point) == pytest.approx(3 / 4)
    assert value("recall", two_pictures(), point) == 1
    assert value("false_alarms", two_pictures(), point) == 0.5
    json.dumps([point.as_json(), point.brief(), point.in_words()], allow_nan=False)


@pytest.mark.parametrize(
    ("most", "threshold"), [("0", 0.85), ("0.5", 0.25), ("1", 0.1), ("0.4", 0.85)]
)
def test_a_rule_of_false_alarms_holds_them_to_its_number(most, threshold):
    tally = two_pictures()
    point = choose_point(tally, f"max-false-alarms={most}")
    assert point.thresholds == pytest.approx((threshold,) * 4)
    assert value("false_alarms", tally, point) <= float(most)


def test_a_threshold_reports_what_it_reached_and_no_more():
    objects = found_in([(0, 0, 9, 9)] * 3, [0, 0, 1], [0.31, 0.29, 0.26])
    assert choose_point(two_pictures(), "f1").kept(objects).tolist() == [True, False, True]


@pytest.mark.parametrize("rule", ["f2", "max-false-alarms", "max-false-alarms=-1", "f1=0.5"])
def test_an_unknown_rule_is_refused(rule):
    with refused("usage/unknown-rule", match="f1, max-false-alarms=NUMBER"):
        choose_point(two_pictures(), rule)


def test_a_class_of_which_nothing_right_is_found_keeps_the_default_and_a_warning():
    tally = fixed([(found_in([(99, 99, 9, 9)], [0], [0.9]), Objects.of([(0, 0, 9, 9)], [0]))])
    point = choose_point(tally, "f1")
    assert point.thresholds == (0.5,) * 4
    assert point.values == (None,) * 4
    assert "nut, bolt, ring and 1 more" in point.warning


def test_a_validation_split_without_objects_gives_no_point():
    empty = fixed([(found_in([(0, 0, 9, 9)], [0], [0.5]), Objects.of([], []))])
    with refused("data/no-objects"):
        choose_point(empty, "f1")


def test_the_worst_pictures_have_the_most_of_a_mistake():
    tally = drawn_tally(4)
    point = choose_point(tally, "f1")
    missed_N, alarms_N = tally.mistakes_N(point)
    found = tally.worst(point)
    assert missed_N[found[MISSES]].tolist() == sorted(missed_N[missed_N > 0].tolist())[::-1][:10]
    assert alarms_N[found[ALARMS]].tolist() == sorted(alarms_N[alarms_N > 0].tolist())[::-1][:10]
    assert (
        tally.take(found[MISSES]).mistakes_N(point)[0].tolist() == missed_N[found[MISSES]].tolist()
    )


def test_found_pictures_hold_a_found_object_and_those_without_mistakes_come_first():
    tally = drawn_tally(4)
    point = choose_point(tally, "f1")
    missed_N, alarms_N = tally.mistakes_N(point)
    found = tally.right(point)["found"]
    mistakes = (missed_N + alarms_N)[found]
    assert len(found)
    assert not mistakes[: (mistakes == 0).sum()].any()


def test_a_score_that_is_none_and_other_truth_are_refused():
    pairs = drawn_pairs(1)
    tally = fixed(pairs)
    tally.matches.score_D[3] = np.nan
    with refused("data/bad-counts", match="a score is nan"):
        check_tallies([tally])
    with refused("data/bad-counts", match="other pictures"):
        check_tallies([fixed(pairs), fixed(pairs[::-1])])


def test_tallies_are_saved_and_loaded_whole(tmp_path):
    tallies = (drawn_tally(1), drawn_tally(1, ties=False))
    assert save_tallies(tmp_path, "predictions", tallies) == ["predictions.npz", "predictions.csv"]
    loaded = load_tallies(tmp_path, "predictions")
    for was, now in zip(tallies, loaded, strict=True):
        assert was.matches == now.matches
        assert (was.ids, was.groups, was.classes) == (now.ids, now.groups, now.classes)
        assert value("ap", was) == value("ap", now)
    header, *lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert header.startswith("id,group,subtype,objects,crowds,found,wrong class,badly placed")
    assert len(lines) == len(tallies[0])
    assert not load_tallies(tmp_path, "validation")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("rows_N.0", lambda one: one + 1),
        ("class_D.0", lambda one: one - 1),
        ("image_G.0", lambda one: one[:-1]),
        ("hit_DA.0", lambda one: one[:, :-1]),
        ("score_D.0", lambda one: one.astype(np.float32)),
        ("meant_D.0", lambda one: one + len(one)),
    ],
)
def test_a_changed_file_of_tallies_is_refused(tmp_path, name, change):
    save_tallies(tmp_path, "predictions", [drawn_tally(1)])
    path = tmp_path / "predictions.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays[name] = change(arrays[name])
    np.savez(path, **arrays)
    what = {"image_G.0": "class_G", "meant_D.0": "not there"}.get(name, name[:-2])
    with refused("data/damaged-run", match=what) as failure:
        load_tallies(tmp_path, "predictions")
    assert "predictions.npz" in str(failure.value)


def test_a_summary_tells_of_classes_sizes_and_mistakes_with_intervals():
    kit, bare = drawn_tally(6, images=30), drawn_tally(6, images=30)
    point = choose_point(kit, "f1")
    job = SummaryJob(tallies=(kit, bare), points=(point, point), metrics=(), seed=0, resamples=50)
    summary = complete({"n": 30}, job)
    json.dumps(summary, allow_nan=False)
    whole = figures_of(kit.matches, kit.weights_I)
    for number, name in enumerate(kit.classes):
        entry = summary["per_class"][name]
        assert entry["ap"]["value"] == pytest.approx(whole.ap_AC[0, number])
        low, high = entry["ap"]["ci95"]
        assert low <= entry["ap"]["value"] <= high
        gap = entry["ap_difference"]
        assert gap["difference"] == 0
        assert gap["ci95"][0] < 0 < gap["ci95"][1]  # equal here, and not known to be so elsewhere
    assert sum(entry["objects"] for entry in summary["per_class"].values()) == facts(kit)["objects"]
    assert sum(entry["objects"] for entry in summary["per_size"].values()) == facts(kit)["objects"]
    missed_N, alarms_N = kit.mistakes_N(point)
    kinds = dict(summary["mistakes"])
    assert kinds.pop("missed")["objects"] == missed_N.sum()
    assert sum(entry["objects"] for entry in kinds.values()) == alarms_N.sum()


def test_a_better_kit_is_told_from_its_baseline():
    pairs = drawn_pairs(7, images=40, ties=False, crowds=False)
    generator = np.random.default_rng(0)
    worse = [
        (dataclasses.replace(found, score_G=generator.random(len(found))), true)
        for found, true in pairs
    ]
    better = [
        (
            Objects.of(
                np.concatenate([true.box_G4, found.box_G4]),
                np.concatenate([true.label_G, found.label_G]),
                score_G=np.concatenate([np.ones(len(true)), found.score_G / 2]),
            ),
            true,
        )
        for found, true in pairs
    ]
    test = compare(fixed(better), fixed(worse))
    assert test["metric"] == "ap"
    assert test["difference"] == pytest.approx(
        value("ap", fixed(better)) - value("ap", fixed(worse))
    )
    assert test["p"] < 0.01
    assert test["ci95"][0] > 0
    same = compare(fixed(worse), fixed(worse))
    assert same["p"] == 1
    assert same["ci95"][0] < 0 < same["ci95"][1]
    assert compare(fixed(worse[:1]), fixed(better[:1])) is None


def test_examples_of_the_metrics_are_what_pycocotools_says():
    matches = SPECS["ap"].examples[0].given["matches"]
    truth = {
        "images": [{"id": number} for number in range(2)],
        "categories": [{"id": label, "name": str(label)} for label in range(2)],
        "annotations": [],
    }
    large, small = [10, 10, 100, 100], [200, 200, 20, 20]
    for image, label, box in ((0, 0, large), (0, 1, small), (1, 1, large)):
        number = len(truth["annotations"]) + 1
        truth["annotations"].append(
            {
                "id": number,
                "image_id": image,
                "category_id": label,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )
    results = [
        {"image_id": int(image), "category_id": int(label), "bbox": box.tolist(), "score": score}
        for image, label, box, score in zip(
            matches.image_D, matches.class_D, matches.box_D4, matches.score_D, strict=True
        )
    ]
    wanted, _ = pycocotools_figures(truth, results)
    for name, spec in SPECS.items():
        if name in wanted:
            (example,) = spec.examples
            assert example.value == pytest.approx(wanted[name], nan_ok=True)
    assert mean_of(np.array([np.nan, 0.5])) == 0.5
    assert objects_of(samples_of(drawn_pairs(1))[0]) is not None


def test_the_outcome_counts_what_is_found_missed_and_wrong():
    true = found_in([[0, 0, 10, 10], [40, 40, 10, 10]], [0, 1], None)
    said = found_in(
        [[0, 0, 10, 10], [80, 80, 10, 10], [40, 40, 10, 10]], [0, 0, 1], [0.9, 0.8, 0.2]
    )
    tally = fixed([(said, true)])
    assert outcome(tally, None, None) == [
        "1 of 2 objects are found, 1 are missed: 50.0%.",
        "1 reported objects are wrong: 1.00 a picture, in 1 pictures.",
    ]
