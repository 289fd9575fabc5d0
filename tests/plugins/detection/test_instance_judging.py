"""Mask AP and box AP next to pycocotools, tallies, their files, and results of others."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from moekit import Item, SummaryJob
from moekit.testing import refused
from moekit_detection.instances.judge import INSTANCE_JUDGE
from moekit_detection.instances.metrics import INSTANCE_METRICS
from moekit_detection.instances.read import read_instances
from moekit_detection.instances.storage import load_instances, save_instances
from moekit_detection.instances.tally import InstanceTallier, check_instances
from moekit_detection.instances.truth import instances_of
from moekit_detection.judging.points import choose_point
from moekit_detection.judging.summary import complete
from moekit_detection.loaders.coco import load_coco
from moekit_detection.masks.runs import Masks, runs_of
from moekit_detection.records import BOX, LOGIT, Objects
from tests.plugins.detection.coco_cases import CONTEXT
from tests.plugins.detection.instance_cases import (
    SIZE,
    as_coco,
    coco_figures,
    drawn_masks,
    figures,
    masked_samples,
    rle,
    tally,
)

NUMBERS = (3, 5, 7, 9)


def rounded(found):
    return {name: pytest.approx(value, abs=1e-6, nan_ok=True) for name, value in found.items()}


@pytest.mark.parametrize("seed", range(6))
def test_figures_of_masks_and_of_boxes_are_those_of_pycocotools(seed):
    pairs = drawn_masks(seed)
    truth, results = as_coco(pairs, NUMBERS)
    judged = tally(pairs)
    assert figures(judged.matches) == rounded(coco_figures(truth, results, "segm"))
    assert figures(judged.box_matches) == rounded(coco_figures(truth, results, "bbox"))


def test_metrics_take_masks_and_boxes_apart():
    judged = tally(drawn_masks(3))
    specs = {spec.name: spec for spec in INSTANCE_METRICS}
    for name, matches in (("mask_ap", judged.matches), ("box_ap", judged.box_matches)):
        spec = specs[name]
        value = spec.compute(*(judged.field(need) for need in spec.needs))
        assert value == pytest.approx(figures(matches)["ap"])
    assert figures(judged.matches)["ap"] != figures(judged.box_matches)["ap"]


def test_taking_pictures_matches_nothing_again():
    judged = tally(drawn_masks(4))
    part = judged.take(np.array([2, 2, 0]))
    assert part.ids == (judged.ids[2], judged.ids[2], judged.ids[0])
    assert part.matches is judged.matches
    assert part.box_matches is judged.box_matches


def test_the_pictures_of_coco_are_judged_as_pycocotools_judges_them(shared):
    dataset = load_coco(shared / "data/coco128?annotations=instance_masks", 0)
    samples = dataset.split("val")[:40]
    generator = np.random.default_rng(0)
    pairs = []
    for sample in samples:
        true = instances_of(sample)
        runs, labels, boxes = [], [], []
        for place in range(len(true)):
            for _ in range(int(generator.integers(0, 3))):
                (top, left), pixels = true.masks.crop(place)
                full = np.zeros(true.masks.size, dtype=bool)
                full[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
                runs.append(runs_of(np.roll(full, generator.integers(-5, 6, 2).tolist(), (0, 1))))
                labels.append(int(true.label_G[place]))
                boxes.append(true.box_G4[place] + (*generator.normal(0, 5, 2), 0, 0))
        masks = Masks.of(true.masks.size, runs)
        score = np.round(generator.random(len(labels)), 2)
        pairs.append((Objects.of(boxes, labels, score_G=score, masks=masks), true))
    numbers = samples[0].truth["category_ids"]
    truth, results = as_coco(pairs, numbers)
    context = dataclasses.replace(CONTEXT, classes=dataset.classes)
    judged = tally(pairs, samples, context)
    assert any(true.crowd_G.any() for _, true in pairs)
    assert figures(judged.matches) == rounded(coco_figures(truth, results, "segm"))
    assert figures(judged.box_matches) == rounded(coco_figures(truth, results, "bbox"))


def test_an_object_without_a_mask_is_neither_missed_nor_false():
    square = runs_of(np.ones((20, 20), bool), (10, 10), SIZE[0])
    mask = Masks.of(SIZE, [square, runs_of(np.zeros(SIZE))])
    true = Objects.of([(10, 10, 20, 20), (60, 60, 30, 30)], [0, 0], masks=mask)
    sample = masked_samples([(None, true)])[0]
    known = instances_of(sample)
    assert known.crowd_G.tolist() == [False, True]
    assert known.masks.area_G.tolist() == [400, 900]
    both = Masks.of(SIZE, [square, runs_of(np.ones((30, 30), bool), (60, 60), SIZE[0])])
    found = Objects.of(true.box_G4, [0, 0], score_G=[0.9, 0.8], masks=both)
    assert figures(tally([(found, known)]).matches)["ap"] == pytest.approx(1)


def test_the_tallier_keeps_overlaps_of_what_it_decodes():
    pairs = drawn_masks(5, images=4)
    samples = masked_samples(pairs)
    items = [Item(id=one.id, size=SIZE, sample=one) for one in samples]
    rows = {LOGIT: torch.arange(4.0)[:, None, None].expand(4, 2, 4), BOX: torch.zeros(4, 2, 4)}
    tallier = InstanceTallier(CONTEXT, 1, decode=lambda row, *_: pairs[int(row[LOGIT][0, 0])][0])
    for part in (slice(0, 1), slice(1, 4)):
        tallier.add(items[part], [{name: value[part] for name, value in rows.items()}])
    (judged,) = tallier.finish()
    wanted = tally(pairs)
    assert judged.matches == wanted.matches
    assert judged.box_matches == wanted.box_matches
    assert judged.excess_N.tolist() == [max(0, len(true) - 2) for _, true in pairs]
    assert tallier._judged[0][0].found.masks is None, "masks of a split are not kept"
    with refused("data/no-truth"):
        tallier.add([dataclasses.replace(items[0], sample=None)], [rows])
    place = next(place for place, (_, true) in enumerate(pairs) if len(true))
    with refused("data/mask-size", match="180 x 150"):
        tallier.add([dataclasses.replace(items[place], size=(9, 9))], [rows])


def test_tallies_are_read_again_and_a_lost_file_is_named(tmp_path):
    first, second = tally(drawn_masks(6)), tally(drawn_masks(6))
    files = save_instances(tmp_path, "predictions", [first, second])
    assert sorted(files) == sorted(path.name for path in tmp_path.iterdir())
    loaded = load_instances(tmp_path, "predictions")
    assert [one.ids for one in loaded] == [first.ids] * 2
    assert loaded[0].matches == first.matches
    assert loaded[0].box_matches == first.box_matches
    check_instances(loaded)
    (tmp_path / "predictions_boxes.npz").unlink()
    with refused("data/damaged-run", match="boxes"):
        load_instances(tmp_path, "predictions")
    assert load_instances(tmp_path, "validation") == ()


def test_tallies_of_other_objects_are_refused():
    first, other = tally(drawn_masks(6)), tally(drawn_masks(7))
    with refused("data/bad-counts"):
        check_instances([dataclasses.replace(first, box_matches=other.matches)])


def test_a_summary_has_classes_sizes_and_mistakes_by_mask():
    judged = tally(drawn_masks(8, images=12))
    point = choose_point(judged, "f1")
    job = SummaryJob(tallies=(judged,), points=(point,), metrics=(), seed=0, resamples=100)
    made = complete({}, job)
    assert set(made) == {"per_class", "per_size", "mistakes"}
    ap = [one["ap"]["value"] for one in made["per_class"].values() if one["objects"]]
    assert np.nanmean([value for value in ap if value is not None]) == pytest.approx(
        figures(judged.matches)["ap"]
    )
    assert made["per_class"]["nut"]["ap"]["ci95"]
    tested = INSTANCE_JUDGE.compare(judged, tally(drawn_masks(8, images=12)))
    assert tested is None or tested["metric"] == "mask_ap"


def test_results_of_a_peer_are_judged_by_the_same_code(tmp_path):
    pairs = drawn_masks(9)
    samples = masked_samples(pairs)
    _, results = as_coco(pairs, NUMBERS)
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results))
    judged = read_instances(path, samples, CONTEXT)
    assert judged.matches == tally(pairs).matches
    assert judged.box_matches == tally(pairs).box_matches
    bare = [{key: one[key] for key in one if key != "bbox"} for one in results]
    path.write_text(json.dumps(bare))
    tight = [
        (
            Objects.of(found.masks.box_G4, found.label_G, score_G=found.score_G, masks=found.masks),
            true,
        )
        for found, true in pairs
    ]
    again = read_instances(path, samples, CONTEXT)
    assert again.matches == tally(tight).matches
    assert again.box_matches == tally(tight).box_matches


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ({"size": [9, 9], "counts": [81]}, "mask size"),
        ({"size": list(SIZE), "counts": "0"}, "mask damaged"),
        ([[1, 2, "x", 4, 5, 6]], "mask damaged"),
        (7, "mask damaged"),
    ],
)
def test_a_mask_that_is_none_is_refused_with_its_result(tmp_path, mask, words):
    pairs = drawn_masks(9)
    found, _ = next(pair for pair in pairs if len(pair[0]))
    good = {"image_id": 100, "category_id": 3, "score": 0.5, "segmentation": rle(found.masks, 0)}
    path = tmp_path / "results.json"
    path.write_text(json.dumps([good, {**good, "segmentation": mask}]))
    with refused("data/bad-mask", match=f"result 1 .*{words}"):
        read_instances(path, masked_samples(pairs), CONTEXT)
    path.write_text(json.dumps([{"image_id": 100, "category_id": 3, "score": 0.5}]))
    with refused("data/wrong-layout", match="segmentation"):
        read_instances(path, masked_samples(pairs), CONTEXT)
